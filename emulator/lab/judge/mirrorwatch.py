"""The mirroring channel as the captures show it. Pure.

The active device opens it, and everything it sends on it is acknowledged by the peer's TCP.
So the captures of the active device's own interface tell whether the channel was up at some
moment, as that device could know it:

    SYN answered by SYN-ACK                            up
    bytes unacknowledged for longer than LOST_S        down, since the first of them was sent
    FIN or reset, from either side                     down, until the next SYN-ACK
    SYN that nobody answers                            down

What the standby holds of a standard virtual server's connections is read from the channel as
well: the mirror messages that reached the standby's own interface.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from emulator.core.reassembly import Reassembly
from emulator.lab.judge.tracing import Sighting, Trace, Transmission, is_device
from emulator.wire.mirror import Decoder, Message, Mirrored, MirrorError
from emulator.wire.segment import ACK, FIN, RST, SYN, Endpoint, Segment, SegmentError
from emulator.wire.seqnum import SeqNum

Pair = tuple[Endpoint, Endpoint]
PORTS = range(1029, 1156)  # TCP 1029 and one more for each traffic group
LOST_S = 4.0  # the devices' own time-out
_TLS = (b"\x16\x03", b"\x17\x03", b"\x15\x03")  # handshake, data, alert: a message is "ML"


@dataclass(frozen=True, slots=True)
class Down:
    """The channel did not work: `since` is the frame to look at, `what` what it shows."""

    since: Sighting
    what: str


@dataclass(slots=True)
class _State:
    """One device's end of the channel, up to some moment."""

    device: str
    up: bool = False
    failed: Down | None = None
    waiting: list[tuple[SeqNum, Sighting]] = field(default_factory=list)

    def sent(self, sighting: Sighting) -> None:
        segment = sighting.segment
        if segment.flags & (FIN | RST):
            self._ended(sighting, f"{self.device} ends the mirroring channel")
        elif segment.flags & (SYN | ACK) == SYN:
            what = f"{self.device} tries to open the mirroring channel; no answer comes"
            self.failed = self.failed or Down(sighting, what)
        elif segment.octets and (not self.waiting or self.waiting[-1][0].precedes(segment.end)):
            self.waiting.append((segment.end, sighting))

    def received(self, sighting: Sighting) -> None:
        segment = sighting.segment
        if segment.flags & (FIN | RST):
            self._ended(sighting, f"the mirroring channel to {self.device} is ended by its peer")
        elif segment.flags & SYN:
            self.up, self.failed = True, None
            self.waiting.clear()
        elif segment.flags & ACK:
            self.up = self.up or self.failed is None  # the capture began after the channel
            while self.waiting and not segment.ack.precedes(self.waiting[0][0]):
                del self.waiting[0]

    def _ended(self, sighting: Sighting, what: str) -> None:
        unanswered = self._unanswered(sighting.time_ns)
        self.up, self.failed = False, self.failed or unanswered or Down(sighting, what)
        self.waiting.clear()

    def _unanswered(self, now_ns: int) -> Down | None:
        if self.waiting and now_ns - self.waiting[0][1].time_ns > LOST_S * 0.9e9:
            what = f"first mirror message of {self.device}'s that its peer never acknowledged"
            return Down(self.waiting[0][1], what)
        return None

    def verdict(self, now_ns: int) -> Down | None:
        return self._unanswered(now_ns) if self.up else self.failed


def channel_of(trace: Trace) -> list[Transmission]:
    """The mirroring channel's segments."""
    own = {p.address for p in trace.points.values() if is_device(p.name.partition(":")[0])}
    return [t for t in trace.transmissions if _mirrors(t.segment, own)]


def down_at(channel: Iterable[Transmission], active: str, now_ns: int) -> Down | None:
    """Whether the active device's channel was down at a moment; None also when it never had
    or tried one."""
    return _state_at(channel, active, now_ns).verdict(now_ns)


def up_at(channel: Iterable[Transmission], active: str, now_ns: int) -> bool:
    """Whether what came into the active device at that moment was mirrored."""
    state = _state_at(channel, active, now_ns)
    return state.up and state.verdict(now_ns) is None


def _state_at(channel: Iterable[Transmission], active: str, now_ns: int) -> _State:
    seen = [
        sighting
        for transmission in channel
        for sighting in transmission.sightings
        if sighting.node == active and sighting.time_ns <= now_ns
    ]
    state = _State(active)
    for sighting in sorted(seen, key=lambda s: s.frame):
        (state.sent if sighting.outgoing else state.received)(sighting)
    return state


def secured(channel: Iterable[Transmission]) -> bool:
    """Whether its messages are in TLS (`statemirror.secure`): then no capture tells what the
    standby holds."""
    return any(t.segment.payload.startswith(_TLS) for t in channel)


def held_by(channel: Iterable[Transmission]) -> dict[Pair, SeqNum]:
    """How far the device mirrored to came to hold each direction of the mirrored connections: the
    sequence number after the last mirrored segment, by (source, destination).

    A capture that began in the middle of the channel's stream is read from the first message
    it holds whole; nothing is known from a stream that cannot be read.
    """
    held: dict[Pair, SeqNum] = {}
    for data in _streams(channel):
        for message in _messages(data):
            if isinstance(message.body, Mirrored):
                try:
                    segment = Segment.parse(message.body.packet)
                except SegmentError:
                    continue
                pair = segment.source, segment.destination
                if pair not in held or segment.flags & SYN or held[pair].precedes(segment.end):
                    held[pair] = segment.end
    return held


@dataclass(slots=True)
class _Arrived:
    """The bytes of one connection as they reached the standby; `base` is their first."""

    base: SeqNum
    order: Reassembly = field(default_factory=Reassembly)
    data: bytearray = field(default_factory=bytearray)

    def take(self, segment: Segment) -> None:
        offset = segment.seq.octets_from(self.base)
        if offset >= 0:
            self.order.insert(offset, segment.payload)
            self.data += self.order.read(self.order.start, self.order.end)
            self.order.trim(self.order.end)


def _streams(channel: Iterable[Transmission]) -> list[bytes]:
    """What arrived at a device, a stream for each of the channel's connections."""
    arrived: dict[tuple[Pair, int], _Arrived] = {}
    number: dict[Pair, int] = {}
    for transmission in channel:
        last, segment = transmission.last, transmission.segment
        if last.outgoing or not is_device(last.node):
            continue
        pair = segment.source, segment.destination
        if segment.flags & SYN:
            number[pair] = number.get(pair, 0) + 1
        if segment.payload:
            key = pair, number.get(pair, 0)
            arrived.setdefault(key, _Arrived(segment.seq)).take(segment)
    return [bytes(stream.data) for stream in arrived.values()]


def _messages(data: bytes) -> list[Message]:
    start = data.find(b"ML")
    while start >= 0:
        decoder = Decoder()
        try:
            return decoder.feed(data[start:])
        except MirrorError:  # not a message's beginning
            start = data.find(b"ML", start + 1)
    return []


def _mirrors(segment: Segment, own: set[str]) -> bool:
    ends = segment.source, segment.destination
    return any(e.port in PORTS for e in ends) and all(str(e.address) in own for e in ends)
