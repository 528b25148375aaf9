"""The mirroring channel (TCP 1029 + index) and the heartbeats (UDP 1026): bytes only.

The active device connects, the standby takes it from `device.doorway`. One connection lives at
a time. Nothing blocks: what the peer does not take is buffered up to MAX_BUFFERED
(statemirror.queuelen, 8 MiB), past which the channel counts as lost. Not counted are the
bytes of a connection that is mirrored on from its middle: they come in one go, and the next
one's only when the peer has these.
"""

from __future__ import annotations

import contextlib
import errno
import socket
from collections.abc import Callable
from ipaddress import IPv4Address

from emulator.core.refusals import Refused
from emulator.device.secure import Clear, Transport
from emulator.device.trust import TrustError
from emulator.wire.mirror import Buffer, Decoder, LegBytes, Message, MirrorError

MAX_BUFFERED = 8 << 20
HANDSHAKE_S = 5.0  # longer than TCP's own time-out: a lost channel is found by that first
_GATHER = 1024  # parts in one system call (IOV_MAX)
_USER_TIMEOUT_MS = 4000  # an unacknowledged byte older than this ends the channel

# Makes what protects a new connection: whether we connect. Raises TrustError.
Protect = Callable[[bool], Transport]


class ChannelLost(Exception):
    """The channel ended; the text says why, `refused` for which refusal, if for one."""

    def __init__(self, text: str, refused: Refused | None = None) -> None:
        super().__init__(text)
        self.refused = refused


class Connection:
    """One TCP connection, of which messages are made."""

    def __init__(self, there: socket.socket, transport: Transport, since: float) -> None:
        self.socket, self.transport, self.since = there, transport, since
        self._decoder = Decoder()
        self._parts: list[Buffer] = []  # what `flush` sends after the buffer
        self._buffer = bytearray()  # what the socket has not taken
        self._uncounted = 0

    def read(self) -> list[Message]:
        """What has arrived; raises ChannelLost at the end or on nonsense."""
        room = self._decoder.room()
        try:
            count = self.socket.recv_into(room)
        except BlockingIOError:
            return []
        except OSError as error:
            raise ChannelLost(error.strerror or str(error)) from error
        try:
            if not count:
                self.transport.ended()
                raise ChannelLost("closed by the peer")
            if self.transport.clear:
                return self._decoder.filled(count)
            return self._decoder.feed(self.transport.receive(bytes(room[:count])))
        except MirrorError as error:
            refused = Refused("malformed", str(error))
            raise ChannelLost(f"malformed: {error}", refused) from error
        except Refused as error:
            self._tell_why()
            raise ChannelLost(f"{error.reason}: {error}", error) from None

    def send(self, message: Message) -> None:
        """Queue one message and send what the socket takes; raises ChannelLost."""
        self.put(message)
        self.flush()

    def put(self, message: Message) -> None:
        """One more of what the next `flush` sends."""
        data = message.emit()
        if isinstance(message.body, LegBytes):
            self._uncounted += len(data)
        self._parts.append(data)

    def queue(self, *parts: Buffer) -> None:
        """Part of what the next `flush` sends: not to be altered until then."""
        self._parts += parts

    def flush(self) -> None:
        """Send what is buffered, as far as the socket takes it; raises ChannelLost."""
        try:
            if self._parts and self.transport.clear and not self._buffer:
                self._gather()
            self._buffer_parts()
            while waiting := self.transport.seal(self._buffer):
                sent = self.socket.send(waiting)
                del waiting[:sent]
        except BlockingIOError:
            self._buffer_parts()
        except OSError as error:
            raise ChannelLost(error.strerror or str(error)) from error
        if not self._buffer:
            self._uncounted = 0
        if len(self._buffer) - self._uncounted > MAX_BUFFERED:
            raise ChannelLost(f"more than {MAX_BUFFERED} bytes buffered")

    def _gather(self) -> None:
        """Straight from where the parts are; raises OSError, then none of them is gone."""
        sent = self.socket.sendmsg(self._parts[:_GATHER])
        gone = 0
        for part in self._parts:
            if sent < len(part):
                break
            sent -= len(part)
            gone += 1
        if sent:
            self._parts[gone] = memoryview(self._parts[gone])[sent:]
        del self._parts[:gone]

    def _buffer_parts(self) -> None:
        for part in self._parts:
            self._buffer += part
        self._parts.clear()

    @property
    def wants_write(self) -> bool:
        """Whether the socket should be watched for room."""
        return bool(self.transport.seal(self._buffer))

    def close(self) -> None:
        """Drop it and what is buffered for it."""
        with contextlib.suppress(OSError):
            if last := self.transport.close():
                self.socket.send(last)
        with contextlib.suppress(OSError):
            self.socket.close()

    def _tell_why(self) -> None:
        """TLS's alert, as far as the socket takes it."""
        with contextlib.suppress(OSError):
            if alert := self.transport.seal(bytearray()):
                self.socket.send(alert)


class MirrorChannel:
    """The connection to the peer, in either role. `protect`: what every new one begins with."""

    def __init__(
        self, own: IPv4Address, peer: IPv4Address, port: int, protect: Protect = lambda _: Clear()
    ) -> None:
        self._own, self._peer, self._port = own, peer, port
        self._protect = protect
        self._connection: Connection | None = None
        self.connecting = False  # TCP's handshake is not complete
        self.securing = False  # that of TLS is not

    @property
    def connection(self) -> socket.socket | None:
        """What to watch."""
        return self._connection.socket if self._connection is not None else None

    @property
    def protection(self) -> str:
        """Protocol and cipher of the present connection."""
        return self._connection.transport.protection if self._connection is not None else ""

    def connect(self, now: float) -> None:
        """Begin to connect; `advance` when the socket is ready. Raises ChannelLost."""
        self.close()
        try:
            transport = self._protect(True)
        except TrustError as error:
            raise ChannelLost(str(error), Refused("trust", str(error))) from error
        there = socket.socket()
        prepare(there)
        there.bind((str(self._own), 0))
        self._connection = Connection(there, transport, now)
        self.connecting, self.securing = True, not transport.established
        code = there.connect_ex((str(self._peer), self._port))
        if code not in (0, errno.EINPROGRESS):
            self.close()
            raise ChannelLost(errno.errorcode.get(code, str(code)))

    def advance(self) -> bool:
        """On the way up: True once messages may pass. Raises ChannelLost when the peer does not
        answer, or is not the peer."""
        there = self._connection
        assert there is not None
        if self.connecting:
            code = there.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if code:
                self.close()
                raise ChannelLost(errno.errorcode.get(code, str(code)))
            self.connecting = False
        if self.securing:
            if there.read():
                raise ChannelLost("", Refused("sequence", "the standby spoke first"))
            there.flush()
            self.securing = not there.transport.established
        return not self.securing

    def overdue(self, now: float) -> bool:
        """Whether the way up takes too long; TCP's own has its own time-out."""
        there = self._connection
        waiting = self.securing and not self.connecting
        return waiting and there is not None and now - there.since > HANDSHAKE_S

    def adopt(self, connection: Connection) -> None:
        """The peer's connection takes the place of any other."""
        self.close()
        self._connection = connection

    def read(self) -> list[Message]:
        """What has arrived; raises ChannelLost at the end or on nonsense."""
        assert self._connection is not None
        return self._connection.read()

    def send(self, message: Message) -> None:
        """Queue one message and send what the socket takes; raises ChannelLost."""
        if self._connection is not None:
            self._connection.send(message)

    def put(self, message: Message) -> None:
        """One more of what the next `flush` sends."""
        if self._connection is not None:
            self._connection.put(message)

    def queue(self, *parts: Buffer) -> None:
        """Part of what the next `flush` sends: not to be altered until then."""
        if self._connection is not None:
            self._connection.queue(*parts)

    def flush(self) -> None:
        """Send what is buffered, as far as the socket takes it; raises ChannelLost."""
        if self._connection is not None and not self.connecting:
            self._connection.flush()

    @property
    def wants_write(self) -> bool:
        """Whether the socket should be watched for room."""
        there = self._connection
        return self.connecting or (there is not None and there.wants_write)

    def close(self) -> None:
        """Drop the connection and what is buffered for it."""
        if self._connection is not None:
            self._connection.close()
        self._connection, self.connecting, self.securing = None, False, False


def prepare(there: socket.socket) -> None:
    """Not blocking, and aware of a peer that is gone."""
    there.setblocking(False)
    there.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    there.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _USER_TIMEOUT_MS)
    there.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    there.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 1)
    there.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 1)
    there.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 4)


class HeartbeatSocket:
    """UDP to the peer's HA address, and from whoever sends any."""

    def __init__(self, own: IPv4Address, peer: IPv4Address, port: int) -> None:
        self._target = (str(peer), port)
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.setblocking(False)
        self.socket.bind((str(own), port))

    def send(self, data: bytes) -> None:
        """Best effort: a lost heartbeat is what the time-out is for."""
        with contextlib.suppress(OSError):
            self.socket.sendto(data, self._target)

    def receive(self) -> bytes | None:
        """The next datagram of the peer's address, or None; raises Refused for a stranger's."""
        try:
            data, (address, port) = self.socket.recvfrom(2048)
        except OSError:
            return None
        if address != self._target[0]:
            raise Refused("foreign-address", f"a heartbeat from {address}:{port}")
        return data
