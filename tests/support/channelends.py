"""Both ends of a mirroring channel over the loopback, without the devices behind them.

one: connects, as the active device          two: what the doorway lets in, as the standby
"""

from __future__ import annotations

import contextlib
import select
import socket
import time
from collections.abc import Callable, Iterator
from ipaddress import IPv4Address
from pathlib import Path

from emulator.core.refusals import Refused
from emulator.device.channel import MirrorChannel, Protect
from emulator.device.doorway import Doorway, Introduced
from emulator.device.secure import Clear, Secure
from emulator.device.trust import Trust
from emulator.lab import trust
from emulator.wire.mirror import Hello, Message
from tests.device.test_relay import free_port

NODES = ("bigip-a", "bigip-b")
ONE, TWO = IPv4Address("127.0.0.5"), IPv4Address("127.0.0.6")
HELLO = Message(1, Hello("bigip-a", "traffic-group-1", True))
PATIENCE_S = 20.0


def protects(lab: Path) -> tuple[Protect, Protect]:
    """What the two devices of a lab protect a connection with."""
    trust.establish(lab, NODES)
    one, two = (Trust(str(trust.folder_of(lab, node))) for node in NODES)
    return (
        lambda connecting: Secure(one, connecting=connecting),
        lambda connecting: Secure(two, connecting=connecting),
    )


class Ends:
    """`refused`: what the doorway has turned away; `now` is its clock."""

    def __init__(self, lab: Path, *, secure: bool) -> None:
        self.secure, self.now = secure, 0.0
        self.protect_one, self.protect_two = (
            protects(lab) if secure else (lambda _: Clear(), lambda _: Clear())
        )
        self.port = free_port(str(TWO))
        self.refused: list[Refused] = []
        self.watched: set[socket.socket] = set()
        self.doorway = Doorway(
            TWO, ONE, self.port, self.protect_two, self.refused.append, self._watch
        )
        self.addresses = (ONE, TWO, self.port)
        self.one = MirrorChannel(*self.addresses, self.protect_one)
        self.two = MirrorChannel(TWO, ONE, self.port, self.protect_two)

    def introduce(self, channel: MirrorChannel, *messages: Message) -> Introduced:
        """`channel` connects and says these; the second end takes it over."""
        channel.connect(self.now)
        deadline, up, said = time.monotonic() + PATIENCE_S, False, False
        while time.monotonic() < deadline:
            assert channel.connection is not None
            if not up:
                with contextlib.suppress(BlockingIOError):
                    wait(channel.connection, write=channel.wants_write)
                    up = channel.advance()
            if up and not said:
                said = True
                for message in messages:
                    channel.send(message)
            if (introduced := self.serve()) is not None:
                self.two.adopt(introduced.connection)
                return introduced
        raise AssertionError(f"not introduced: {self.refused!r}")

    def serve(self) -> Introduced | None:
        """What the doorway has to do now."""
        self.doorway.accept(self.now)
        for there in select.select(list(self.watched), [], [], 0.005)[0]:
            if there in self.watched and (found := self.doorway.ready(there)) is not None:
                return found
        return None

    def until(self, action: Callable[[], object]) -> object:
        """Its first answer that is true, or what it raises."""
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            if found := action():
                return found
            time.sleep(0.001)
        raise AssertionError("nothing came of it")

    def close(self) -> None:
        for channel in (self.one, self.two):
            channel.close()
        self.doorway.close()

    def _watch(self, there: socket.socket, begin: bool) -> None:
        (self.watched.add if begin else self.watched.discard)(there)


@contextlib.contextmanager
def connected(lab: Path, *, secure: bool) -> Iterator[Ends]:
    """The channel is up, its hello has been taken."""
    ends = Ends(lab, secure=secure)
    try:
        assert ends.introduce(ends.one, HELLO).messages == [HELLO]
        yield ends
    finally:
        ends.close()


def wait(there: socket.socket, *, write: bool) -> None:
    """A moment, for the socket."""
    select.select([there], [there] if write else [], [], 0.005)
