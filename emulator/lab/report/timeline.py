"""Bytes delivered over time, a lane a session (or a group), and the failover's instants. Pure.

Everything is in percent of the run's length, so that a page draws it at any width. A lane's
curves are paths in a box of BINS x 100, its middle at 50: above it what reached the server,
below what reached the client, as the square root of the bytes in each of BINS intervals.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from emulator.lab.judge.facts import Connection, Direction, Facts
from emulator.lab.report.groups import Group

BINS = 240
LANES = 12  # more sessions than this share lanes, a group each
ROWS = 100  # and at most so many are drawn below it, a thin line each
# What is marked, in order: its key in result.json, and what it says.
INSTANTS = (
    ("triggered", "failover triggered"),
    ("takeover", "the other device became active"),
    ("api_accepted", "the cloud accepted the last change"),
    ("effective", "the last change took effect"),
    ("first_byte", "first byte delivered by the other device"),
)


@dataclass(frozen=True, slots=True)
class Instant:
    """One instant of the failover. `at`: percent; `level`: of its label, so that none collide."""

    key: str
    number: int
    text: str
    at: float | None
    level: int


@dataclass(frozen=True, slots=True)
class Mark:
    """Something that happened in one lane: a reset, a FIN."""

    kind: str
    at: float
    text: str


@dataclass(frozen=True, slots=True)
class Lane:
    """One session's, or several sessions', bytes. `rows`: a path a session, of a group."""

    label: str
    of: tuple[int, ...]
    outcome: str
    to_server: str
    to_client: str
    marks: tuple[Mark, ...]
    rows: tuple[str, ...] = ()
    rows_left_out: int = 0


@dataclass(frozen=True, slots=True)
class Timeline:
    """`length_s`: what 100 percent are; `ticks`: (percent, seconds since the trigger)."""

    length_s: float
    instants: tuple[Instant, ...]
    outage: tuple[float, float] | None
    ticks: tuple[tuple[float, float], ...]
    lanes: tuple[Lane, ...]


@dataclass(frozen=True, slots=True)
class _Scale:
    start_ns: int
    end_ns: int

    def percent(self, time_ns: float) -> float:
        return round(100 * (time_ns - self.start_ns) / (self.end_ns - self.start_ns), 2)

    def bin(self, time_ns: int) -> int:
        return min(BINS - 1, max(0, int(BINS * self.percent(time_ns) / 100)))


def timeline(
    facts: Facts,
    result: Mapping[str, Any],
    groups: Sequence[Group],
    seen: Sequence[Sequence[Connection]] | None = None,
) -> Timeline | None:
    """The whole picture; None where no connection was captured. `seen`: the connections of each
    entry of the result, where they are not one each."""
    entries = [[c] for c in facts.connections] if seen is None else seen
    own = [c for its in entries for c in its]
    starts = [c.transmissions[0][0].origin.time_ns for c in own if c.transmissions]
    if not starts or max(facts.end_ns, *starts) <= min(starts):
        return None
    scale = _Scale(min(starts), max(facts.end_ns, *starts))
    failover = result["failover"] or {}
    zero = failover["triggered"] * 1e9 if failover else float(scale.start_ns)
    if len(entries) <= LANES:
        lanes = [
            _lane(its[0].name, (i,), result["connections"][i]["outcome"], its, scale)
            for i, its in enumerate(entries)
        ]
    else:
        lanes = [
            _lane(
                f"{group.count} {group.words.word}", group.of, group.outcome,
                [c for i in group.of for c in entries[i]], scale,
            )
            for group in groups
        ]  # fmt: skip
    return Timeline(
        (scale.end_ns - scale.start_ns) / 1e9,
        _instants(failover, scale), _outage(failover, scale), _ticks(scale, zero), tuple(lanes),
    )  # fmt: skip


def _instants(failover: Mapping[str, Any], scale: _Scale) -> tuple[Instant, ...]:
    found: list[Instant] = []
    for number, (key, text) in enumerate(INSTANTS, 1):
        if not failover:
            break
        time = failover.get(key)
        at = scale.percent(time * 1e9) if time is not None else None
        if at is not None and not 0 <= at <= 100:
            at = None  # after the captures: in the list, not in the drawing
        near = [i.level for i in found if i.at is not None and at is not None and at - i.at < 4]
        level = next(n for n in range(9) if n not in near)
        found.append(Instant(key, number, text, at, level))
    return tuple(found)


def _outage(failover: Mapping[str, Any], scale: _Scale) -> tuple[float, float] | None:
    """From the trigger until the fabric had moved (or to the end, if it never did)."""
    if not failover:
        return None
    start = scale.percent(failover["triggered"] * 1e9)
    ends = [failover[k] for k in ("effective", "first_byte") if failover.get(k) is not None]
    return start, min(100.0, scale.percent(max(ends) * 1e9)) if ends else 100.0


def _ticks(scale: _Scale, zero: float) -> tuple[tuple[float, float], ...]:
    length = (scale.end_ns - scale.start_ns) / 1e9
    step = next((s for s in (0.5, 1, 2, 5, 10, 20, 60, 120, 300) if length / s <= 8), 600)
    first, last = (scale.start_ns - zero) / 1e9 / step, (scale.end_ns - zero) / 1e9 / step
    numbers = range(int(first) if first < 0 else int(first) + 1, int(last) + 1)
    return tuple((scale.percent(zero + n * step * 1e9), n * step) for n in numbers)


def _lane(
    label: str, of: tuple[int, ...], outcome: str, members: Sequence[Connection], scale: _Scale
) -> Lane:
    sums = {way: [0] * BINS for way in Direction}
    rows: list[str] = []
    for connection in members:
        own = [0] * BINS
        for way in Direction:
            before = 0
            for advance in connection.stream(way).advances:
                at = scale.bin(advance.arrival.time_ns)
                sums[way][at] += advance.offset - before
                own[at] += 1
                before = advance.offset
        if len(members) > 1 and len(rows) < ROWS:
            rows.append(_dashes(own))
    most = max(1, *(max(values) for values in sums.values()))
    up, down = (_area(sums[w], most, s) for w, s in zip(Direction, (-1, 1), strict=True))
    marks = tuple(mark for c in members[:ROWS] for mark in _marks(c, scale))
    left_out = len(members) - len(rows) if rows else 0
    return Lane(label, of, outcome, up, down, marks, tuple(rows), left_out)


def _area(values: Sequence[int], most: int, sign: int) -> str:
    """A closed path of bars; empty where there is nothing to draw."""
    parts, height = ["M0 50"], 50.0
    for at, value in enumerate(values):
        target = round(50 + sign * 46 * (value / most) ** 0.5, 1) if value else 50.0
        if target != height:
            parts.append(f"H{at}V{target:g}")
            height = target
    return "".join([*parts, f"H{BINS}V50Z"]) if len(parts) > 1 else ""


def _dashes(values: Sequence[int]) -> str:
    """Where anything arrived at all."""
    parts, start = [], None
    for at, value in enumerate([*values, 0]):
        if value and start is None:
            start = at
        elif not value and start is not None:
            parts.append(f"M{start} 1H{at}")
            start = None
    return "".join(parts)


def _marks(connection: Connection, scale: _Scale) -> list[Mark]:
    found = []
    for _, arrival in connection.resets[:1]:
        text = f"a reset reaches {arrival.node}, frame {arrival.frame}"
        found.append(Mark("reset", scale.percent(arrival.time_ns), text))
    for arrival in connection.fins.values():
        text = f"FIN reaches {arrival.node}, frame {arrival.frame}"
        found.append(Mark("fin", scale.percent(arrival.time_ns), text))
    return found
