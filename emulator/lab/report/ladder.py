"""The segments around the failover, from node to node, each with its fate. Pure.

    client   router   bigip-a   bigip-b   router   backend-1
      o--------o---------o--------------------o--------->      a segment delivered
      o--------o---------x                                     lost in a device
      <========o===================o                           a reset

A lane is a node; the fabric has two, one on the clients' side and one on the servers', so
that a segment's way leads across. Positions are percent of the drawing's width.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from emulator.lab.judge.facts import Connection, Direction, Facts
from emulator.lab.judge.tracing import FABRIC, Sighting, Transmission, is_device
from emulator.lab.report.fates import End, Fates
from emulator.wire.segment import FIN, RST, SYN

BEFORE, AFTER, AROUND = 5, 10, 3  # rows about the trigger, and about what matters
MOST = 72
_OUTSIDE, _INSIDE = "outside", "inside"


@dataclass(frozen=True, slots=True)
class Seen:
    """One frame of run.pcapng."""

    frame: int
    ms: float
    point: str
    out: bool
    source: str
    destination: str
    seq: int
    ack: int
    flags: str
    octets: int


@dataclass(frozen=True, slots=True)
class Row:
    """One segment. `dots`: lanes it was seen in; `start`, `end`: where its arrow runs, percent;
    `kind`: as in `fates`; `evidence`: what the verdict says of one of its frames."""

    time_s: float
    dots: tuple[float, ...]
    start: float
    end: float
    kind: str
    reset: bool
    again: bool
    title: str
    fate: str
    frame: int
    evidence: str
    evidence_frames: tuple[int, ...]
    seen: tuple[Seen, ...]


@dataclass(frozen=True, slots=True)
class Gap:
    """Segments that are not shown."""

    count: int
    seconds: float
    lost: int
    again: int


@dataclass(frozen=True, slots=True)
class Event:
    """The failover's progress, between the rows."""

    key: str
    time_s: float
    text: str


@dataclass(frozen=True, slots=True)
class Lane:
    """A node's column. `label` names it, `side` which of the fabric's two."""

    label: str
    side: str
    at: float


@dataclass(frozen=True, slots=True)
class Ladder:
    """`name`, `index`: the connection's, in result.json."""

    index: int
    name: str
    lanes: tuple[Lane, ...]
    steps: tuple[Row | Gap | Event, ...]
    total: int


@dataclass(frozen=True, slots=True)
class _Line:
    """A segment on its way into the ladder."""

    transmission: Transmission
    way: Direction
    end: End
    again: bool


def ladder(
    index: int, facts: Facts, result: Mapping[str, Any], fates: Fates, events: Sequence[Event]
) -> Ladder:
    """One connection's, zoomed to the failover; to its beginning and end where there was none."""
    connection, found = facts.connections[index], result["connections"][index]
    evidence = {e["frame"]: e["text"] for e in found["cause"]["evidence"]}
    failover = result["failover"]
    zero = failover["triggered"] if failover else _first(connection).time_s
    lines = _lines(connection, fates)
    chosen = _chosen(connection, lines, evidence, zero if failover else None)
    lanes = _lanes([line.transmission for line in lines])
    places = {(lane.label, lane.side): lane.at for lane in lanes}
    steps: list[Row | Gap | Event] = []
    waiting = list(events)
    previous = -1
    for at in chosen:
        line = lines[at]
        time_s = line.transmission.origin.time_s - zero
        skipped = lines[previous + 1 : at]
        if skipped and not waiting_before(waiting, skipped[0].transmission.origin.time_s - zero):
            steps.append(_gap(skipped))
            skipped = []
        while waiting and waiting[0].time_s <= time_s:
            steps.append(waiting.pop(0))
        if skipped:
            steps.append(_gap(skipped))
        steps.append(_row(line, zero, places, evidence))
        previous = at
    steps += waiting
    if rest := lines[previous + 1 :]:
        steps.append(_gap(rest))
    return Ladder(index, found["name"], tuple(lanes), tuple(steps), len(lines))


def waiting_before(waiting: Sequence[Event], time_s: float) -> bool:
    """Whether an event comes before a moment."""
    return bool(waiting) and waiting[0].time_s <= time_s


def _first(connection: Connection) -> Sighting:
    return connection.transmissions[0][0].origin


def _lines(connection: Connection, fates: Fates) -> list[_Line]:
    """All segments, and which of them carry bytes that were sent before."""
    first = {t.origin.frame for way in Direction for _, t in connection.stream(way).first_sent}
    lines = []
    for transmission, way in sorted(connection.transmissions, key=lambda t: t[0].origin.frame):
        origin, carries = transmission.origin, bool(transmission.segment.payload)
        again = carries and not is_device(origin.node) and origin.frame not in first
        lines.append(_Line(transmission, way, fates.of(connection, transmission, way), again))
    return lines


def _chosen(
    connection: Connection, lines: Sequence[_Line], evidence: Mapping[int, str],
    trigger_s: float | None,
) -> list[int]:  # fmt: skip
    """Which segments to show, the most telling first until there are MOST."""
    frames = [{s.frame for s in line.transmission.sightings} for line in lines]
    wanted: list[int] = [i for i, own in enumerate(frames) if own & evidence.keys()]
    resets = [i for i, line in enumerate(lines) if line.transmission.segment.flags & RST]
    centres = [*wanted, *resets[:6]]
    for way in Direction:
        switch = connection.switch(way)
        centres += [i for i, line in enumerate(lines) if line.transmission is switch]
    wanted += centres
    wanted += _near(centres, 1)
    if trigger_s is None:
        wanted += [*range(12), *range(len(lines) - 4, len(lines))]
    else:
        times = [line.transmission.origin.time_s for line in lines]
        after = next((i for i, time in enumerate(times) if time >= trigger_s), len(lines))
        wanted += range(after - BEFORE, after + AFTER)
    wanted += _near(centres, AROUND)
    wanted += [i for i, line in enumerate(lines) if line.end.kind in ("lost", "stray")][-6:]
    kept = dict.fromkeys(i for i in wanted if 0 <= i < len(lines))
    return sorted(list(kept)[:MOST])


def _near(centres: Sequence[int], distance: int) -> list[int]:
    steps = sorted(range(-distance, distance + 1), key=abs)
    return [centre + step for step in steps for centre in centres]


def _lanes(transmissions: Sequence[Transmission]) -> list[Lane]:
    """The nodes these segments were seen at, or were lost before, from left to right."""
    seen = {_place(s) for t in transmissions for s in t.sightings}
    last_ends = {n for n, _ in seen if n not in FABRIC and not is_device(n)}
    first = transmissions[0].origin.node if transmissions else ""

    def order(place: tuple[str, str]) -> tuple[int, int, str]:
        node, side = place
        if node == first:
            return 0, 0, node
        if node in FABRIC:
            # client - router - switch - devices - switch - backend
            towards = FABRIC.index(node)
            return (1, towards, node) if side == _OUTSIDE else (3, -towards, node)
        return (2, 0, node) if is_device(node) else (4, 0, node)

    ordered = sorted(seen, key=order)
    if len(last_ends) == len(seen) or len(ordered) == 1:
        return [Lane(node, side, 50.0) for node, side in ordered]
    step = 100 / len(ordered)
    return [Lane(node, side, round(step * (i + 0.5), 2)) for i, (node, side) in enumerate(ordered)]


def _place(sighting: Sighting) -> tuple[str, str]:
    """The lane of a capture point."""
    node, _, interface = sighting.point.partition(":")
    if node not in FABRIC:
        return node, ""
    inside = interface.endswith("-int") or interface == "int" or interface.startswith("be")
    return node, _INSIDE if inside else _OUTSIDE


def _gap(lines: Sequence[_Line]) -> Gap:
    first, last = lines[0].transmission.origin, lines[-1].transmission.origin
    return Gap(
        len(lines), last.time_s - first.time_s, sum(line.end.kind == "lost" for line in lines),
        sum(line.again for line in lines),
    )  # fmt: skip


def _row(
    line: _Line, zero: float, places: Mapping[tuple[str, str], float], evidence: Mapping[int, str]
) -> Row:
    transmission, segment = line.transmission, line.transmission.segment
    dots = [places[_place(s)] for s in transmission.sightings if _place(s) in places]
    start = dots[0] if dots else 0.0
    end = dots[-1] if dots else 0.0
    if line.end.kind == "lost" and line.end.last.outgoing:
        end = _half_way(line, end, places)
    elif end == start:
        end = start + (2.5 if line.way is Direction.TO_SERVER else -2.5)
    frames = [s.frame for s in transmission.sightings if s.frame in evidence]
    return Row(
        transmission.origin.time_s - zero, tuple(dict.fromkeys(dots)), start, end, line.end.kind,
        bool(segment.flags & RST), line.again, _title(line), line.end.text,
        transmission.origin.frame, "; ".join(evidence[f] for f in frames), tuple(frames),
        tuple(_seen(s, transmission.origin) for s in transmission.sightings),
    )  # fmt: skip


def _half_way(line: _Line, at: float, places: Mapping[tuple[str, str], float]) -> float:
    """Between where it was last seen and the node that never received it."""
    towards = [place for (node, _), place in places.items() if node == line.end.node]
    if towards:
        return round((at + min(towards, key=lambda place: abs(place - at))) / 2, 2)
    return at + (6.0 if line.way is Direction.TO_SERVER else -6.0)


def _title(line: _Line) -> str:
    segment = line.transmission.segment
    names = [n for bit, n in ((SYN, "SYN"), (FIN, "FIN"), (RST, "RESET")) if segment.flags & bit]
    if segment.payload:
        names.append(f"{len(segment.payload)} bytes{' again' if line.again else ''}")
    what = ", ".join(names) or "acknowledgement"
    to = "to the server" if line.way is Direction.TO_SERVER else "to the client"
    return f"{line.transmission.origin.node}: {what} {to}"


def _seen(sighting: Sighting, origin: Sighting) -> Seen:
    segment = sighting.segment
    return Seen(
        sighting.frame, (sighting.time_ns - origin.time_ns) / 1e6, sighting.point,
        sighting.outgoing, str(segment.source), str(segment.destination), segment.seq.value,
        segment.ack.value, segment.flag_names, len(segment.payload),
    )  # fmt: skip
