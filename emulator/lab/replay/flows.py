"""The TCP flows of a recording, and the order in which their bytes were said. Pure.

Fed one segment after the other, as one capture point saw them. Each direction is put in order:
retransmissions are dropped, what came out of order waits. What the capture missed shows in the
other end's acknowledgements: a *gap*, for which a filler of the same length stands. A flow may
begin in the middle. Memory is bounded: WAITING_OCTETS and WAITING_SEGMENTS a direction, beyond
which a hole counts as a gap; MAX_FLOWS.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum
from ipaddress import ip_address
from typing import Protocol

from emulator.wire.linklayer import Seen
from emulator.wire.segment import ACK, FIN, RST, SYN

CLIENT, SERVER = 0, 1  # who says something; an index
WAITING_OCTETS, WAITING_SEGMENTS = 1 << 20, 4096
MAX_FLOWS = 50_000
FAR = 64 << 20  # numbers further off than this belong to no segment of the connection
GRACE = 3  # segments that may pass before what is acknowledged and was not seen counts as missed
STALLED_NS = 3_000_000_000


class Sink(Protocol):
    """Who takes the bytes of a flow, in order."""

    def data(self, flow: Flow, side: int, time_ns: int, frame: int, payload: bytes) -> None: ...

    def filler(self, flow: Flow, side: int, time_ns: int, frame: int, octets: int) -> None: ...

    def fin(self, flow: Flow, side: int, time_ns: int, frame: int) -> None: ...


class End(Enum):
    """How a flow ended, as far as its recording shows it."""

    CLOSED = "closed"  # both ends sent FIN
    HALF_CLOSED = "half-closed"
    RESET = "reset"
    STALLED = "stalled"  # bytes unacknowledged for STALLED_NS at the end
    OPEN = "open"


@dataclass(slots=True)
class _Side:
    """One direction. Offsets count from its first byte; -1: no sequence number known yet."""

    base: int = -1
    next: int = 0
    acked: int = 0  # by the other end
    unacked_since_ns: int = 0
    fin: int = -1
    fin_seen: bool = False
    waiting: dict[int, tuple[bytes, int, int, int]] = field(default_factory=dict)
    waiting_octets: int = 0
    overdue: int = 0  # segments of the flow since more was acknowledged than seen
    lost: int = 0  # bytes no frame of the capture has
    cut: int = 0  # bytes cut off by the snapshot length
    strange: int = 0  # segments whose numbers are far off

    def offset(self, seq: int) -> int:
        """Of a sequence number, by the nearest way round (RFC 9293 section 3.4)."""
        distance = (seq - self.base - self.next) & 0xFFFFFFFF
        return self.next + (distance - (1 << 32) if distance >> 31 else distance)


@dataclass(slots=True)
class Flow:
    """One connection. `ends`: packed address and port of client and server."""

    number: int
    point: str
    ends: tuple[bytes, bytes]
    first_frame: int
    first_ns: int
    last_ns: int = 0
    last_data_ns: int = 0
    frames: int = 0
    syn: int = -1  # the client's initial sequence number; -1: began before the recording
    reset_by: int = -1
    reset_ns: int = 0
    sides: tuple[_Side, _Side] = field(default_factory=lambda: (_Side(), _Side()))

    @property
    def client(self) -> str:
        return endpoint(self.ends[CLIENT])

    @property
    def server(self) -> str:
        return endpoint(self.ends[SERVER])

    @property
    def port(self) -> int:
        """The server's."""
        return int.from_bytes(self.ends[SERVER][-2:], "big")

    @property
    def octets(self) -> tuple[int, int]:
        """Bytes the client and the server said."""
        return self.sides[CLIENT].next, self.sides[SERVER].next

    def end(self, observed_until_ns: int) -> End:
        """How it ended by then."""
        client, server = self.sides
        if client.fin_seen and server.fin_seen:
            return End.CLOSED
        if self.reset_by >= 0:
            return End.RESET
        for side in self.sides:
            waited = observed_until_ns - side.unacked_since_ns
            if side.acked < side.next and waited > STALLED_NS:
                return End.STALLED
        return End.HALF_CLOSED if client.fin_seen or server.fin_seen else End.OPEN


def endpoint(packed: bytes) -> str:
    """192.0.2.1:22 or [2001:db8::1]:22."""
    address = ip_address(packed[:-2])
    host = f"[{address}]" if address.version == 6 else str(address)
    return f"{host}:{int.from_bytes(packed[-2:], 'big')}"


class FlowTable:
    """Every flow seen, by capture point: `flows` in the order of their first segments.

    With a `sink` the bytes of the flows whose number is in `wanted` go there.
    """

    def __init__(self, sink: Sink | None = None, wanted: frozenset[int] = frozenset()) -> None:
        self.flows: list[Flow] = []
        self.left_out = 0  # segments of flows beyond MAX_FLOWS
        self._sink, self._wanted = sink, wanted
        self._open: dict[tuple[str, bytes, bytes], Flow] = {}

    def add(self, point: str, frame: int, time_ns: int, seen: Seen) -> None:
        """Take the next segment in; frames count from 1."""
        flow = self._flow(point, frame, time_ns, seen)
        if flow is None:
            self.left_out += 1
            return
        sender = CLIENT if seen.source == flow.ends[CLIENT] else SERVER
        flow.frames += 1
        flow.last_ns = max(flow.last_ns, time_ns)
        if seen.flags & RST:
            if flow.reset_by < 0:
                flow.reset_by, flow.reset_ns = sender, time_ns
            return
        self._say(flow, sender, frame, time_ns, seen)
        if seen.flags & ACK:
            self._acknowledge(flow, 1 - sender, frame, time_ns, seen.ack)

    def finish(self) -> None:
        """The recording is over: what still waits behind a hole will never be filled."""
        for flow in self.flows:
            for who, side in enumerate(flow.sides):
                while side.waiting:
                    self._give_up(flow, who, min(side.waiting), flow.last_ns, 0)
                if side.acked > side.next:
                    self._give_up(flow, who, side.acked, flow.last_ns, 0)

    def _flow(self, point: str, frame: int, time_ns: int, seen: Seen) -> Flow | None:
        low, high = sorted((seen.source, seen.destination))
        key = (point, low, high)
        known = self._open.get(key)
        opening = seen.flags & (SYN | ACK | RST) == SYN
        if known is not None and not (opening and known.syn != seen.seq):
            return known
        if len(self.flows) >= MAX_FLOWS:
            return None
        ends = (seen.source, seen.destination)
        if not opening and _answers(seen):
            ends = (seen.destination, seen.source)
        flow = Flow(len(self.flows) + 1, point, ends, frame, time_ns)
        flow.syn = seen.seq if opening else -1
        self.flows.append(flow)
        self._open[key] = flow
        return flow

    def _say(self, flow: Flow, who: int, frame: int, time_ns: int, seen: Seen) -> None:
        side = flow.sides[who]
        begin = (seen.seq + 1) & 0xFFFFFFFF if seen.flags & SYN else seen.seq
        if side.base < 0 or (seen.flags & SYN and side.next == 0):
            side.base = begin
        offset = side.offset(begin)
        if abs(offset - side.next) > FAR:
            side.strange += 1
            return
        if seen.flags & FIN and side.fin < 0:
            side.fin = offset + seen.octets
        if seen.octets and offset + seen.octets > side.next:
            self._wait(flow, side, offset, (seen.payload, seen.octets, time_ns, frame))
        self._drain(flow, who, frame, time_ns)
        while side.waiting_octets > WAITING_OCTETS or len(side.waiting) > WAITING_SEGMENTS:
            self._give_up(flow, who, min(side.waiting), time_ns, frame)

    def _wait(
        self, flow: Flow, side: _Side, offset: int, piece: tuple[bytes, int, int, int]
    ) -> None:
        payload, octets, time_ns, frame = piece
        if flow.number not in self._wanted:
            payload = b""
        present = side.waiting.get(offset)
        if present is None or present[1] < octets:
            side.waiting[offset] = (payload, octets, time_ns, frame)
            side.waiting_octets += octets - (present[1] if present else 0)

    def _drain(self, flow: Flow, who: int, frame: int, time_ns: int) -> None:
        side = flow.sides[who]
        while side.waiting and (offset := min(side.waiting)) <= side.next:
            payload, octets, _, _ = side.waiting.pop(offset)
            side.waiting_octets -= octets
            known = side.next - offset
            if octets > known:
                self._emit(flow, who, payload[known:], octets - known, time_ns, frame)
        if side.fin == side.next and not side.fin_seen:
            side.fin_seen = True
            if self._sink is not None and flow.number in self._wanted:
                self._sink.fin(flow, who, time_ns, frame)

    def _emit(
        self, flow: Flow, who: int, payload: bytes, octets: int, time_ns: int, frame: int
    ) -> None:
        """The next `octets` bytes, of which `payload` was captured."""
        side = flow.sides[who]
        if side.acked >= side.next:
            side.unacked_since_ns = time_ns
        side.next += octets
        flow.last_data_ns = time_ns
        if flow.number not in self._wanted:
            return
        side.cut += octets - len(payload)
        if self._sink is not None:
            if payload:
                self._sink.data(flow, who, time_ns, frame, payload)
            if octets > len(payload):
                self._sink.filler(flow, who, time_ns, frame, octets - len(payload))

    def _give_up(self, flow: Flow, who: int, until: int, time_ns: int, frame: int) -> None:
        """No frame has the bytes up to offset `until`."""
        side = flow.sides[who]
        missed = until - side.next
        if missed > 0:
            side.lost += missed
            if flow.number in self._wanted:
                side.cut -= missed  # `_emit` counts them there
            self._emit(flow, who, b"", missed, time_ns, frame)
        self._drain(flow, who, frame, time_ns)

    def _acknowledge(self, flow: Flow, who: int, frame: int, time_ns: int, ack: int) -> None:
        """The other end has all of `who`'s bytes before `ack`."""
        side = flow.sides[who]
        if side.base < 0:
            side.base = ack
        offset = side.offset(ack)
        if flow.syn < 0 and side.next == 0 and offset == 1 and not side.waiting:
            side.base, offset = ack, 0  # what was taken for its first segment was a keep-alive
        if not 0 <= offset - side.acked <= FAR or abs(offset - side.next) > FAR:
            return
        if offset > side.acked:
            side.unacked_since_ns = time_ns
        known = side.fin if side.fin >= 0 else offset
        side.acked = min(offset, known)  # a FIN takes a number of its own
        if side.acked <= side.next:
            side.overdue = 0
            return
        side.overdue += 1
        if side.overdue >= GRACE:
            side.overdue = 0
            self._give_up(flow, who, min([side.acked, *side.waiting]), time_ns, frame)


def _answers(seen: Seen) -> bool:
    """Whether the first segment seen of a flow is probably the server's."""
    if seen.flags & SYN:
        return True  # with ACK: the second one of the handshake
    source = int.from_bytes(seen.source[-2:], "big")
    destination = int.from_bytes(seen.destination[-2:], "big")
    return source < destination


def at_one_point(flows: list[Flow]) -> list[Flow]:
    """Of flows that several capture points saw, each once: where most of it was seen, the first
    such point among equals."""
    best: dict[tuple[bytes, bytes, int], Flow] = {}
    counted: Counter[tuple[str, bytes, bytes]] = Counter()
    for flow in flows:
        low, high = sorted(flow.ends)
        nth = counted[flow.point, low, high] = counted[flow.point, low, high] + 1
        present = best.get((low, high, nth))
        if present is None or sum(flow.octets) > sum(present.octets):
            best[low, high, nth] = flow
    return sorted(best.values(), key=lambda flow: flow.number)


def matching(flows: list[Flow], wanted: str) -> Iterator[Flow]:
    """Flows by "3", "1,4-6", "port 22", "host 192.0.2.1", "192.0.2.1:22", joined by "and".

    Raises ValueError when it is none of these.
    """
    tests = [_test(part.split()) for part in wanted.split(" and ")]
    return (flow for flow in flows if all(test(flow) for test in tests))


class _Test(Protocol):
    def __call__(self, flow: Flow, /) -> bool: ...


def _test(words: list[str]) -> _Test:
    match words:
        case ["port", port] if port.isdecimal():
            return lambda f: int(port) in (f.port, int.from_bytes(f.ends[CLIENT][-2:], "big"))
        case ["host", host]:
            packed = ip_address(host).packed
            return lambda f: packed in (f.ends[CLIENT][:-2], f.ends[SERVER][:-2])
        case [text] if ":" in text:
            return lambda f: text in (f.client, f.server)
        case [text] if all(c.isdecimal() or c in ",-" for c in text):
            numbers = set(_numbers(text))
            return lambda f: f.number in numbers
    raise ValueError(
        f"--flow {' '.join(words)!r}: numbers (3 or 1,4-6), 'port 22', 'host 192.0.2.1' or "
        "'192.0.2.1:22', joined by 'and'"
    )


def _numbers(text: str) -> Iterator[int]:
    for part in text.split(","):
        first, dash, last = part.partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()):
            raise ValueError(f"--flow {text!r}: numbers are written 3 or 1,4-6")
        yield from range(int(first), min(int(last or first), MAX_FLOWS) + 1)
