"""The mirroring channel (TCP 1029 + index) and the heartbeats (UDP 1026): bytes only.

Both devices listen; the active one connects. One connection lives at a time: a newer one
replaces it. Nothing blocks: what the peer does not take is buffered up to MAX_BUFFERED
(statemirror.queuelen, 8 MiB), past which the channel counts as lost. Not counted are the
bytes of a connection that is mirrored on from its middle: they come in one go, and the next
one's only when the peer has these.
"""

from __future__ import annotations

import contextlib
import errno
import socket
from ipaddress import IPv4Address

from emulator.wire.mirror import Decoder, LegBytes, Message, MirrorError

MAX_BUFFERED = 8 << 20
_READ = 1 << 16
_USER_TIMEOUT_MS = 4000  # an unacknowledged byte older than this ends the channel


class ChannelLost(Exception):
    """The channel ended; the text says why."""


class MirrorChannel:
    """The connection to the peer, in either role."""

    def __init__(self, own: IPv4Address, peer: IPv4Address, port: int) -> None:
        self._own, self._peer, self._port = own, peer, port
        self.listener = socket.create_server((str(own), port), backlog=4)
        self.listener.setblocking(False)
        self.connection: socket.socket | None = None
        self.connecting = False
        self._decoder = Decoder()
        self._buffer = bytearray()
        self._parts: list[bytes] = []  # of the next write
        self._uncounted = 0

    def connect(self) -> None:
        """Begin to connect; `finish_connect` when the socket turns writable."""
        self.close()
        connection = socket.socket()
        self._prepare(connection)
        connection.bind((str(self._own), 0))
        self.connection, self.connecting = connection, True
        code = connection.connect_ex((str(self._peer), self._port))
        if code not in (0, errno.EINPROGRESS):
            self.close()
            raise ChannelLost(errno.errorcode.get(code, str(code)))

    def finish_connect(self) -> None:
        """Raises ChannelLost when the peer did not answer."""
        assert self.connection is not None
        code = self.connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        self.connecting = False
        if code:
            self.close()
            raise ChannelLost(errno.errorcode.get(code, str(code)))

    def accept(self) -> bool:
        """Take the peer's connection; False for a stranger's, which is closed."""
        try:
            connection, (address, _) = self.listener.accept()
        except OSError:
            return False
        if address != str(self._peer):
            connection.close()
            return False
        self.close()
        self._prepare(connection)
        self.connection = connection
        return True

    def read(self) -> list[Message]:
        """What has arrived; raises ChannelLost at the end or on nonsense."""
        assert self.connection is not None
        try:
            data = self.connection.recv(_READ)
        except BlockingIOError:
            return []
        except OSError as error:
            raise ChannelLost(error.strerror or str(error)) from error
        if not data:
            raise ChannelLost("closed by the peer")
        try:
            return self._decoder.feed(data)
        except MirrorError as error:
            raise ChannelLost(f"malformed: {error}") from error

    def send(self, message: Message) -> None:
        """Queue one message and send what the socket takes; raises ChannelLost."""
        if self.connection is None:
            return
        data = message.emit()
        if isinstance(message.body, LegBytes):
            self._uncounted += len(data)
        self._parts.append(data)
        self.flush()

    def queue(self, *parts: bytes) -> None:
        """Part of what the next `flush` sends."""
        if self.connection is not None:
            self._parts += parts

    def flush(self) -> None:
        """Send what is buffered, as far as the socket takes it; raises ChannelLost."""
        if self._parts and (self._buffer or self.connecting):
            self._buffer += b"".join(self._parts)
            self._parts.clear()
        if self.connection is None or self.connecting or not (self._buffer or self._parts):
            return
        try:
            if self._parts:
                self._send_parts(self.connection)
            else:
                sent = self.connection.send(self._buffer)
                del self._buffer[:sent]
        except BlockingIOError:
            pass
        except OSError as error:
            raise ChannelLost(error.strerror or str(error)) from error
        if not self._buffer:
            self._uncounted = 0
        if len(self._buffer) - self._uncounted > MAX_BUFFERED:
            raise ChannelLost(f"more than {MAX_BUFFERED} bytes buffered")

    def _send_parts(self, connection: socket.socket) -> None:
        """In one go, without putting them together; what is not taken is buffered."""
        parts, self._parts = self._parts, []
        sent = 0
        try:
            sent = connection.sendmsg(parts)
        finally:
            for part in parts:
                if sent < len(part):
                    self._buffer += part[sent:] if sent else part
                sent = max(0, sent - len(part))

    @property
    def wants_write(self) -> bool:
        """Whether the socket should be watched for room."""
        return self.connecting or bool(self._buffer)

    def close(self) -> None:
        """Drop the connection and what is buffered for it."""
        if self.connection is not None:
            with contextlib.suppress(OSError):
                self.connection.close()
        self.connection, self.connecting = None, False
        self._decoder, self._buffer = Decoder(), bytearray()
        self._parts.clear()
        self._uncounted = 0

    @staticmethod
    def _prepare(connection: socket.socket) -> None:
        connection.setblocking(False)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _USER_TIMEOUT_MS)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 1)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 1)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 4)


class HeartbeatSocket:
    """UDP to and from the peer's HA address only."""

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
        """The next datagram of the peer's, or None; a stranger's is passed over."""
        while True:
            try:
                data, source = self.socket.recvfrom(2048)
            except OSError:
                return None
            if source[0] == self._target[0]:
                return data
