"""The mirroring port: who comes in, and who of them becomes the channel.

Anybody can open a TCP connection; none counts before it has introduced itself: the TLS
handshake where one is asked for, then a hello, whole, within INTRODUCTION_S. Until then the
channel that is there stays; then the new one takes its place, as the peer's that has lost the
old one. At most MAX_WAITING wait at a time: one more puts out the one that waits longest, which
a peer a millisecond away has not been for.

    accept --> waiting --hello--> the channel
                  |
                  +-- anything else, or nothing in time: closed, counted
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address

from emulator.core.refusals import Refused
from emulator.device.channel import ChannelLost, Connection, Protect, prepare
from emulator.device.trust import TrustError
from emulator.wire.mirror import Hello, Message

INTRODUCTION_S = 5.0
MAX_WAITING = 4
BACKLOG = 4
_AT_ONCE = 32  # accepted in one go: a flood must not keep the device from its packets

Refuse = Callable[[Refused], None]


@dataclass(frozen=True)
class Introduced:
    """A connection that has said who it is, and the messages it began with."""

    connection: Connection
    messages: list[Message]


class Doorway:
    """The listener and the connections that wait. `refuse` is told of everybody turned away,
    `watch` of every socket to be watched or, with False, not any more."""

    def __init__(
        self,
        own: IPv4Address,
        peer: IPv4Address,
        port: int,
        protect: Protect,
        refuse: Refuse,
        watch: Callable[[socket.socket, bool], None],
    ) -> None:
        self._peer, self._protect, self._refuse, self._watch = str(peer), protect, refuse, watch
        self.listener = socket.create_server((str(own), port), backlog=BACKLOG)
        self.listener.setblocking(False)
        self._waiting: dict[socket.socket, Connection] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    def accept(self, now: float) -> None:
        """Take in who has come; a stranger's address is turned away at once."""
        for there, address, port in self._arrivals():
            if address != self._peer:
                there.close()
                self._refuse(Refused("foreign-address", f"{address}:{port}"))
                continue
            try:
                transport = self._protect(False)
            except TrustError as error:
                there.close()
                self._refuse(Refused("trust", str(error)))
                continue
            if len(self._waiting) >= MAX_WAITING:
                self._turn_away(next(iter(self._waiting)))
                self._refuse(Refused("too-many-connections", f"{MAX_WAITING} were waiting"))
            prepare(there)
            self._waiting[there] = Connection(there, transport, now)
            self._watch(there, True)

    def ready(self, there: socket.socket) -> Introduced | None:
        """Something came in from one that waits; what it is once it has introduced itself."""
        connection = self._waiting.get(there)
        if connection is None:
            return None
        source = _source(there)
        try:
            messages = connection.read()
            connection.flush()
            if not messages:
                return None
            if not isinstance(messages[0].body, Hello):
                name = type(messages[0].body).__name__
                raise ChannelLost("", Refused("introduction", f"it began with a {name}"))
        except ChannelLost as error:
            self._turn_away(there)
            why = error.refused or Refused("introduction", f"ended before a hello: {error}")
            self._refuse(Refused(why.reason, f"{source}: {why.detail}"))
            return None
        del self._waiting[there]
        self._watch(there, False)
        return Introduced(connection, messages)

    def sweep(self, now: float) -> None:
        """Turn away who has waited for too long."""
        for there, connection in list(self._waiting.items()):
            if now - connection.since > INTRODUCTION_S:
                source, known = _source(there), connection.transport.established
                self._turn_away(there)
                what = f"no {'hello' if known else 'handshake'} within {INTRODUCTION_S:g} s"
                self._refuse(Refused("introduction", f"{source}: {what}"))

    def close(self) -> None:
        """For good."""
        for there in list(self._waiting):
            self._turn_away(there)
        self.listener.close()

    def _arrivals(self) -> Iterator[tuple[socket.socket, str, int]]:
        for _ in range(_AT_ONCE):
            try:
                there, (address, port) = self.listener.accept()
            except OSError:
                return
            yield there, address, port

    def _turn_away(self, there: socket.socket) -> None:
        self._watch(there, False)
        self._waiting.pop(there).close()


def _source(there: socket.socket) -> str:
    """Where it comes from, as far as the kernel still knows."""
    try:
        address, port = there.getpeername()
    except OSError:
        return "somebody"
    return f"{address}:{port}"
