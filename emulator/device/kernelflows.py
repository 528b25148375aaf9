"""What the kernel does with flows by itself: translate and forward them, pass them unseen."""

from __future__ import annotations

from collections.abc import Callable

from emulator.core.commands import Accelerate, Decelerate, InstallFlow, RemoveFlow
from emulator.core.events import FlowActivity
from emulator.core.flow import keys
from emulator.kernel.acceleration import Acceleration
from emulator.kernel.conntrack import TOGETHER, Conntrack
from emulator.wire.mirror import FlowRecord

# What the kernel refused: what was to be done, to whose flow, and why.
Refused = Callable[[str, str, OSError], None]


class KernelFlows:
    """Connection tracking and the set of accelerated flows, of the thread's namespace.

    Changes are gathered, and carried out in order by `settle`: before anything that rests on
    them is done.
    """

    def __init__(self, refused: Refused) -> None:
        self._conntrack = Conntrack()
        self._acceleration = Acceleration()
        self._refused = refused
        self._gathered: list[tuple[FlowRecord, bool]] = []

    def carry_out(self, command: InstallFlow | RemoveFlow | Accelerate | Decelerate) -> None:
        """At the next `settle`, at the latest."""
        match command:
            case InstallFlow(record):
                self._gathered.append((record, True))
            case RemoveFlow(record):
                self._gathered.append((record, False))
            case Accelerate(records):
                self.settle()
                self._accelerated("accelerate", self._acceleration.add, records)
            case Decelerate(records):
                self._accelerated("queue", self._acceleration.remove, records)
        if len(self._gathered) >= TOGETHER:
            self.settle()

    def settle(self) -> None:
        """What was gathered is done."""
        if self._gathered:
            changes, self._gathered = self._gathered, []
            for record, installed, error in self._conntrack.change(changes):
                self._refused("install" if installed else "remove", str(record.client), error)

    def activity(self) -> FlowActivity:
        """What has passed unseen since the last time; raises OSError."""
        return FlowActivity(tuple(self._acceleration.read()))

    def _accelerated(
        self, what: str, effect: Callable[..., None], records: tuple[FlowRecord, ...]
    ) -> None:
        try:
            effect(key for record in records for key in keys(record))
        except OSError as error:
            self._refused(what, str(records[0].client), error)
