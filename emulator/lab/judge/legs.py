"""Joining the two connections of a proxied one. Pure.

A proxy ends the client's connection and opens one of its own to the server: no segment of
one is a segment of the other. What joins them: the device's journal, which names all four
ends of each flow; without it the captures alone: a SYN that a device sends after a client's
SYN went into it, and after a takeover from another address, segments that go on where the
sequence numbers of a known server-side connection left off.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from emulator.lab.judge.tracing import Transmission, is_device
from emulator.wire.segment import ACK, RST, SYN, Endpoint, Segment
from emulator.wire.seqnum import SeqNum

Record = Mapping[str, object]
Ends = tuple[Endpoint, Endpoint]  # of a client-side connection: client, virtual server

_NEAR = 1 << 24  # octets: as far as two devices' places in one connection can be apart
# No traffic leaves a device by its HA interface, but calls to the cloud's API do, which serve no
# client, whatever client's SYN was swallowed just before.
_MANAGEMENT = ":ha"
_NAMING = ("flow-created", "flow-restored")


@dataclass(slots=True)
class _Leg:
    """A server-side connection: which client side it serves, where its numbers are."""

    ends: Ends
    seq: SeqNum
    ack: SeqNum

    def goes_on_in(self, segment: Segment) -> bool:
        return (
            abs(segment.seq.octets_from(self.seq)) < _NEAR
            and abs(segment.ack.octets_from(self.ack)) < _NEAR
        )


class Joiner:
    """Fed every transmission in order; tells of a device's own which client it serves."""

    def __init__(self, records: Iterable[Record]) -> None:
        self._named: dict[tuple[str, str, str], list[Record]] = {}
        for record in records:
            if record.get("what") in _NAMING:
                key = (str(record.get("node")), str(record.get("snat")), str(record.get("member")))
                self._named.setdefault(key, []).append(record)
        self._into: dict[Ends, set[str]] = {}  # client SYNs by the devices they went into
        self._legs: dict[Ends, _Leg] = {}  # by (SNAT address, member)

    def client_syn(self, transmission: Transmission) -> None:
        """A client's SYN: the devices it went into and did not come out of end it."""
        segment = transmission.segment
        last = transmission.last
        if is_device(last.node) and not last.outgoing:
            self._into.setdefault((segment.source, segment.destination), set()).add(last.node)

    def join(self, transmission: Transmission) -> Ends | None:
        """The client side of the connection a device's own segment belongs to."""
        origin, segment = transmission.origin, transmission.segment
        if not (is_device(origin.node) and origin.outgoing) or segment.flags & RST:
            return None
        if origin.point.endswith(_MANAGEMENT):
            return None
        pair = (segment.source, segment.destination)
        starts = segment.flags & (SYN | ACK) == SYN
        ends = self._by_journal(origin.node, pair, origin.time_s)
        if ends is None:
            ends = self._by_handshake(origin.node, pair) if starts else self._by_numbers(segment)
        if ends is not None:
            self._legs[pair] = _Leg(ends, segment.seq, segment.ack)
        return ends

    def follow(self, segment: Segment) -> None:
        """Note how far a server-side connection has come."""
        leg = self._legs.get((segment.source, segment.destination))
        if leg is not None:
            leg.seq, leg.ack = segment.end, segment.ack

    def _by_journal(self, node: str, pair: Ends, time_s: float) -> Ends | None:
        records: Sequence[Record] = self._named.get((node, str(pair[0]), str(pair[1])), ())
        before = [r for r in records if float(str(r.get("time", 0))) <= time_s + 0.001]
        if not before:
            return None
        return Endpoint.of(str(before[-1]["client"])), Endpoint.of(str(before[-1]["virtual"]))

    def _by_handshake(self, node: str, pair: Ends) -> Ends | None:
        served = {leg.ends for leg in self._legs.values()}
        waiting = [e for e, nodes in self._into.items() if node in nodes and e not in served]

        def likeness(ends: Ends) -> tuple[bool, bool]:
            client, virtual = ends
            return virtual.port == pair[1].port, client.port == pair[0].port

        return max(reversed(waiting), key=likeness, default=None)

    def _by_numbers(self, segment: Segment) -> Ends | None:
        for (_, member), leg in self._legs.items():
            if member == segment.destination and leg.goes_on_in(segment):
                return leg.ends
        return None
