"""Where each segment ended, in words and as one of a few kinds. Pure.

delivered  it reached the socket it was for
taken      a proxy took it: from there on its bytes travel in segments of the proxy's own
lost       it did not come out again, or never arrived at the next node
stray      it reached an end that has no such connection
open       captured in the last moment, where absence proves nothing
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from emulator.lab.judge.facts import Connection, Direction, Ending, Facts, Fate, Record
from emulator.lab.judge.tracing import TAIL_NS, Sighting, Transmission, is_device
from emulator.wire.seqnum import SeqNum

_DECISIONS = {
    "standby-drop": "stands by and dropped it",
    "no-flow-drop": "knew no flow for it and dropped it",
    "no-flow-reset": "knew no flow for it and answered with a reset",
}
# A decision is written down after the segment's arrival; the two clocks' stamps differ a little.
_EARLY_S, _LATE_S = -0.002, 0.5


@dataclass(frozen=True, slots=True)
class End:
    """How one segment ended: `kind` as above, `text` for the reader."""

    kind: str
    text: str
    node: str
    last: Sighting


class Fates:
    """Of one run's segments. Asks journals and logs for their own words once."""

    def __init__(self, facts: Facts) -> None:
        self._facts = facts
        self._said = _decisions(facts)
        self._taken: dict[tuple[int, str, Direction], SeqNum | None] = {}

    def of(self, connection: Connection, transmission: Transmission, way: Direction) -> End:
        """The end of one of the connection's segments."""
        ending = connection.ending(transmission, self._facts.points)
        last = ending.last
        if ending.fate is Fate.DELIVERED:
            return End("delivered", f"reaches {ending.node}", ending.node, last)
        if ending.fate is Fate.MISADDRESSED:
            text = f"reaches {ending.node}, which has no such connection"
            return End("stray", text, ending.node, last)
        record = self._said.get(last.frame)
        if record is not None:
            text = f"lost: {self._words(ending, record)}"
            return End("lost", text, ending.node, last)
        if self._takes(connection, ending, way):
            return End("taken", f"taken by {ending.node}, a proxy", ending.node, last)
        if self._facts.end_ns - last.time_ns < TAIL_NS:
            return End("open", "on its way when the captures ended", ending.node, last)
        return End("lost", f"lost: {_where(ending)}", ending.node, last)

    def _words(self, ending: Ending, record: Mapping[str, object]) -> str:
        what = str(record.get("what"))
        if what == "dropped":
            return f"dropped by the fabric ({record.get('counter', 'no counter named')})"
        who = str(record.get("node", ending.node))
        return f"{who} {_DECISIONS.get(what, what.replace('-', ' '))}"

    def _takes(self, connection: Connection, ending: Ending, way: Direction) -> bool:
        """Whether the proxy it went into has acknowledged as much; an acknowledgement alone
        is nothing that a proxy would pass on."""
        if not connection.proxied or ending.fate is not Fate.DEVICE:
            return False
        segment = ending.last.segment
        if not segment.octets:
            return True
        key = (id(connection), ending.node, way)
        if key not in self._taken:
            found = connection.acknowledged_by(ending.node, way)
            self._taken[key] = found[0] if found else None
        known = self._taken[key]
        return known is not None and not known.precedes(segment.end)


def _decisions(facts: Facts) -> dict[int, Record]:
    """What journals and logs say was done with a segment, by the frame it was last seen in.

    A line is about the last arrival before it: a sender repeats itself, number for number.
    """
    lines: dict[tuple[str, str, object], list[Record]] = {}
    for record in facts.records:
        if "seq" in record and "source" in record:
            key = (str(record["source"]), str(record.get("destination")), record["seq"])
            lines.setdefault(key, []).append(record)
    best: dict[int, tuple[Sighting, Record]] = {}  # by the line
    for transmission in facts.transmissions:
        last, segment = transmission.last, transmission.last.segment
        key = (str(segment.source), str(segment.destination), segment.seq.value)
        for record in lines.get(key, ()):
            after_s = _time(record) - last.time_s
            same = record.get("ack", segment.ack.value) == segment.ack.value
            if not same or last.outgoing or not _EARLY_S < after_s < _LATE_S:
                continue
            known = best.get(id(record))
            if known is None or known[0].time_ns < last.time_ns:
                best[id(record)] = last, record
    return {last.frame: record for last, record in best.values()}


def _where(ending: Ending) -> str:
    if ending.fate is Fate.LINK:
        state = " (dead, or its links are down)" if is_device(ending.node) else ""
        return f"left {ending.last.node} for {ending.node}, which never received it{state}"
    return f"went into {ending.node} and did not come out"


def _time(record: Mapping[str, object]) -> float:
    time = record.get("time", 0.0)
    return float(time) if isinstance(time, int | float) else 0.0
