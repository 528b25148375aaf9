"""What can make the active device stop: one function per way.

A dead device must be silent before its process dies: otherwise its kernel closes sockets
and resets peers, which is a different failure. `silence` drops every IP packet at the
device's edge, both ways, and lets nothing else out (ARP); the links stay up, so captures
still show what was sent to it.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable

from emulator.lab import heartbeats
from emulator.lab.instance import Lab
from emulator.lab.settings.scenario import How
from emulator.lab.wait import wait_until
from netns.execute import run

_SILENCE = (
    "table ip silence {\n"
    "    chain in {\n    type filter hook prerouting priority -500; policy drop;\n    }\n"
    "    chain out {\n    type filter hook output priority -500; policy drop;\n    }\n"
    "    chain through {\n    type filter hook postrouting priority -500; policy drop;\n    }\n"
    "}\n"
)


def trigger(lab: Lab, node: str, how: How) -> None:
    """Fail `node` over; raises ControlError, NamespaceError."""
    (lab.folder / "moment").touch()  # an outage of the cloud's API is timed from here
    _WAYS[how](lab, node)


def silence(lab: Lab, node: str) -> None:
    """Nothing enters or leaves the node any more."""
    run(lab.world.namespace(node), ["nft", "-f", "-"], stdin=_SILENCE)
    _qdiscs(lab, node, "replace dev {} root blackhole")


def silence_ends(lab: Lab, node: str) -> None:
    """The node's links carry packets again."""
    _qdiscs(lab, node, "delete dev {} root")
    run(lab.world.namespace(node), ["nft", "delete", "table", "ip", "silence"])


def _qdiscs(lab: Lab, node: str, command: str) -> None:
    """What leaves an interface passes its qdisc, whoever sent it: the kernel's ARP, too."""
    lines = "".join(f"qdisc {command.format(i.name)}\n" for i in lab.world.of(node))
    run(lab.world.namespace(node), ["tc", "-batch", "-"], stdin=lines)


def _force_standby(lab: Lab, node: str) -> None:
    lab.tmsh(node, "run sys failover standby")


def _power_off(lab: Lab, node: str) -> None:
    silence(lab, node)
    _kill(lab, node)
    forget_connections(lab, node)


def forget_connections(lab: Lab, node: str) -> None:
    """The node's kernel has no TCP connection left, and tells nobody; raises LabFault."""
    silence(lab, node)
    wait_until(f"{node} to forget its connections", lambda: _forgets(lab, node), timeout_s=5)


def _forgets(lab: Lab, node: str) -> bool:
    """A machine without power remembers nothing. The namespace's kernel would: connections of
    the dead process linger, and hold their ports when the device is switched on again."""
    namespace = lab.world.namespace(node)
    run(namespace, ["ss", "--kill", "--tcp", "--all", "--numeric"])
    return not run(namespace, ["ss", "--tcp", "--all", "--numeric", "--no-header"]).strip()


def _kill(lab: Lab, node: str) -> None:
    for name in lab.programs_of(node):
        pid = lab.forget_process(name)
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


_WAYS: dict[How, Callable[[Lab, str], None]] = {
    How.FORCE_STANDBY: _force_standby,
    How.POWER_OFF: _power_off,
    How.PROCESS_CRASH: _kill,
    How.LINK_DOWN: silence,
    How.HEARTBEATS_LOST: lambda lab, _: heartbeats.lose(lab),
}
