"""What the kernel does with flows by itself: translate and forward them, pass them unseen."""

from __future__ import annotations

from emulator.core.commands import Accelerate, Decelerate, InstallFlow, RemoveFlow
from emulator.core.events import FlowActivity
from emulator.core.flow import keys
from emulator.kernel.acceleration import Acceleration
from emulator.kernel.conntrack import Conntrack


class KernelFlows:
    """Connection tracking and the set of accelerated flows, of the thread's namespace."""

    def __init__(self) -> None:
        self._conntrack = Conntrack()
        self._acceleration = Acceleration()

    def carry_out(self, command: InstallFlow | RemoveFlow | Accelerate | Decelerate) -> None:
        """Raises OSError when the kernel refuses."""
        match command:
            case InstallFlow(record):
                self._conntrack.install(record)
            case RemoveFlow(record):
                self._conntrack.remove(record)
            case Accelerate(records):
                self._acceleration.add(key for record in records for key in keys(record))
            case Decelerate(records):
                self._acceleration.remove(key for record in records for key in keys(record))

    def activity(self) -> FlowActivity:
        """What has passed unseen since the last time; raises OSError."""
        return FlowActivity(tuple(self._acceleration.read()))


def what(command: InstallFlow | RemoveFlow | Accelerate | Decelerate) -> tuple[str, str]:
    """For the journal, should the kernel refuse: what was to be done, and to which client's."""
    match command:
        case InstallFlow(record):
            return "install", str(record.client)
        case RemoveFlow(record):
            return "remove", str(record.client)
        case Accelerate(records):
            return "accelerate", str(records[0].client)
        case Decelerate(records):
            return "queue", str(records[0].client)
