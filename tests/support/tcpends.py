"""Ends of conversations for `tests.support.storm`: as much TCP as finds out what a pair of
devices did to a byte stream. No windows, no options; go-back-N; one timer.

Each end says a stream of which every place is its own, so it knows what it is to hear.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field

from emulator.wire.segment import ACK, FIN, PSH, RST, SYN, Endpoint, Segment
from emulator.wire.seqnum import SeqNum

RTO_S = 0.3
MSS = 1200
_BLOCK = random.Random(7).randbytes(10_007)


def stream(conversation: int, *, from_client: bool, at: int, count: int) -> bytes:
    """Bytes [at, at + count) of what that end says."""
    start = (at + 997 * conversation + (5003 if from_client else 0)) % len(_BLOCK)
    doubled = _BLOCK[start:] + _BLOCK * (count // len(_BLOCK) + 1)
    return doubled[:count]


@dataclass(eq=False)
class Socket:
    """One end of one connection. `said`: what it is to send, from `base` on; places count from
    the first byte after the SYN. `send` puts a segment on the wire."""

    local: Endpoint
    remote: Endpoint
    iss: SeqNum
    send: Callable[[Segment], None]
    irs: SeqNum | None = None
    said: bytearray = field(default_factory=bytearray)
    base: int = 0  # acknowledged; `said` begins here
    ended: bool = False  # nothing more will be said: a FIN follows
    fin_acknowledged: bool = False
    heard: int = 0  # bytes in order
    heard_fin: bool = False
    established: bool = False
    closed: str = ""  # why it is over, before both FINs

    @property
    def end(self) -> int:
        return self.base + len(self.said)

    @property
    def over(self) -> bool:
        return self.heard_fin and self.ended and self.fin_acknowledged

    def segment(self, flags: int, at: int = 0, payload: bytes = b"") -> Segment:
        ack = SeqNum(0)
        if self.irs is not None:
            ack, flags = self.irs + (1 + self.heard + self.heard_fin), flags | ACK
        seq = self.iss if flags & SYN else self.iss + (1 + at)
        return Segment(self.local, self.remote, seq, ack, flags, 0xFFFF, payload)

    def transmit(self) -> None:
        """What is not acknowledged, or nothing."""
        if self.closed:
            return
        if not self.established:
            if self.irs is not None or self.remote_unknown:
                self.send(self.segment(SYN))
            return
        for at in range(0, len(self.said), MSS):
            self.send(self.segment(PSH, self.base + at, bytes(self.said[at : at + MSS])))
        if self.ended and not self.fin_acknowledged:
            self.send(self.segment(FIN, self.end))

    @property
    def remote_unknown(self) -> bool:
        return self.irs is None

    def take(self, segment: Segment) -> tuple[bytes, bool]:
        """What is new of a segment that came in: bytes, and whether something is to be
        acknowledged."""
        if segment.flags & RST:
            self.closed = self.closed or "reset"
            return b"", False
        if segment.flags & SYN:
            if self.irs is None:
                self.irs = segment.seq
            if segment.seq != self.irs:
                return b"", False
        if self.irs is None:
            return b"", False
        if segment.flags & ACK:
            self._acknowledged(segment.ack)
        return self._take(segment)

    def _acknowledged(self, ack: SeqNum) -> None:
        place = ack.octets_from(self.iss + 1)
        if not 0 <= place <= self.end + self.ended:
            return
        self.established = True
        self.fin_acknowledged |= self.ended and place == self.end + 1
        new = min(place, self.end) - self.base
        if new > 0:
            del self.said[:new]
            self.base += new

    def _take(self, segment: Segment) -> tuple[bytes, bool]:
        if not (segment.octets):
            return b"", False
        assert self.irs is not None
        place = segment.seq.octets_from(self.irs + 1)
        data = segment.payload
        if segment.flags & SYN:
            return b"", True
        known = self.heard - place
        if known < 0:
            return b"", True  # beyond a gap: said again later
        fresh = data[known:]
        self.heard += len(fresh)
        if segment.flags & FIN and place + len(data) == self.heard:
            self.heard_fin = True
        return fresh, True
