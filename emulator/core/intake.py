"""What the standby takes from its channel: order and amount. Pure.

The channel's own rules, whatever protects it:

1. The first message is a hello, the only one; messages are numbered from 1 without a gap. TCP
   keeps their order, so anything else was not sent by the peer as it arrived.
2. The peer acknowledges nothing that was not sent.
3. What the standby keeps is bounded (`core.config.MirrorLimits`, `core.reassembly.LIMIT`).

A message that breaks one raises `Refused` before anything of it is done; the channel is closed
for it, and the table stays as the messages before it have made it.
"""

from __future__ import annotations

from emulator.core.refusals import Refused
from emulator.wire.mirror import Hello, Message


class Intake:
    """The order of one channel's messages."""

    def __init__(self) -> None:
        self._last = 0

    def begin(self) -> None:
        """A new channel."""
        self._last = 0

    def check(self, message: Message) -> None:
        """The next message; raises Refused."""
        expected = self._last + 1
        if isinstance(message.body, Hello) != (self._last == 0):
            what = "a second hello" if self._last else f"{_name(message)} before the hello"
            raise Refused("sequence", what)
        if message.sequence != expected:
            raise Refused("sequence", f"message {message.sequence}, {expected} is due")
        self._last = expected


def _name(message: Message) -> str:
    return f"a {type(message.body).__name__}"
