"""Health probes: TCP connections from the fabric to each target, real packets.

From the gateway address of the target's subnet, out of its interface. A probe that is
accepted is closed with a reset at once, as load balancers do, so that the target keeps
nothing of it. Drives nothing itself: `tick` does what is due.
"""

from __future__ import annotations

import select
import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass

_BUSY_S = 0.02  # how long an open probe may wait to be looked at
_LINGER_0 = struct.pack("ii", 1, 0)


@dataclass(frozen=True, slots=True)
class Target:
    """What is probed: a device's outer interface. `gateway`: the probes' source address."""

    name: str
    interface: str
    gateway: str
    address: str
    port: int


# target's name, whether it answered, whether it refused
Report = Callable[[str, bool, bool], None]


class Prober:
    """Probes one target every `interval_s`; a probe has failed after `timeout_s`."""

    def __init__(self, target: Target, interval_s: float, timeout_s: float, report: Report) -> None:
        self._target, self._report = target, report
        self._interval_s, self._timeout_s = interval_s, min(timeout_s, interval_s)
        self._next = 0.0
        self._open: tuple[socket.socket, float] | None = None

    def tick(self, now: float) -> float:
        """Look at the probe under way, or begin the next one; returns when to call again."""
        if self._open is not None:
            self._look(now)
        if self._open is None and now >= self._next:
            self._next = max(self._next + self._interval_s, now)
            self._begin(now)
        return now + _BUSY_S if self._open is not None else self._next

    def _begin(self, now: float) -> None:
        probe = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        probe.setblocking(False)
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, self._target.interface.encode())
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_0)
        probe.bind((self._target.gateway, 0))
        probe.connect_ex((self._target.address, self._target.port))
        self._open = (probe, now + self._timeout_s)

    def _look(self, now: float) -> None:
        assert self._open is not None
        probe, deadline = self._open
        if select.select([], [probe], [], 0)[1]:
            error = probe.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            self._end(answered=not error, refused=bool(error))
        elif now >= deadline:
            self._end(answered=False, refused=False)

    def _end(self, *, answered: bool, refused: bool) -> None:
        assert self._open is not None
        self._open[0].close()
        self._open = None
        self._report(self._target.name, answered, refused)
