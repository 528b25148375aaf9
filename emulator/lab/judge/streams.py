"""The bytes of one direction of a connection: what was sent, what arrived, and when. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import zip_longest

from emulator.lab.judge.tracing import Sighting, Transmission
from emulator.wire.segment import SYN
from emulator.wire.seqnum import SeqNum

_ALIGN = 16  # bytes that must agree for two streams to count as aligned again
_MAX_SEARCHES = 256  # past that the streams have nothing in common: compare place by place


@dataclass(frozen=True, slots=True)
class Advance:
    """The contiguous stream grew to `offset` bytes by this arrival."""

    offset: int
    arrival: Sighting
    device: str | None


@dataclass(slots=True)
class Stream:
    """One direction: `sent` as it left its sender, `delivered` as it reached the receiver.

    Offsets count payload bytes from 0; `first_sent` gives, in order, (end offset, the
    transmission that first carried the bytes up to it).
    """

    sent: bytearray = field(default_factory=bytearray)
    delivered: bytearray = field(default_factory=bytearray)
    first_sent: list[tuple[int, Transmission]] = field(default_factory=list)
    advances: list[Advance] = field(default_factory=list)
    acknowledged: int = 0
    gap: bool = False  # bytes were sent that the capture did not see: a capture fault
    _sent_base: SeqNum | None = None
    _received_base: SeqNum | None = None
    _waiting: dict[int, bytes] = field(default_factory=dict)

    def leave(self, transmission: Transmission) -> None:
        """A segment left the sender."""
        segment = transmission.segment
        if segment.flags & SYN:
            self._sent_base = segment.seq + 1
        if self._sent_base is None or not segment.payload:
            return
        offset = segment.seq.octets_from(self._sent_base)
        if offset > len(self.sent):
            self.gap = True
            return
        new = segment.payload[len(self.sent) - offset :] if offset >= 0 else b""
        if new:
            self.sent += new
            self.first_sent.append((len(self.sent), transmission))

    def arrive(self, transmission: Transmission, arrival: Sighting) -> None:
        """A segment reached the receiver's own socket."""
        segment = arrival.segment
        if segment.flags & SYN:
            self._received_base = segment.seq + 1
        if self._received_base is None or not segment.payload:
            return
        offset = segment.seq.octets_from(self._received_base)
        if offset + len(segment.payload) <= len(self.delivered):
            return
        longest = max(self._waiting.get(offset, b""), segment.payload, key=len)
        self._waiting[offset] = longest
        before = len(self.delivered)
        self._take_in_order()
        if len(self.delivered) > before:
            self.advances.append(Advance(len(self.delivered), arrival, transmission.device))

    def acknowledge(self, ack: SeqNum) -> None:
        """The sender received an acknowledgement."""
        if self._sent_base is not None:
            offset = ack.octets_from(self._sent_base)
            self.acknowledged = max(self.acknowledged, min(offset, len(self.sent)))

    def offset_of(self, seq: SeqNum) -> int | None:
        """Which byte of `sent` a sequence number of the sender's stands for (-1: its SYN)."""
        return seq.octets_from(self._sent_base) if self._sent_base is not None else None

    def oldest_undelivered(self) -> Transmission | None:
        """The first transmission of the oldest byte that did not arrive, or of which the sender
        does not know so. A proxy acknowledges what it has not delivered yet."""
        known = min(self.acknowledged, len(self.delivered))
        return next((t for end, t in self.first_sent if end > known), None)

    def _take_in_order(self) -> None:
        while self._waiting:
            offset = min(self._waiting)
            if offset > len(self.delivered):
                return
            data = self._waiting.pop(offset)
            self.delivered += data[len(self.delivered) - offset :]


@dataclass(frozen=True, slots=True)
class ByteCount:
    """Counts of bytes, both directions or one."""

    sent: int = 0
    delivered: int = 0
    missing: int = 0
    repeated: int = 0
    altered: int = 0

    def __add__(self, other: ByteCount) -> ByteCount:
        return ByteCount(
            self.sent + other.sent,
            self.delivered + other.delivered,
            self.missing + other.missing,
            self.repeated + other.repeated,
            self.altered + other.altered,
        )


def compare(sent: bytes, delivered: bytes, *, in_flight: int = 0) -> ByteCount:
    """Every delivered byte against every sent one.

    `in_flight`: how many bytes at the end of `sent` may still be on their way without
    counting as missing. Where the streams differ they are aligned again at the next place
    _ALIGN bytes agree: bytes skipped in `sent` are missing, bytes delivered before are
    repeated, all others altered.
    """
    at = taken = reached = missing = repeated = altered = searches = 0
    while True:
        same = _common(sent, at, delivered, taken)
        repeated += max(0, min(at + same, reached) - at)
        at, taken = at + same, taken + same
        reached = max(reached, at)
        if taken >= len(delivered):
            break
        window = delivered[taken : taken + _ALIGN]
        searches += 1
        search = len(window) == _ALIGN and searches <= _MAX_SEARCHES
        ahead = sent.find(window, at) if search else -1
        behind = sent.rfind(window, 0, at) if search and ahead < 0 else -1
        if ahead >= 0:
            missing += max(0, ahead - reached)
            at = ahead
        elif behind >= 0:
            at = behind
        else:
            step = _ALIGN if searches > _MAX_SEARCHES else 1
            here, there = sent[at : at + step], window[:step]
            altered += sum(a != b for a, b in zip_longest(here, there) if b is not None)
            at, taken = at + step, taken + step
        reached = max(reached, at)
    missing += max(0, len(sent) - reached - in_flight)
    return ByteCount(len(sent), len(delivered), missing, repeated, altered)


def _common(left: bytes, at: int, right: bytes, other: int) -> int:
    """How many bytes agree from the two places on."""
    length = min(len(left) - at, len(right) - other)
    if left[at : at + length] == right[other : other + length]:
        return max(0, length)
    for step in range(length):
        if left[at + step] != right[other + step]:
            return step
    return max(0, length)
