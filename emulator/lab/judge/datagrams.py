"""UDP flows: which datagrams were answered, which were lost. Pure.

A flow begins with a datagram that leaves an end and is no answer. Its datagrams are told apart
by what they carry, so a session has to number them; a request and its answer may carry the same.
A flow is a `Connection` here as a TCP one is, followed over the same capture points by the same
means; nothing is ever sent again, so a datagram that did not arrive is lost and the flow goes on.
What server or client takes for its own: a client that is connected to the virtual server's
address nothing else, a server what comes to its port, from whatever address.

Outcome: SURVIVED while datagrams are answered at the end, or nobody asks; else STALLED.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from emulator.lab.judge.facts import UDP, Connection, Direction, Facts, Socket
from emulator.lab.judge.streams import Advance, ByteCount
from emulator.lab.judge.tracing import TAIL_NS, RawDatagram, Sighting, Transmission, is_end
from emulator.lab.workload.applications import DATAGRAM_PORTS
from emulator.wire.datagram import Datagram
from emulator.wire.segment import Endpoint, Segment, SegmentError
from emulator.wire.seqnum import SeqNum

ANSWERED_S = 3.0  # an answer so long before the end still counts as one now
_NAMES = {port: name for name, port in DATAGRAM_PORTS.items()}


@dataclass(slots=True)
class _Followed:
    """What is being put together: flows by their client side, ways by their datagram."""

    flows: dict[tuple[Endpoint, Endpoint], Connection] = field(default_factory=dict)
    owner: dict[bytes, Connection] = field(default_factory=dict)
    ways: dict[tuple[bytes, Direction], tuple[Transmission, set[tuple[str, bool]]]] = field(
        default_factory=dict
    )

    def take(self, sighting: Sighting) -> None:
        segment = sighting.segment
        owner = self.owner.get(segment.payload)
        if owner is None:
            owner = self._opened(sighting)
            if owner is None:
                return
            self.owner[segment.payload] = owner
        port = owner.client.remote.port
        asks = segment.destination.port == port
        direction = Direction.TO_SERVER if asks else Direction.TO_CLIENT
        way = self.ways.get((segment.payload, direction))
        place = (sighting.point, sighting.outgoing)
        if way is None or place in way[1]:
            way = self.ways[segment.payload, direction] = (Transmission([]), set())
            owner.transmissions.append((way[0], direction))
        way[0].sightings.append(sighting)
        way[1].add(place)

    def _opened(self, sighting: Sighting) -> Connection | None:
        """The flow of a datagram that was not seen before: one an end sends, no answer."""
        segment = sighting.segment
        if not sighting.outgoing or not is_end(sighting.node):
            return None
        pair = (segment.source, segment.destination)
        if any(segment.source.port == virtual.port for _, virtual in self.flows):
            return None
        if pair not in self.flows:
            name = _NAMES.get(pair[1].port, f"udp-{pair[1].port}")
            self.flows[pair] = Connection(
                name, Socket(sighting.node, *pair), SeqNum(0), protocol=UDP
            )
        return self.flows[pair]


def flows(datagrams: Iterable[RawDatagram], end_ns: int) -> list[Connection]:
    """Every UDP flow of a capture, in the order they began."""
    followed = _Followed()
    for raw in datagrams:
        try:
            sent = Datagram.parse(raw.packet)
        except SegmentError:
            continue  # not ours: every port of theirs is looked at
        segment = Segment(
            sent.source, sent.destination, SeqNum(0), SeqNum(0), 0, 0, sent.payload,
            identification=sent.identification,
        )  # fmt: skip
        followed.take(Sighting(raw.frame, raw.time_ns, raw.point, raw.outgoing, segment))
    for flow in followed.flows.values():
        flow.end_ns = end_ns
        _measure(flow)
    return list(followed.flows.values())


def _measure(flow: Connection) -> None:
    for transmission, direction in flow.transmissions:
        last = transmission.last
        if direction is Direction.TO_SERVER and flow.server is None and _at_an_end(last):
            flow.server = Socket(last.node, last.segment.destination, last.segment.source)
        stream, payload = flow.stream(direction), transmission.segment.payload
        stream.sent += payload
        stream.first_sent.append((len(stream.sent), transmission))
        if delivered(flow, transmission):
            stream.delivered += payload
            advance = Advance(len(stream.delivered), last, transmission.device)
            stream.advances.append(advance)
        stream.acknowledged = len(stream.sent)


def delivered(flow: Connection, transmission: Transmission) -> bool:
    """Whether the datagram came to the socket it was for."""
    return _at_an_end(transmission.last) and flow.is_for(transmission.last)


def outcome(flow: Connection) -> str:
    """SURVIVED or STALLED."""
    horizon = flow.end_ns - int(ANSWERED_S * 1e9)
    asked = any(
        horizon < t.origin.time_ns < flow.end_ns - TAIL_NS
        for t, direction in flow.transmissions
        if direction is Direction.TO_SERVER
    )
    answers = flow.to_client.advances
    answered = bool(answers) and answers[-1].arrival.time_ns > horizon
    return "STALLED" if asked and not answered else "SURVIVED"


def count(flow: Connection) -> ByteCount:
    """Bytes of payload, both ways; the last moment's may be in flight."""
    sent = missing = arrived = 0
    for transmission, _ in flow.transmissions:
        octets = len(transmission.segment.payload)
        sent += octets
        if delivered(flow, transmission):
            arrived += octets
        elif flow.end_ns - transmission.origin.time_ns > TAIL_NS:
            missing += octets
    return ByteCount(sent, arrived, missing)


def why_it_lives(flow: Connection, facts: Facts) -> tuple[str, tuple[tuple[Sighting, str], ...]]:
    """In words, and what shows it."""
    switch = flow.switch(Direction.TO_SERVER)
    old = [t for t, _ in flow.transmissions if flow.end_ns - t.origin.time_ns > TAIL_NS]
    lost = sum(not delivered(flow, t) for t in old)
    if switch is None or switch.device is None:
        return f"One device carried the flow; {lost} datagrams were lost.", ()
    device = switch.device
    by_other = [
        t
        for t, direction in flow.transmissions
        if direction is Direction.TO_SERVER and t.device == device and delivered(flow, t)
    ]
    if not by_other:
        return f"Datagrams went to {device}, which passed none on.", ()
    source, before = by_other[0].last.segment.source, flow.server.remote if flow.server else None
    restored = any(
        r.get("node") == device and r.get("client") == str(flow.client.local)
        for r in facts.records_of("flow-restored")
    )
    how = "held the flow mirrored" if restored else "made a flow of the next datagram"
    peer = f"still sees {source}" if source == before else f"sees {source} instead of {before}"
    text = (
        f"{device} took over: it {how}, and the server {peer}. {lost} datagrams were lost "
        "meanwhile and, as nothing is sent again in UDP, stay so."
    )
    shown = [(switch.origin, f"first datagram that goes to {device}")]
    shown += [(by_other[0].last, f"first datagram that {device} delivers")]
    return text, tuple(shown)


def _at_an_end(sighting: Sighting) -> bool:
    return not sighting.outgoing and is_end(sighting.node)
