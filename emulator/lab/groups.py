"""Many connections as few entries of result.json. Pure.

HTTP's short requests are one entry: none of them matters by itself, but how many failed, and
how long the slowest took. A fleet's sessions stay entries of their own, as each has an outcome;
`story` groups them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace

from emulator.lab.judge.facts import Connection, Direction
from emulator.lab.judge.streams import ByteCount
from emulator.lab.judge.verdict import STALLED_S, Verdict
from emulator.lab.workload.applications import HTTP

Summary = dict[str, object]


def gathered(verdicts: Iterable[Verdict]) -> list[tuple[Verdict, Summary | None]]:
    """The verdicts, those on requests as one, where the first of them was, with its summary."""
    found: list[tuple[Verdict, Summary | None]] = []
    ordered = list(verdicts)
    requests = [v for v in ordered if v.name == HTTP]
    for verdict in ordered:
        if verdict.name != HTTP:
            found.append((verdict, None))
        elif verdict is requests[0]:
            found.append(_as_one(requests))
    return found


def _as_one(requests: Sequence[Verdict]) -> tuple[Verdict, Summary]:
    """The outcome is CLOSED when no request failed, else that of most that did, and the cause
    that of most of these."""
    judged = [(_outcome(verdict), verdict) for verdict in requests]
    failed = Counter(outcome for outcome, _ in judged if outcome not in ("CLOSED", "OPEN"))
    answered = [v for outcome, v in judged if outcome == "CLOSED"]
    outcome = failed.most_common(1)[0][0] if failed else "CLOSED"
    alike = [v for o, v in judged if o == outcome] or list(requests)
    causes = Counter(verdict.cause.id for verdict in alike)
    [(common, _)] = causes.most_common(1)
    shown = max((v for v in alike if v.cause.id == common), key=lambda v: _took_s(v.connection))
    total = sum((v.bytes for v in answered), ByteCount())
    summary: Summary = {
        "total": len(requests),
        "answered": len(answered),
        "failed": sum(failed.values()),
        "open": len(requests) - len(answered) - sum(failed.values()),
        "outcomes": dict(Counter(outcome for outcome, _ in judged)),
        "causes": {str(cause): number for cause, number in causes.items() if cause},
        "slowest_s": max((_took_s(v.connection) for v in answered), default=None),
    }
    return replace(shown, outcome=outcome, bytes=total), summary


def _outcome(verdict: Verdict) -> str:
    """A request's: OPEN when it was begun too late to have been answered; one that neither
    ended nor was answered for longer is stalled, even if no byte of it is known to be lost."""
    if verdict.outcome not in ("SURVIVED", "STALLED"):
        return verdict.outcome
    connection = verdict.connection
    age_s = (connection.end_ns - connection.transmissions[0][0].origin.time_ns) / 1e9
    return "OPEN" if age_s < STALLED_S else "STALLED"


def _took_s(connection: Connection) -> float:
    """From the first SYN to the last byte of the answer."""
    advances = connection.to_client.advances
    start = connection.transmissions[0][0].origin.time_ns
    last = advances[-1].arrival.time_ns if advances else start
    return round((last - start) / 1e9, 3)


def quiet_s(connection: Connection, moment_s: float | None) -> Summary | None:
    """For how long each end had sent no new byte when the failover was triggered; None for an
    end that had sent none at all, or where no failover was."""
    if moment_s is None:
        return None
    found: Summary = {}
    ends = (("client", Direction.TO_SERVER), ("server", Direction.TO_CLIENT))
    for end, direction in ends:
        times = [t.origin.time_s for _, t in connection.stream(direction).first_sent]
        before = [time for time in times if time <= moment_s]
        found[end] = round(moment_s - before[-1], 3) if before else None
    return found
