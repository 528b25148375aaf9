"""A standard flow as the standby knows it: both connections, rebuilt from mirrored segments.

The active device mirrors what comes in on either connection, and its own SYN and SYN-ACK,
which say all it chose itself: initial sequence numbers, window scales, timestamp clock.
The rest follows from what comes in:

    rcv_nxt     the peer's bytes, put in order
    snd_una     the peer's acknowledgements
    send queue  what the *other* connection received and this peer has not acknowledged
    windows     the peer's own, scaled; ours at its largest (a smaller one than the old device
                advertised would make its peer's segments look out of window)

The names are those of RFC 9293 and of CRIU's soccr. Nothing of the device's own outgoing
data is needed: it is the other connection's incoming data.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace
from functools import lru_cache

from emulator.core.reassembly import LARGE, Piece, Reassembly
from emulator.wire.mirror import FlowRecord, LegBytes, LegState
from emulator.wire.options import Options
from emulator.wire.segment import ACK, FIN, PROTO_TCP, RST, SYN, Endpoint, Segment
from emulator.wire.seqnum import SeqNum

# How far our restored clock runs ahead of the estimate: the SYN was under way when it was
# taken, and a timestamp behind what the peer saw last makes it drop the segment (PAWS).
CLOCK_SLACK_MS = 200
_ALL, _HALF = (1 << 32) - 1, 1 << 31
_PLAIN = struct.Struct("!IIBBH")  # sequence and acknowledgement numbers, offset, flags, window
_STAMP = bytes((1, 1, 8, 10))  # two NOPs, then a timestamps option, as every stack has it


class NotRestorable(ValueError):
    """The flow cannot be taken over; the text is the reason for the journal."""


@dataclass(frozen=True, slots=True)
class LegPlan:
    """One connection as it is to be restored.

    `sent` may have reached the peer already: it lies inside the peer's window; `unsent` may
    not. `timestamp`: our clock now, None without RFC 7323. `fin`: a segment that tells the
    restored socket of the FIN its peer will not repeat.
    """

    local: Endpoint
    remote: Endpoint
    rcv_nxt: SeqNum
    snd_una: SeqNum
    sent: bytes
    unsent: bytes
    mss_clamp: int
    snd_wscale: int | None
    rcv_wscale: int | None
    sack: bool
    timestamp: int | None
    snd_wnd: int
    rcv_wnd: int
    fin: Segment | None = None


@dataclass(frozen=True, slots=True)
class RelayPlan:
    """A flow to be restored; without `server` that connection is opened anew, and `early` is
    what the client has sent for it."""

    record: FlowRecord
    client: LegPlan
    server: LegPlan | None
    early: bytes = b""


_NONE = Options()


def _agreed(options: Options) -> Options:
    """What a SYN's options agree on; of the timestamps only that there are any."""
    stamps = options.timestamps is not None
    return _shared(options.mss, options.window_scale, options.sack_permitted, stamps)


@lru_cache(1024)
def _shared(mss: int, scale: int | None, sack: bool, stamps: bool) -> Options:
    """One object for all the connections that agree on the same."""
    return Options(mss, scale, sack, (0, 0) if stamps else None)


def _distance(earlier: int, later: int) -> int:
    """`SeqNum.octets_from` of raw numbers: negative when `later` lies before `earlier`."""
    return ((later - earlier + _HALF) & _ALL) - _HALF


class Leg:
    """One of the two connections: `local` is the device's end, `remote` the peer's."""

    __slots__ = (
        "_clock", "_echoed", "_edge", "_own", "_peer", "_una", "fin_at", "irs", "iss", "local",
        "received", "remote", "reset",
    )  # fmt: skip

    def __init__(self, local: Endpoint, remote: Endpoint) -> None:
        self.local, self.remote = local, remote
        self.received = Reassembly()
        self.irs: SeqNum | None = None
        self.iss: SeqNum | None = None
        self._una: int | None = None  # raw, as they are of every segment
        self._edge: int | None = None  # the furthest the peer ever allowed
        self.fin_at: int | None = None  # offset of the peer's FIN
        self.reset = False
        self._own = self._peer = _NONE
        self._clock: tuple[int, float] | None = None  # our TSval, and when it was that
        self._echoed = 0  # the latest of ours the peer has echoed

    @property
    def established(self) -> bool:
        """Both initial sequence numbers are known, and the peer has acknowledged ours."""
        return self.irs is not None and self._una is not None

    @property
    def snd_una(self) -> SeqNum | None:
        return None if self._una is None else SeqNum(self._una)

    @property
    def acknowledged(self) -> int:
        """How many of our bytes (and our FIN) the peer has acknowledged."""
        if self.iss is None or self._una is None:
            return 0
        return _distance(self.iss.value + 1, self._una)

    @property
    def fin_received(self) -> bool:
        return self.fin_at is not None and self.received.end >= self.fin_at

    def over(self, other: Leg) -> bool:
        """Whether this connection has come to its regular end, both ways."""
        ours = other.fin_received and self.acknowledged > other.received.end
        return self.fin_received and ours

    def adopt(self, state: LegState, now: float) -> None:
        """Begin in the middle: the bytes received so far are in `received` already."""
        self.irs, self.iss = state.irs, state.iss
        self._una, self._edge = state.snd_una.value, state.window_edge.value
        stamps = None if state.timestamp is None else (state.timestamp, 0)
        self._own = _agreed(Options(state.mss, state.rcv_wscale, state.sack, stamps))
        self._peer = _agreed(Options(state.mss, state.snd_wscale, state.sack, stamps))
        self._clock = None if state.timestamp is None else (state.timestamp, now)
        self.fin_at = self.received.end if state.fin else None

    def sent_by_us(self, segment: Segment, now: float) -> None:
        """Our own SYN or SYN-ACK."""
        if segment.flags & SYN:
            self.iss = segment.seq
            options = Options.parse(segment.options)
            self._own = _agreed(options)
            if options.timestamps:
                self._clock = options.timestamps[0], now

    def sent_by_peer(self, segment: Segment) -> bool:
        """A segment that came in; False when its bytes are not kept (`core.reassembly`)."""
        if segment.flags & RST:
            self.reset = True
            return True
        options = Options.parse(segment.options)
        if segment.flags & SYN:
            self.irs, self._peer = segment.seq, _agreed(options)
        if self.irs is None:
            return True
        if segment.flags & ACK and self.iss is not None:
            self._acknowledge(segment, options)
        taken = True
        if segment.payload and not segment.flags & SYN:
            taken = self._take(segment.seq.value, segment.payload)
        if segment.flags & FIN:
            self.fin_at = self._offset(segment.seq.value) + len(segment.payload)
        return taken

    def follow(self, packet: bytes) -> bool | None:
        """`sent_by_peer` for the raw bytes of a plain one: no IP options, no SYN, FIN or RST, no
        TCP options but timestamps, of an open connection. None: it is none, nothing is done."""
        una, edge, size = self._una, self._edge, len(packet)
        if self.irs is None or una is None or edge is None or size < 40:
            return None
        seq, ack, header, flags, window = _PLAIN.unpack_from(packet, 24)
        start = 20 + (header >> 4 << 2)
        stamped = start == 52 and packet[40:44] == _STAMP
        if flags & (SYN | FIN | RST | ACK) != ACK or not (start == 40 or stamped):
            return None
        if packet[9] != PROTO_TCP or int.from_bytes(packet[2:4], "big") != size or size < start:
            return None
        if 0 < (ack - una) & _ALL < _HALF:
            self._una = ack
        scale = self._peer.window_scale if self._own.window_scale is not None else 0
        reach = (ack + (window << (scale or 0))) & _ALL
        if 0 < (reach - edge) & _ALL < _HALF:
            self._edge = reach
        if stamped and self._clock:
            self._echo(int.from_bytes(packet[48:52], "big"))
        if size > start:
            # A large one is not copied once more, but kept with its headers.
            large = size - start >= LARGE
            return self._take(seq, memoryview(packet)[start:] if large else packet[start:])
        return True

    def plan(self, other: Leg, now: float) -> LegPlan:
        """How to restore this connection; `other` is where its send queue comes from."""
        assert self.irs is not None
        assert self.iss is not None
        assert self._edge is not None
        end = other.received.end
        start = min(self.acknowledged, end)  # our FIN, if acknowledged, is sent once more
        snd_una = self.iss + (1 + start)
        window = max(0, _distance(snd_una.value, self._edge))
        queue = other.received.read(start, end)
        scaled = self._own.window_scale is not None and self._peer.window_scale is not None
        rcv_wscale = self._own.window_scale if scaled else None
        rcv_nxt = self.irs + (1 + self.received.end)
        fin = None
        if self.fin_received:
            fin = Segment(self.remote, self.local, rcv_nxt, snd_una, FIN | ACK, 0xFFFF)
        return LegPlan(
            self.local, self.remote, rcv_nxt, snd_una, queue[:window], queue[window:],
            self._peer.mss, self._peer.window_scale if scaled else None, rcv_wscale,
            self._own.sack_permitted and self._peer.sack_permitted, self._timestamp(now),
            window, 0xFFFF << (rcv_wscale or 0), fin,
        )  # fmt: skip

    def _acknowledge(self, segment: Segment, options: Options) -> None:
        ack = segment.ack.value
        if self._una is None or _distance(self._una, ack) > 0:
            self._una = ack
        scaled = self._own.window_scale is not None and not segment.flags & SYN
        scale = (self._peer.window_scale or 0) if scaled else 0
        edge = (ack + (segment.window << scale)) & _ALL
        if self._edge is None or _distance(self._edge, edge) > 0:
            self._edge = edge
        if options.timestamps and self._clock:
            self._echo(options.timestamps[1])

    def _echo(self, echo: int) -> None:
        if 0 < (echo - self._echoed) & _ALL < _HALF or not self._echoed:
            self._echoed = echo

    def _take(self, seq: int, data: Piece) -> bool:
        offset = self._offset(seq)
        if offset < 0:
            offset, data = 0, data[-offset:]
        return self.received.insert(offset, data)

    def _offset(self, seq: int) -> int:
        """Of the segment's first byte, across the sequence space's wrap: it lies near the end."""
        assert self.irs is not None
        end = self.received.end
        return end + _distance(self.irs.value + 1 + end, seq)

    def _timestamp(self, now: float) -> int | None:
        if self._clock is None or self._peer.timestamps is None:
            return None
        started, at = self._clock
        estimate = started + int((now - at) * 1000) + CLOCK_SLACK_MS
        behind = (self._echoed + 1 - estimate) % (1 << 32)
        if self._echoed and behind < 1 << 31:
            estimate += behind
        return estimate % (1 << 32)


class Tracker:
    """Both connections of one flow."""

    __slots__ = ("_adopted", "_given_up", "client", "server")

    def __init__(self, record: FlowRecord) -> None:
        self.client = Leg(record.virtual, record.client)
        self.server = Leg(record.snat, record.member)
        self._adopted: frozenset[bool] = frozenset()  # the legs told by `LegState`
        self._given_up = ""

    def begin(self, part: LegBytes | LegState, now: float) -> bool:
        """A flow older than the channel, part by part; whole with the second leg's `LegState`.
        False when it is more than is kept of a flow, which is then given up."""
        if self._given_up:
            return True
        leg = self.server if part.server_side else self.client
        if isinstance(part, LegState):
            leg.adopt(part, now)
            self._adopted |= {part.server_side}
            return True
        if not leg.received.insert(leg.received.end, part.data):
            self.give_up("more of it was sent than is kept")
            return False
        return True

    def give_up(self, why: str) -> None:
        """Forget all of it, for good: it cannot be taken over."""
        self._given_up = why
        self.client = Leg(self.client.local, self.client.remote)
        self.server = Leg(self.server.local, self.server.remote)

    @property
    def embryonic(self) -> bool:
        """The client may have our SYN-ACK; that it acknowledged it is not known here."""
        client = self.client
        return client.irs is not None and client.iss is not None and not client.established

    @property
    def held(self) -> int:
        """Bytes in memory."""
        return self.client.received.held + self.server.received.held

    def follow(self, packet: bytes, *, from_client: bool) -> bool | None:
        """`take` for the raw bytes of a plain segment of an end's; None: it is none."""
        leg, other = (self.client, self.server) if from_client else (self.server, self.client)
        taken = leg.follow(packet)
        if taken is not None:
            other.received.trim(leg.acknowledged)
        return taken

    def take(self, segment: Segment, now: float) -> bool:
        """One mirrored segment of either connection, either way; False when its bytes are not
        kept."""
        taken = True
        if self._given_up:
            return taken
        for leg, other in ((self.client, self.server), (self.server, self.client)):
            if (segment.source, segment.destination) == (leg.remote, leg.local):
                if segment.flags & RST and leg.over(other):
                    return True  # a repeated FIN's acknowledgement answered: we are forgotten
                taken = leg.sent_by_peer(segment)
                other.received.trim(leg.acknowledged)
            elif (segment.source, segment.destination) == (leg.local, leg.remote):
                leg.sent_by_us(segment, now)
        return taken

    def plan(self, record: FlowRecord, now: float) -> RelayPlan:
        """How to restore the flow; raises NotRestorable.

        `record` may name another SNAT address than the one mirrored (automap).
        """
        client, server = self.client, self.server
        if self._given_up:
            raise NotRestorable(self._given_up)
        if client.reset or server.reset:
            raise NotRestorable("reset by an end")
        if len(self._adopted) == 1:
            raise NotRestorable("its resync was not complete")
        if not client.established:
            raise NotRestorable("the client's handshake was not complete")
        if client.over(server) and server.over(client):
            raise NotRestorable("closed by both ends")
        if not server.established:
            early = client.received.read(0, client.received.end)
            return RelayPlan(record, client.plan(server, now), None, early)
        leg = replace(server.plan(client, now), local=record.snat)
        return RelayPlan(record, client.plan(server, now), leg)
