"""Sequence numbers and acknowledgements around the failover, a plot a direction. Pure.

The vertical axis counts the bytes of the direction's stream from its first; a segment is a
stroke from its first byte to its last at the moment its sender put it on the wire, the
acknowledgement line what that sender knew to have arrived, the delivered line what the
other end's socket had received. Percent of the plot's width and height, 0 at the top left.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from emulator.lab.judge.facts import Connection, Direction, Facts
from emulator.lab.judge.tracing import Transmission, is_device, is_end
from emulator.lab.report.fates import End, Fates
from emulator.wire.segment import ACK, RST

BEFORE_S, AFTER_S = 1.0, 2.0  # about the failover and what came of it
MOST = 400  # strokes a plot


@dataclass(frozen=True, slots=True)
class Stroke:
    """A segment of bytes."""

    x: float
    top: float
    bottom: float
    kind: str  # sent, again, lost
    text: str


@dataclass(frozen=True, slots=True)
class Plot:
    """One direction. `acknowledged`, `delivered`: paths in a box of 100 x 100; `y`: the labels
    of the axis, (percent, byte); `left_out`: strokes there was no room for."""

    direction: str
    strokes: tuple[Stroke, ...]
    acknowledged: str
    delivered: str
    reset_at: float | None
    y: tuple[tuple[float, int], ...]
    left_out: int


@dataclass(frozen=True, slots=True)
class Plots:
    """Both directions in one window of time, seconds after the trigger."""

    start_s: float
    end_s: float
    ticks: tuple[tuple[float, float], ...]
    plots: tuple[Plot, ...]


def sequence(index: int, facts: Facts, result: Mapping[str, Any], fates: Fates) -> Plots | None:
    """A connection's two plots; None where nothing was sent."""
    connection = facts.connections[index]
    if not connection.transmissions:
        return None
    start, end, zero = _window(connection, facts, result["failover"])
    plots = [_plot(connection, way, facts, fates, start, end) for way in Direction]
    length = (end - start) / 1e9
    step = next((s for s in (0.2, 0.5, 1, 2, 5, 10, 30, 60) if length / s <= 7), 120)
    first = int((start - zero) / 1e9 / step) - 1
    ticks = [
        (100 * (zero + n * step * 1e9 - start) / (end - start), n * step)
        for n in range(first, first + 12)
    ]
    return Plots(
        (start - zero) / 1e9, (end - zero) / 1e9,
        tuple((round(at, 2), round(s, 3)) for at, s in ticks if 0 <= at <= 100), tuple(plots),
    )  # fmt: skip


def _window(
    connection: Connection, facts: Facts, failover: Mapping[str, Any] | None
) -> tuple[int, int, float]:
    """From shortly before the failover until this connection lives again, or is dead."""
    first = connection.transmissions[0][0].origin.time_ns
    if failover is None:
        return first, min(facts.end_ns, first + 3_000_000_000), float(first)
    zero = failover["triggered"] * 1e9
    times = [a.time_ns for _, a in connection.resets[:1]]
    for way in Direction:
        switch = connection.switch(way)
        times += [switch.origin.time_ns] if switch else []
    known = [failover[k] * 1e9 for k in ("effective", "first_byte") if failover[k] is not None]
    until = max([*times, *known], default=float(facts.end_ns))
    start = max(first, int(zero - BEFORE_S * 1e9))
    end = min(facts.end_ns, int(until + AFTER_S * 1e9))
    return start, max(end, start + 1_000_000), zero


def _plot(
    connection: Connection, way: Direction, facts: Facts, fates: Fates, start: int, end: int
) -> Plot:
    stream = connection.stream(way)
    back = Direction.TO_CLIENT if way is Direction.TO_SERVER else Direction.TO_SERVER
    sender = connection.client if way is Direction.TO_SERVER else connection.server
    sent = _sent(connection, way, start, end)
    acked: list[tuple[int, int]] = []
    for transmission, its in connection.transmissions:
        last = transmission.last
        if its is not back or last.outgoing or sender is None or last.node != sender.node:
            continue
        segment = last.segment
        offset = stream.offset_of(segment.ack) if segment.flags & (ACK | RST) == ACK else None
        if offset is not None and segment.destination == sender.local:
            acked.append((last.time_ns, min(offset, len(stream.sent))))
    arrived = [(a.arrival.time_ns, a.offset) for a in stream.advances]
    low = min([lo for _, lo, _ in sent], default=_at(arrived, start))
    low = min(low, _at(acked, start)) if acked else low
    high = max([hi for _, _, hi in sent] + [_at(arrived, end)], default=low + 1)
    axis = _Axis(start, end, max(0, low), max(high, low + 1))
    first = {t.origin.frame for _, t in stream.first_sent}
    strokes = [
        _stroke(t, (lo, hi), fates.of(connection, t, way), t.origin.frame not in first, axis)
        for t, lo, hi in sent
    ]
    kept = _thinned(strokes)
    resets = [a.time_ns for _, a in connection.resets[:1] if start <= a.time_ns <= end]
    y = tuple(
        (round(axis.y(value), 1), value)
        for value in sorted({axis.low, (axis.low + axis.high) // 2, axis.high})
    )
    return Plot(
        way.value, tuple(kept), axis.steps(acked), axis.steps(arrived),
        axis.x(resets[0]) if resets else None, y, len(strokes) - len(kept),
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Axis:
    start: int
    end: int
    low: int
    high: int

    def x(self, time_ns: float) -> float:
        return round(100 * (time_ns - self.start) / (self.end - self.start), 2)

    def y(self, offset: float) -> float:
        return round(96 - 92 * (offset - self.low) / (self.high - self.low), 2)

    def steps(self, points: Sequence[tuple[int, int]]) -> str:
        """A staircase through the window; the highest value so far counts."""
        at = max((o for t, o in points if t < self.start), default=None)
        parts = [f"M0 {self.y(at):g}"] if at is not None and at >= self.low else []
        last_x = -1.0
        for time, offset in points:
            if not self.start <= time <= self.end or (at is not None and offset <= at):
                continue
            at, x = offset, self.x(time)
            if x - last_x < 0.1 and parts:
                parts.append(f"V{self.y(at):g}")
                continue
            parts.append(f"H{x:g}V{self.y(at):g}" if parts else f"M{x:g} {self.y(at):g}")
            last_x = x
        return "".join([*parts, "H100"]) if parts else ""


def _at(points: Sequence[tuple[int, int]], time_ns: int) -> int:
    return max((offset for time, offset in points if time <= time_ns), default=0)


def _sent(
    connection: Connection, way: Direction, start: int, end: int
) -> list[tuple[Transmission, int, int]]:
    """What the sender itself put on the wire in the window: (segment, first byte, last byte)."""
    stream, found = connection.stream(way), []
    for transmission, its in connection.transmissions:
        origin, segment = transmission.origin, transmission.segment
        own = is_end(origin.node) and not is_device(origin.node) and origin.outgoing
        if its is not way or not own or not segment.payload:
            continue
        low = stream.offset_of(segment.seq)
        if low is not None and start <= origin.time_ns <= end:
            found.append((transmission, low, low + len(segment.payload)))
    return found


def _stroke(
    transmission: Transmission, span: tuple[int, int], fate: End, again: bool, axis: _Axis
) -> Stroke:
    origin, (low, high) = transmission.origin, span
    kind = "lost" if fate.kind in ("lost", "stray") else "again" if again else "sent"
    repeated = ", sent again" if again else ""
    text = f"frame {origin.frame}: bytes {low:,} to {high:,}{repeated}; {fate.text}"
    return Stroke(axis.x(origin.time_ns), axis.y(high), axis.y(low), kind, text)


def _thinned(strokes: Sequence[Stroke]) -> list[Stroke]:
    """All that were lost or sent again as far as there is room, of the others every so-manieth."""
    telling = [s for s in strokes if s.kind != "sent"]
    plain = [s for s in strokes if s.kind == "sent"]
    telling = telling[:: max(1, -(-len(telling) // MOST))]
    plain = plain[:: max(1, -(-len(plain) // MOST))]
    return sorted([*telling, *plain], key=lambda s: s.x)
