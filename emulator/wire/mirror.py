"""The mirroring channel's messages (TCP 1029 + traffic-group index).

F5 does not publish its wire format; this one is ours. What is sent follows the documents: a
fastL4 virtual server mirrors the set-up and the close of a flow, nothing in between
(`docs/fidelity.md`, "Connection mirroring"); a standard one mirrors the complete data stream,
here as the segments that come in on either connection, whole.

A message is a 12-byte header and a body::

    0      2        3      4        6         8          12
    | "ML" | version | type | length | check | sequence | body: `length` bytes

`check`: the low 16 bits of the CRC-32 of all the rest, 1 in place of 0; 0 in captures of before
there was one. TCP's checksums do not find what a broken middlebox alters and makes right again,
and an altered byte of a mirrored segment would be sent to an end at takeover.
`sequence` counts the sender's messages from 1; the receiver acknowledges cumulatively with
ACK, whose own sequence field holds the number acknowledged. A receiver that meets anything
it cannot decode raises `MirrorError` and must close the channel: the stream has no
resynchronisation point but a new connection.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass

from isal.isal_zlib import crc32

from emulator.wire.flowrecord import FlowRecord as FlowRecord
from emulator.wire.flowrecord import SnatKind as SnatKind
from emulator.wire.mirrorparts import MirrorError as MirrorError
from emulator.wire.mirrorparts import (
    PersistDown,
    PersistRecord,
    PersistUp,
    parse_persist_down,
    parse_protocol,
    protocol_byte,
    text,
)
from emulator.wire.segment import PROTO_TCP, Endpoint
from emulator.wire.seqnum import SeqNum

VERSION = 1
MAX_BODY = 512  # of all messages but a mirrored segment and a connection's bytes
MAX_SEGMENT = 0xFFFF  # an IP packet
_HEADER = struct.Struct("!2sBBHHI")
_STATE = struct.Struct("!BBBHIIIII")
_NO_SCALE = 255
MAX_LEG_BYTES = MAX_SEGMENT - 13
_MAGIC = b"ML"
_BUFFER = 1 << 20  # of a decoder: larger than any message

Buffer = bytes | bytearray | memoryview


@dataclass(frozen=True, slots=True)
class Hello:
    """First message on a channel, from either end: who is there and what it is."""

    device: str
    traffic_group: str
    active: bool


@dataclass(frozen=True, slots=True)
class ResyncStart:
    """Records not sent again before ResyncEnd are gone from the active device."""


@dataclass(frozen=True, slots=True)
class ResyncEnd:
    """The standby now holds what the active holds."""


@dataclass(frozen=True, slots=True)
class FlowUp:
    """A flow exists on the active device."""

    record: FlowRecord


@dataclass(frozen=True, slots=True)
class FlowDown:
    """A flow is gone: closed, reset or expired."""

    client: Endpoint
    virtual: Endpoint
    protocol: int = PROTO_TCP


@dataclass(frozen=True, slots=True)
class Mirrored:
    """A segment of a standard flow, an IP packet: one that came in, or the device's own SYN."""

    packet: bytes


@dataclass(frozen=True, slots=True)
class LegBytes:
    """Of a standard flow older than the channel: bytes one connection has received and the
    other's peer has not acknowledged, in order. `server_side`: received from the server."""

    client: Endpoint
    virtual: Endpoint
    server_side: bool
    data: bytes


@dataclass(frozen=True, slots=True)
class LegState:
    """After its `LegBytes`: where that connection stands. Both of a flow make it complete.

    The initial sequence numbers are moved up: `irs` to just before the first of the bytes
    sent, `iss` to just before the first byte of ours the peer has not acknowledged.
    `window_edge`: up to where the peer lets us send. `timestamp`: our clock, milliseconds.
    `fin`: the peer's FIN follows its bytes.
    """

    client: Endpoint
    virtual: Endpoint
    server_side: bool
    irs: SeqNum
    iss: SeqNum
    snd_una: SeqNum
    window_edge: SeqNum
    mss: int
    snd_wscale: int | None
    rcv_wscale: int | None
    sack: bool
    timestamp: int | None
    fin: bool


@dataclass(frozen=True, slots=True)
class FlowAcks:
    """What the ends of a fastL4 flow have acknowledged last, for the takeover kick."""

    client: Endpoint
    virtual: Endpoint
    by_client: SeqNum
    by_server: SeqNum


@dataclass(frozen=True, slots=True)
class Ack:
    """Everything up to `acknowledged` is held by the receiver."""

    acknowledged: int


Body = (
    Hello
    | ResyncStart
    | ResyncEnd
    | FlowUp
    | FlowDown
    | Ack
    | Mirrored
    | LegBytes
    | LegState
    | FlowAcks
    | PersistUp
    | PersistDown
)
_TYPES: dict[type[object], int] = {
    Hello: 1, ResyncStart: 2, ResyncEnd: 3, FlowUp: 4, FlowDown: 5, Ack: 6,
    Mirrored: 7, LegBytes: 8, LegState: 9, FlowAcks: 10, PersistUp: 11, PersistDown: 12,
}  # fmt: skip
_MIRRORED = _TYPES[Mirrored]
_LARGE = (_MIRRORED, _TYPES[LegBytes])


@dataclass(frozen=True, slots=True)
class Message:
    """A body and the sender's sequence number (0 for an Ack)."""

    sequence: int
    body: Body

    @property
    def octets(self) -> int:
        """Its length on the channel."""
        match self.body:
            case Mirrored(packet):
                return _HEADER.size + len(packet)
            case FlowUp(record):
                return _HEADER.size + record.octets
            case FlowDown(_, _, protocol):
                return _HEADER.size + 12 + len(protocol_byte(protocol))
            case body:
                return _HEADER.size + len(_emit_body(body))

    def emit(self) -> bytes:
        body = _emit_body(self.body)
        limit = _limit(_TYPES[type(self.body)])
        if len(body) > limit:
            raise MirrorError(f"a body of {len(body)} bytes, at most {limit} go in a message")
        sequence = self.body.acknowledged if isinstance(self.body, Ack) else self.sequence
        kind = _TYPES[type(self.body)]
        check = _check(kind, len(body), sequence, body)
        return _HEADER.pack(_MAGIC, VERSION, kind, len(body), check, sequence) + body


def _check(kind: int, length: int, sequence: int, body: Buffer) -> int:
    head = _HEADER.pack(_MAGIC, VERSION, kind, length, 0, sequence)
    return crc32(body, crc32(head)) & 0xFFFF or 1


def mirrored_header(sequence: int, packet: Buffer) -> bytes:
    """Of the message `Mirrored(packet)`: what comes before the packet."""
    octets = len(packet)
    check = _check(_MIRRORED, octets, sequence, packet)
    return _HEADER.pack(_MAGIC, VERSION, _MIRRORED, octets, check, sequence)


class Decoder:
    """Messages out of a byte stream cut anywhere. It has the buffer the stream is received in:
    what comes in is copied once more, message by message."""

    def __init__(self) -> None:
        self._buffer = bytearray(_BUFFER)
        self._view = memoryview(self._buffer)
        self._size = 0  # of what is in it: the beginning of a message

    def room(self) -> memoryview:
        """Where the next bytes of the stream go; `filled` says how many they were."""
        return self._view[self._size :]

    def filled(self, count: int) -> list[Message]:
        """The messages these bytes complete; MirrorError on the first that is malformed."""
        view, at, size = self._view, 0, self._size + count
        messages = []
        while size - at >= _HEADER.size:
            magic, version, kind, length, check, sequence = _HEADER.unpack_from(view, at)
            if magic != _MAGIC or version != VERSION:
                raise MirrorError(f"not a version {VERSION} mirror message: {magic!r} {version}")
            if length > _limit(kind):
                raise MirrorError(f"a body of {length} bytes, at most {_limit(kind)} are allowed")
            start = at + _HEADER.size
            if size < start + length:
                break
            at = start + length
            body = bytes(view[start:at])
            if check and check != _check(kind, length, sequence, body):
                raise MirrorError(f"message {sequence}: its check is wrong, {check:#06x}")
            if kind == _MIRRORED:
                messages.append(Message(sequence, Mirrored(body)))
            else:
                messages.append(Message(sequence * (kind != 6), _parse(kind, body, sequence)))
        self._size = size - at
        self._buffer[: self._size] = self._buffer[at:size]
        return messages

    def feed(self, data: bytes) -> list[Message]:
        """`filled` for bytes that were received elsewhere."""
        messages = []
        with memoryview(data) as rest:
            while count := min(len(rest), len(room := self.room())):
                room[:count] = rest[:count]
                rest = rest[count:]
                messages += self.filled(count)
        return messages


def _limit(kind: int) -> int:
    return MAX_SEGMENT if kind in _LARGE else MAX_BODY


def _emit_body(body: Body) -> bytes:
    match body:
        case Mirrored(packet):
            return packet
        case Hello(device, group, active):
            names = [text(device), text(group)]
            return bytes([active, *(len(n) for n in names)]) + b"".join(names)
        case FlowUp(record):
            return record.emit()
        case FlowDown(client, virtual, protocol):
            return client.pack() + virtual.pack() + protocol_byte(protocol)
        case PersistUp(record):
            return record.emit()
        case PersistDown(server, client_address):
            return client_address.packed + text(server)
        case LegBytes(client, virtual, server_side, data):
            return client.pack() + virtual.pack() + bytes([server_side]) + data
        case LegState():
            return _emit_state(body)
        case FlowAcks(client, virtual, by_client, by_server):
            acks = struct.pack("!II", by_client.value, by_server.value)
            return client.pack() + virtual.pack() + acks
        case _:
            return b""


def _parse(kind: int, body: bytes, sequence: int) -> Body:
    if kind in (2, 3, 6):
        if body:
            raise MirrorError(f"message type {kind} has no body, this one has {len(body)} bytes")
        return Ack(sequence) if kind == 6 else ResyncStart() if kind == 2 else ResyncEnd()
    parser = _PARSERS.get(kind)
    if parser is None:
        raise MirrorError(f"unknown message type {kind}")
    return parser(body)


def _parse_down(body: bytes) -> FlowDown:
    if len(body) not in (12, 13):
        raise MirrorError(f"a flow key of {len(body)} bytes")
    ends = Endpoint.unpack(body[:6]), Endpoint.unpack(body[6:12])
    return FlowDown(*ends, parse_protocol(body[12:]))


def _parse_hello(body: bytes) -> Hello:
    if len(body) < 3 or len(body) != 3 + body[1] + body[2] or body[0] > 1:
        raise MirrorError(f"a hello of {len(body)} bytes that does not add up")
    try:
        device, group = body[3 : 3 + body[1]].decode(), body[3 + body[1] :].decode()
    except UnicodeDecodeError:
        raise MirrorError("a hello whose names are not UTF-8") from None
    return Hello(device, group, bool(body[0]))


def _parse_bytes(body: bytes) -> LegBytes:
    if len(body) < 13 or body[12] > 1:
        raise MirrorError(f"a connection's bytes, {len(body)} in all, without a key")
    ends = Endpoint.unpack(body[:6]), Endpoint.unpack(body[6:12])
    return LegBytes(*ends, bool(body[12]), body[13:])


def _parse_acks(body: bytes) -> FlowAcks:
    if len(body) != 20:
        raise MirrorError(f"a flow's acknowledgements of {len(body)} bytes")
    acks = (SeqNum(number) for number in struct.unpack_from("!II", body, 12))
    return FlowAcks(Endpoint.unpack(body[:6]), Endpoint.unpack(body[6:12]), *acks)


def _emit_state(state: LegState) -> bytes:
    flags = state.server_side | state.sack << 1 | state.fin << 2
    flags |= (state.timestamp is not None) << 3
    scales = (_NO_SCALE if s is None else s for s in (state.snd_wscale, state.rcv_wscale))
    numbers = (n.value for n in (state.irs, state.iss, state.snd_una, state.window_edge))
    fixed = _STATE.pack(flags, *scales, state.mss, *numbers, state.timestamp or 0)
    return state.client.pack() + state.virtual.pack() + fixed


def _parse_state(body: bytes) -> LegState:
    if len(body) != 12 + _STATE.size:
        raise MirrorError(f"a connection's state of {len(body)} bytes")
    flags, snd, rcv, mss, irs, iss, una, edge, timestamp = _STATE.unpack_from(body, 12)
    if flags > 15 or any(s not in (*range(15), _NO_SCALE) for s in (snd, rcv)):
        raise MirrorError("a connection's state with flags or window scales out of range")
    if timestamp and not flags & 8:
        raise MirrorError("a connection's state with a timestamp it says it has not")
    return LegState(
        Endpoint.unpack(body[:6]), Endpoint.unpack(body[6:12]), bool(flags & 1),
        SeqNum(irs), SeqNum(iss), SeqNum(una), SeqNum(edge), mss,
        None if snd == _NO_SCALE else snd, None if rcv == _NO_SCALE else rcv,
        bool(flags & 2), timestamp if flags & 8 else None, bool(flags & 4),
    )  # fmt: skip


_PARSERS: dict[int, Callable[[bytes], Body]] = {
    1: _parse_hello, 4: lambda body: FlowUp(FlowRecord.parse(body)), 5: _parse_down, 7: Mirrored,
    8: _parse_bytes, 9: _parse_state, 10: _parse_acks,
    11: lambda body: PersistUp(PersistRecord.parse(body)), 12: parse_persist_down,
}  # fmt: skip
