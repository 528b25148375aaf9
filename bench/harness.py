"""How a figure is measured: its contenders in turn, in one run, again and again.

Absolute times of a shared machine drift; what holds is the ratio of two things measured one
right after the other. So a contest measures A B C A B C ..., each round gives one ratio, and
what is reported is the least, the median and the greatest of them. Where a figure has several
peers, or a peer several settings, it is compared with the best of them by its median.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field

Reading = dict[str, float]
Contenders = dict[str, Callable[[], Reading]]


@dataclass(frozen=True)
class Settings:
    """`rounds`: how often each contender is measured; `quick`: smaller in every way."""

    rounds: int = 5
    quick: bool = False

    @property
    def seconds(self) -> float:
        """How long one measurement under load lasts."""
        return 1.0 if self.quick else 2.0


@dataclass(frozen=True)
class Figure:
    """One line of the table: `metric` of contender `ours`, over that of the best of `peers`, or by
    itself. `goal` is for the median; `at_least`, else at most."""

    title: str
    ours: str
    metric: str
    peers: tuple[str, ...] = ()
    goal: float | None = None
    at_least: bool = False
    unit: str = ""
    peer_metric: str = ""

    @property
    def ratio(self) -> bool:
        return bool(self.peers)


@dataclass(frozen=True)
class Contest:
    """Figures that are measured together. `open` sets the contenders up and takes them down."""

    name: str
    figures: tuple[Figure, ...]
    open: Callable[[Settings], AbstractContextManager[Contenders]]
    rounds: Callable[[Settings], int] = field(default=lambda settings: settings.rounds)
    long: bool = False  # minutes: not with --quick


@dataclass(frozen=True)
class Row:
    """A figure's result. `ours`, `peer`: medians; `low`, `median`, `high`: of the ratio, or of the
    value itself without a peer. `met`: None without a goal."""

    contest: str
    title: str
    unit: str
    ours: float | None
    peer: float | None
    peer_name: str
    low: float | None
    median: float | None
    high: float | None
    goal: str
    met: bool | None
    rounds: int
    failed: str = ""

    def as_json(self) -> dict[str, object]:
        return asdict(self)


def measure(contest: Contest, settings: Settings, say: Callable[[str], None]) -> list[Row]:
    """Every figure of the contest; raises what a contender raises."""
    readings: dict[str, list[Reading]] = {}
    with contest.open(settings) as contenders:
        for number in range(contest.rounds(settings)):
            for name, run in contenders.items():
                began = time.monotonic()
                reading = run()
                readings.setdefault(name, []).append(reading)
                told = ", ".join(f"{k} {v:.6g}" for k, v in reading.items())
                took_s = time.monotonic() - began
                say(f"{contest.name} {number + 1}: {name}: {told} [{took_s:.0f} s]")
    return [row(contest.name, figure, readings) for figure in contest.figures]


def row(contest: str, figure: Figure, readings: dict[str, list[Reading]]) -> Row:
    """One figure out of what was measured."""
    ours = [reading[figure.metric] for reading in readings[figure.ours]]
    metric = figure.peer_metric or figure.metric
    by_peer = {name: [r[metric] for r in readings[name]] for name in figure.peers}
    best = max if figure.at_least else min
    peer = best(by_peer, key=lambda name: statistics.median(by_peer[name])) if by_peer else ""
    theirs = by_peer.get(peer, [])
    values = [a / b for a, b in zip(ours, theirs, strict=True)] if peer else ours
    median = statistics.median(values)
    met = None
    if figure.goal is not None:
        met = median >= figure.goal if figure.at_least else median <= figure.goal
    return Row(
        contest, figure.title, figure.unit, statistics.median(ours),
        statistics.median(theirs) if theirs else None, peer, min(values), median, max(values),
        goal_text(figure), met, len(values),
    )  # fmt: skip


def failed(contest: Contest, reason: str) -> list[Row]:
    """Its figures, none of them measured."""
    return [
        Row(
            contest.name, f.title, f.unit, None, None, "", None, None, None, goal_text(f),
            None if f.goal is None else False, 0, reason,
        )
        for f in contest.figures
    ]  # fmt: skip


def goal_text(figure: Figure) -> str:
    """ ">= 0.75", "<= 3 s"; empty without a goal."""
    if figure.goal is None:
        return ""
    unit = "" if figure.ratio or not figure.unit else f" {figure.unit}"
    return f"{'>=' if figure.at_least else '<='} {figure.goal:g}{unit}"


def table(rows: Sequence[Row]) -> Iterator[list[str]]:
    """Cells: figure, ours, peer, least, median, greatest, goal, met."""
    for r in rows:
        if r.failed:
            yield [r.title, "", "", "", "", "", r.goal, f"failed: {r.failed}"]
            continue
        assert r.median is not None
        met = {None: "", True: "yes", False: "NO"}[r.met]
        unit = f" {r.unit}" if r.unit else ""
        peer = "" if r.peer is None else f"{number(r.peer)}{unit} ({r.peer_name})"
        spread = [number(v) for v in (r.low, r.median, r.high) if v is not None]
        yield [r.title, f"{number(r.ours or 0)}{unit}", peer, *spread, r.goal, met]


def number(value: float) -> str:
    """Three digits of it, without an exponent."""
    digits = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2
    return f"{value:,.{digits}f}"
