"""Claims are answered by what the runs' results say; the results here are made up."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from emulator.lab.study.batch import Done, Job
from emulator.lab.study.claims import Answer, Case, Claim, Question, ask, verdict
from emulator.lab.study.claimtable import CLAIMS
from emulator.lab.study.dispute import CELLS, DEPLOYMENTS, Cell, conclusion
from emulator.lab.study.results import answer_all, key_of, scenario_of, sessions
from emulator.lab.study.resultspage import markdown
from emulator.lab.workload.applications import connections


def connection(
    name: str = "ssh", outcome: str = "SURVIVED", cause: str | None = None, missing: int = 0
) -> dict[str, Any]:
    return {
        "name": name, "outcome": outcome, "cause": {"id": cause},
        "bytes": {"missing": missing, "repeated": 0, "altered": 0},
        "blackout_s": {"to_client": 4.26, "to_server": None},
    }  # fmt: skip


def run(*connections: dict[str, Any], took_s: float | None = 4.0, held: int = 9) -> dict[str, Any]:
    effective = None if took_s is None else 100.0 + took_s
    return {
        "connections": list(connections), "mirror": {"standby_flows": held},
        "failover": {"triggered": 100.0, "effective": effective},
    }  # fmt: skip


LIVING, DEAD = connection(), connection("echo", "RESET", "snat-address-changed")
ONE, TWO = Case("one", "article"), Case("two", "article-snat-pool")


def claim(question: Question, *cases: Case) -> Claim:
    return Claim("C0", "A claim.", question, cases or (ONE, TWO))


@pytest.mark.parametrize(
    ("question", "result", "expected"),
    [
        (Question.DIES, run(LIVING), Answer.NO),
        (Question.DIES, run(DEAD), Answer.YES),
        (Question.DIES, run(LIVING, DEAD), Answer.PARTLY),
        (Question.LIVES, run(connection(missing=1)), Answer.NO),
        (Question.DIES_OF_TIME, run(DEAD), Answer.NO),
        (Question.DIES_OF_TIME, run(connection("x", "TIMED_OUT", "endpoint-gave-up")), Answer.YES),
        (Question.TAKES_LONG, run(took_s=4.0), Answer.NO),
        (Question.TAKES_LONG, run(took_s=34.0), Answer.YES),
        (Question.TAKES_LONG, run(took_s=None), Answer.YES),
        (Question.ON_STANDBY, run(LIVING, held=1), Answer.YES),
        (Question.ON_STANDBY, run(LIVING, held=0), Answer.NO),
    ],
)
def test_a_question_is_answered_by_the_result(
    question: Question, result: dict[str, Any], expected: Answer
) -> None:
    assert ask(claim(question), ONE, result) is expected


def test_only_the_sessions_asked_about_count() -> None:
    only = Case("one", "article", sessions=("ssh",))
    assert ask(claim(Question.DIES), only, run(LIVING, DEAD)) is Answer.NO


CONTRAST = Case("three", "healthy", contrast=True)


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        ((Answer.YES, Answer.YES, Answer.NO), "holds"),
        ((Answer.NO, Answer.NO, Answer.YES), "does not hold"),
        ((Answer.YES, Answer.NO, Answer.NO), "holds when: one. Not when: two"),
        ((Answer.PARTLY, Answer.NO, Answer.NO), "for some sessions when: one. Not when: two"),
    ],
)
def test_the_verdict_is_that_of_the_cases_but_the_contrasts(
    answers: tuple[Answer, ...], expected: str
) -> None:
    assert verdict(claim(Question.DIES, ONE, TWO, CONTRAST), answers) == expected


def test_a_case_may_be_claimed_to_go_the_other_way() -> None:
    """ "... and HTTP does not": a no confirms it, a yes refutes it."""
    spared = Case("four", "article", says=Answer.NO)
    mixed = Case("five", "article", says=Answer.PARTLY)
    asked = claim(Question.DIES, ONE, spared, mixed)
    assert verdict(asked, (Answer.YES, Answer.NO, Answer.PARTLY)) == "holds"
    assert verdict(asked, (Answer.YES, Answer.YES, Answer.PARTLY)) == (
        "holds when: one; five. Not when: four"
    )
    assert verdict(asked, (Answer.NO, Answer.YES, Answer.NO)) == "does not hold"


@pytest.mark.parametrize(
    ("stays", "changes", "words"),
    [
        (DEAD, LIVING, "What comes first, Linux ends: time, from 9 s on."),
        (LIVING, DEAD, "What comes first, Linux ends: addresses and state. Time ended nothing."),
        (DEAD, DEAD, "What comes first, Linux ends: time, from 9 s on."),
        (LIVING, LIVING, "What comes first, Linux ends: neither."),
    ],
)
def test_what_comes_first_is_what_kills_at_the_shorter_outage(
    stays: dict[str, Any], changes: dict[str, Any], words: str
) -> None:
    first, second = DEPLOYMENTS
    grid = [
        cell(9, stays, deployment=first), cell(9, changes, deployment=second),
    ]  # fmt: skip
    assert conclusion(grid)[-1] == words


CASES = [case for c in CLAIMS for case in c.cases]


@pytest.mark.parametrize("case", [*CASES, *CELLS], ids=key_of)
def test_every_case_can_be_run(case: Case | Cell) -> None:
    scenario = scenario_of(case)
    seen = {name for session in scenario.sessions for name in connections(session)}
    assert set(getattr(case, "sessions", ())) <= seen


def test_all_seventeen_claims_are_there() -> None:
    assert [c.id for c in CLAIMS] == [f"C{n}" for n in range(1, 18)]


class Fake:
    """Stands in for the batch: `lives` says of which job the sessions live."""

    def __init__(self, **said: dict[str, Any]) -> None:
        self.said, self.keys = said, list[str]()

    def run(self, jobs: Sequence[Job], progress: Any = None) -> dict[str, Done]:
        self.keys = [job.key for job in jobs]
        return {j.key: Done(j, self.said.get(j.key, run(LIVING)), Path(j.key)) for j in jobs}


def test_the_same_run_is_made_once_and_serves_every_case() -> None:
    fake = Fake(article=run(DEAD))
    twice = (claim(Question.DIES), claim(Question.LIVES))
    data = answer_all(fake, claims=twice, cells=())  # type: ignore[arg-type]
    assert fake.keys == ["article", "article-snat-pool"]
    assert [c["verdict"] for c in data["claims"]] == [
        "holds when: one. Not when: two", "holds when: two. Not when: one",
    ]  # fmt: skip


def test_sessions_of_the_same_fate_are_one_entry() -> None:
    [living, dead] = sessions([LIVING, DEAD, connection("telnet")])
    assert living["names"] == ["ssh", "telnet"]
    assert (dead["outcome"], dead["cause"]) == ("RESET", "snat-address-changed")
    assert living["blackout_s"] == 4.3


def test_the_page_says_what_the_data_says() -> None:
    fake = Fake(article=run(DEAD))
    only = (claim(Question.DIES, ONE, TWO, CONTRAST),)
    page = markdown(answer_all(fake, claims=only, cells=CELLS[:1]))  # type: ignore[arg-type]
    assert "**Holds when: one. Not when: two.** Asked: the session dies?" in page
    assert "| one | yes | echo: RESET (snat-address-changed) | 4.3 s (moved after 4.0 s)" in page
    assert "| - three | no |" in page


def cell(outage_s: float, *found: dict[str, Any], deployment: str = "d") -> dict[str, Any]:
    return {
        "deployment": deployment,
        "endpoint": "Linux",
        "outage_s": outage_s,
        "sessions": sessions(found),
    }


@pytest.mark.parametrize(
    ("cells", "words"),
    [
        ([cell(1, LIVING), cell(30, LIVING)], "every session lives, up to 30 s"),
        ([cell(1, DEAD), cell(30, DEAD)], "at every outage, even 1 s, of snat-address-changed"),
        ([cell(1, LIVING), cell(30, DEAD)], "live up to 1 s, and die from 30 s on, of snat-"),
    ],
)
def test_the_conclusion_follows_the_grid(cells: list[dict[str, Any]], words: str) -> None:
    [sentence] = conclusion(cells)
    assert words in sentence
