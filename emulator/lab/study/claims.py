"""The article's claims as experiments: what is asked of which runs. Pure.

A claim is a question asked of every session of a case ("does it die?"), and the cases it is
asked of, each a scenario with changes under which a reader might meet it. Nothing here says
what the answer is: `answer` reads the results. If the question is answered with yes in every
case the claim holds, if in none it does not, otherwise it holds when ..., by the cases' labels.

A contrast is a case in which the claim's own condition is absent: its answer is reported
beside the others and does not count.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

Result = Mapping[str, Any]  # a run's result.json
Connection = Mapping[str, Any]

ALIVE = frozenset({"SURVIVED", "CLOSED"})
OF_TIME = frozenset({"endpoint-gave-up", "application-timer", "idle-expired"})
LONG_S = 10.0  # longer than the "within seconds" of the article


class Question(Enum):
    """What is asked of each session, or of the whole run."""

    DIES = "the session dies"
    LIVES = "the session lives, every byte right"
    DIES_OF_TIME = "the session dies of the time that passes"
    ON_STANDBY = "the standby holds every connection before the failover"
    TAKES_LONG = f"the cloud's change takes more than {LONG_S:.0f} s, or never comes"
    SAME_MEMBER = "the client is led to the same member afterwards"


class Answer(Enum):
    YES = "yes"
    NO = "no"
    PARTLY = "partly"


@dataclass(frozen=True, slots=True)
class Case:
    """`label` completes "it holds when ..."; `sessions`: those asked about, empty: all; `says`:
    the answer by which the claim would hold in this case."""

    label: str
    scenario: str
    changes: Mapping[str, Any] = field(default_factory=dict)
    sessions: tuple[str, ...] = ()
    contrast: bool = False
    says: Answer = Answer.YES


@dataclass(frozen=True, slots=True)
class Claim:
    """One claim of `CLAIMS.md`'s table; `text` in the article's sense."""

    id: str
    text: str
    question: Question
    cases: tuple[Case, ...]


def lives(connection: Connection) -> bool:
    """Survived or closed in the regular way, every byte right; nobody promised every datagram,
    nor every connection of a client that comes again."""
    count = connection["bytes"]
    may_lose = "protocol" in connection or "members" in connection
    kinds = ("repeated", "altered") if may_lose else ("missing", "repeated", "altered")
    return connection["outcome"] in ALIVE and not any(count[kind] for kind in kinds)


def took_s(result: Result) -> float | None:
    """Seconds from the trigger to the last change in effect; None: it never was."""
    failover = result["failover"]
    if failover is None or failover["effective"] is None:
        return None
    return float(failover["effective"]) - float(failover["triggered"])


def asked_about(case: Case, result: Result) -> list[Connection]:
    """The sessions of a run that a case asks about."""
    return [c for c in result["connections"] if not case.sessions or c["name"] in case.sessions]


def _of_session(question: Question, connection: Connection) -> bool:
    match question:
        case Question.LIVES:
            return lives(connection)
        case Question.DIES:
            return not lives(connection)
        case Question.DIES_OF_TIME:
            return not lives(connection) and connection["cause"]["id"] in OF_TIME
        case _:
            raise ValueError(f"{question} is asked of a run, not of a session")


def _stands_by(result: Result) -> bool:
    return bool(result["mirror"].get("standby_flows", 0) >= len(result["connections"]))


def _takes_long(result: Result) -> bool:
    took = took_s(result)
    return took is None or took > LONG_S


def _same_member(result: Result) -> bool:
    members = [c["members"] for c in result["connections"] if "members" in c]
    return bool(members) and all(m["new"] == "same" for m in members)


_OF_RUN: dict[Question, Callable[[Result], bool]] = {
    Question.ON_STANDBY: _stands_by,
    Question.TAKES_LONG: _takes_long,
    Question.SAME_MEMBER: _same_member,
}


def ask(claim: Claim, case: Case, result: Result) -> Answer:
    """The question's answer in one case."""
    if claim.question in _OF_RUN:
        return Answer.YES if _OF_RUN[claim.question](result) else Answer.NO
    said = {_of_session(claim.question, c) for c in asked_about(case, result)}
    if len(said) == 2:
        return Answer.PARTLY
    return Answer.YES if said == {True} else Answer.NO


def verdict(claim: Claim, answers: Sequence[Answer]) -> str:
    """*holds*, *does not hold* or *holds when ...*; `answers`: one for each of its cases."""
    counted = [
        (case, said) for case, said in zip(claim.cases, answers, strict=True) if not case.contrast
    ]
    confirmed = [case.label for case, said in counted if said is case.says]
    partly = [c.label for c, said in counted if said is not c.says and said is Answer.PARTLY]
    refuted = [c.label for c, said in counted if said is not c.says and said is not Answer.PARTLY]
    if not partly and not refuted:
        return "holds"
    if not confirmed and not partly:
        return "does not hold"
    parts = []
    if confirmed:
        parts.append(f"holds when: {'; '.join(confirmed)}")
    if partly:
        parts.append(f"for some sessions when: {'; '.join(partly)}")
    if refuted:
        parts.append(f"not when: {'; '.join(refuted)}")
    return ". ".join(part[0].upper() + part[1:] if at else part for at, part in enumerate(parts))
