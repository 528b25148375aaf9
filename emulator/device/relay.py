"""The connections of standard virtual servers: accept, connect, relay, close. Effects only.

A pair is a client-side and a server-side connection of the kernel's TCP. What is read from
one is written to the other; a side is read only while less than HIGH bytes wait for the
other (proxyBufferHigh), and again below LOW, so a slow reader slows its writer down. An end
of stream becomes a FIN once everything before it is written; an error becomes a reset.

A pair whose four FINs are under way keeps its sockets until the kernel has closed them, so
the device knows when its segments have no owner any more.
"""

from __future__ import annotations

import contextlib
import errno
import selectors
import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address

from emulator.core.events import (
    ClientAccepted,
    Event,
    RelayEnded,
    RelaySnapshot,
    RestoreFailed,
    ServerUnreachable,
)
from emulator.core.tracker import RelayPlan
from emulator.kernel import tcprepair
from emulator.wire.mirror import FlowRecord
from emulator.wire.segment import Endpoint

HIGH, LOW = 65535, 32768  # proxyBufferHigh, proxyBufferLow of the tcp profile
SWEEP_S = 0.2
_READ = 1 << 16
PASS = 1 << 18  # read in one go while nothing waits: so much more than HIGH may wait then
_BACKLOG = 1024
_SYN_RETRIES = 3  # synMaxRetrans
_IP_TRANSPARENT = 19
_STATE_CLOSE = 7
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)

Key = tuple[Endpoint, Endpoint]


@dataclass(slots=True, eq=False)
class _Side:
    """One connection. `pending`: what is still to be written to it."""

    socket: socket.socket
    pending: bytearray = field(default_factory=bytearray)
    connecting: bool = False
    paused: bool = False  # not read: the other side's buffer is full
    ended: bool = False  # its peer has sent a FIN
    finished: bool = False  # we have
    mask: int = 0


@dataclass(slots=True, eq=False)
class _Pair:
    client_end: Endpoint
    virtual: Endpoint
    client: _Side
    server: _Side | None = None
    early: bytes = b""  # read from the client before there was a server side
    gone: bool = False

    @property
    def key(self) -> Key:
        return self.client_end, self.virtual

    def sides(self) -> list[_Side]:
        return [self.client] if self.server is None else [self.client, self.server]

    def other(self, side: _Side) -> _Side | None:
        return self.server if side is self.client else self.client


class Relays:
    """All pairs of one device. Events go to `post`; driven by the device's selector."""

    def __init__(self, selector: selectors.BaseSelector, post: Callable[[Event], None]) -> None:
        self._selector, self._post = selector, post
        self._listeners: dict[Endpoint, socket.socket] = {}
        self._pairs: dict[Key, _Pair] = {}
        self._closing: set[_Pair] = set()
        self._next_sweep = 0.0
        self._passing = memoryview(bytearray(PASS))

    def __len__(self) -> int:
        return len(self._pairs)

    def listen(self, virtual: Endpoint) -> None:
        """Accept connections to `virtual`; raises OSError."""
        if virtual in self._listeners:
            return
        listener = _socket()
        try:
            listener.bind((str(virtual.address), virtual.port))
            listener.listen(_BACKLOG)
        except OSError:
            listener.close()
            raise
        self._listeners[virtual] = listener
        self._selector.register(
            listener, selectors.EVENT_READ, lambda _: self._accept(listener, virtual)
        )

    def connect(self, record: FlowRecord) -> None:
        """The server side of an accepted connection."""
        pair = self._pairs.get((record.client, record.virtual))
        if pair is None or pair.server is not None:
            return
        server = _socket()
        server.setsockopt(socket.IPPROTO_TCP, socket.TCP_SYNCNT, _SYN_RETRIES)
        pair.server = _Side(server, pending=bytearray(pair.early), connecting=True)
        try:
            server.bind((str(record.snat.address), record.snat.port))
            code = server.connect_ex((str(record.member.address), record.member.port))
        except OSError as error:
            code = error.errno or errno.EIO
        if code not in (0, errno.EINPROGRESS):
            self._unreachable(pair, code)
            return
        self._watch(pair)

    def restore(self, plan: RelayPlan) -> bool:
        """Both connections as `plan` has them; without a server side `connect` must follow.

        Posts RestoreFailed and answers False when the kernel refuses.
        """
        sides: list[_Side] = []
        try:
            for leg in (plan.client, plan.server):
                if leg is not None:
                    side = _Side(tcprepair.restore(leg), pending=bytearray(leg.unsent))
                    _prepare(side.socket)
                    sides.append(side)
        except OSError as error:
            for side in sides:
                tcprepair.abandon(side.socket)
            reason = error.strerror or str(error)
            self._post(RestoreFailed(plan.record.client, plan.record.virtual, reason))
            return False
        server = sides[1] if plan.server is not None else None
        pair = _Pair(plan.record.client, plan.record.virtual, sides[0], server, plan.early)
        self._pairs[pair.key] = pair
        self._watch(pair)
        return True

    def snapshot(self, client: Endpoint, virtual: Endpoint) -> RelaySnapshot | None:
        """Both connections as they stand; None while one of them is not made or is over."""
        pair = self._pairs.get((client, virtual))
        if pair is None or pair.server is None or pair.early or pair in self._closing:
            return None
        legs = []
        for side in (pair.client, pair.server):
            if side.connecting or _state(side.socket) == _STATE_CLOSE:
                return None
            try:
                leg = tcprepair.snapshot(side.socket, shut=side.finished)
            except OSError:  # reset a moment ago: its callback tells
                return None
            legs.append(replace(leg, pending=bytes(side.pending)))
        return RelaySnapshot(client, virtual, *legs)

    def abort(self, client: Endpoint, virtual: Endpoint) -> None:
        """Reset both connections."""
        pair = self._pairs.get((client, virtual))
        if pair is not None:
            self._remove(pair, reset=True)

    def abandon(self) -> None:
        """Forget every connection and listener without a packet."""
        for pair in list(self._pairs.values()):
            for side in pair.sides():
                self._register(pair, side, 0)
                with contextlib.suppress(OSError):  # it is closed in any case
                    tcprepair.abandon(side.socket)
            pair.gone = True
        self._pairs.clear()
        self._closing.clear()
        for listener in self._listeners.values():
            self._selector.unregister(listener)
            listener.close()
        self._listeners.clear()

    def sweep(self, now: float) -> None:
        """Find the closed ones among those that are closing."""
        if now < self._next_sweep:
            return
        self._next_sweep = now + SWEEP_S
        for pair in list(self._closing):
            if all(_state(side.socket) == _STATE_CLOSE for side in pair.sides()):
                self._remove(pair, reset=False)
                self._post(RelayEnded(*pair.key))

    def _accept(self, listener: socket.socket, virtual: Endpoint) -> None:
        while True:
            try:
                connection, (address, port) = listener.accept()
            except OSError:  # none left, or it was reset before we came to it
                return
            _prepare(connection)
            client = Endpoint(IPv4Address(address), port)
            older = self._pairs.get((client, virtual))
            if older is not None:  # the same ports again while the old pair was closing
                self._remove(older, reset=True)
            self._pairs[client, virtual] = _Pair(client, virtual, _Side(connection))
            self._post(ClientAccepted(client, virtual))

    def _on_ready(self, pair: _Pair, side: _Side, mask: int) -> None:
        if pair.gone:  # closed by an earlier callback of the same round
            return
        try:
            if mask == selectors.EVENT_READ == side.mask and self._pass_on(pair, side):
                return  # both sockets wait for what they waited for
            if side.connecting:
                self._connected(pair, side)
            else:
                if mask & selectors.EVENT_READ and side.mask & selectors.EVENT_READ:
                    self._read(pair, side)
                if mask & selectors.EVENT_WRITE:
                    _flush(side)
        except OSError as error:
            self._failed(pair, side, error)
            return
        self._watch(pair)

    def _pass_on(self, pair: _Pair, side: _Side) -> bool:
        """The common case: what is read from one is taken by the other at once, nothing of it is
        kept. False: it is not so; what is left is pending."""
        target = pair.other(side)
        if target is None or target.pending or target.connecting:
            return False
        try:
            count = side.socket.recv_into(self._passing)
        except BlockingIOError:
            return True
        if not count:
            side.ended = True
            return False
        try:
            sent = target.socket.send(self._passing[:count])
        except BlockingIOError:
            sent = 0
        except OSError as error:
            self._failed(pair, target, error)
            return True
        target.pending += self._passing[sent:count]
        return sent == count

    def _connected(self, pair: _Pair, side: _Side) -> None:
        code = side.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code:
            self._unreachable(pair, code)
            return
        side.connecting = False
        _flush(side)

    def _read(self, pair: _Pair, side: _Side) -> None:
        target = pair.other(side)
        assert target is not None  # nothing is read before the server side exists
        try:
            data = side.socket.recv(_READ)
        except BlockingIOError:
            return
        if data:
            target.pending += data
        else:
            side.ended = True
        if not target.connecting:
            try:
                _flush(target)
            except OSError as error:
                self._failed(pair, target, error)

    def _watch(self, pair: _Pair) -> None:
        """What each socket waits for now; and whether the pair has come to its end."""
        if pair.gone:
            return
        for side in pair.sides():
            target = pair.other(side)
            waiting = len(target.pending) if target else HIGH
            if side.ended and target is not None and not target.pending and not target.finished:
                self._finish(target)
            side.paused = waiting >= (LOW if side.paused else HIGH)
            reading = not (side.ended or side.paused or side.connecting or target is None)
            mask = selectors.EVENT_READ if reading else 0
            if side.connecting or side.pending:
                mask |= selectors.EVENT_WRITE
            self._register(pair, side, mask)
        if all(side.ended and side.finished for side in pair.sides()):
            self._closing.add(pair)

    def _finish(self, side: _Side) -> None:
        """Everything the other end sent has been written: send its FIN on."""
        if not side.connecting:
            side.finished = True
            with contextlib.suppress(OSError):  # reset meanwhile: the state tells at the sweep
                side.socket.shutdown(socket.SHUT_WR)

    def _register(self, pair: _Pair, side: _Side, mask: int) -> None:
        if mask == side.mask:
            return
        if not side.mask:
            self._selector.register(side.socket, mask, lambda m: self._on_ready(pair, side, m))
        elif not mask:
            self._selector.unregister(side.socket)
        else:
            self._selector.modify(side.socket, mask, lambda m: self._on_ready(pair, side, m))
        side.mask = mask

    def _unreachable(self, pair: _Pair, code: int) -> None:
        self._post(ServerUnreachable(*pair.key, errno.errorcode.get(code, str(code))))

    def _failed(self, pair: _Pair, side: _Side, error: OSError) -> None:
        """One connection broke: the other end is reset for it."""
        which = "client" if side is pair.client else "server"
        name = errno.errorcode.get(error.errno or 0, str(error))
        self._remove(pair, reset=True)
        self._post(RelayEnded(*pair.key, f"{which} side: {name}"))

    def _remove(self, pair: _Pair, *, reset: bool) -> None:
        pair.gone = True
        for side in pair.sides():
            self._register(pair, side, 0)
            if reset:
                side.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
            side.socket.close()
        self._closing.discard(pair)
        self._pairs.pop(pair.key, None)


def _socket() -> socket.socket:
    """Bound to the traffic group's addresses, whichever device has them."""
    made = socket.socket()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    made.setsockopt(socket.IPPROTO_IP, _IP_TRANSPARENT, 1)
    _prepare(made)
    return made


def _prepare(connection: socket.socket) -> None:
    connection.setblocking(False)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def _flush(side: _Side) -> None:
    """Write what the socket takes; raises OSError."""
    while side.pending:
        try:
            sent = side.socket.send(side.pending)
        except BlockingIOError:
            return
        del side.pending[:sent]


def _state(connection: socket.socket) -> int:
    return connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0]
