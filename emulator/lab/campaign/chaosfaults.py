"""The campaign's faults as things done to a running lab: each begins, and most end.

What a fault of the network does is done where the devices' links end (the router, on-premises
the switch), so a device knows nothing of it but what it hears and misses.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
from pathlib import Path

from pyroute2 import NFCTSocket

from emulator.lab import heartbeats
from emulator.lab.apifaults import api_fault, toggle_api
from emulator.lab.campaign.chaosplan import Fault, Kind
from emulator.lab.campaign.corrupt import Corruptor
from emulator.lab.campaign.skew import SkewedLab
from emulator.lab.channelfaults import queues
from emulator.lab.deployment import DEVICES
from emulator.lab.faults import forget_connections, silence, silence_ends, trigger
from emulator.lab.settings.scenario import How
from netns.execute import call_in, run

_TABLE = "chaos_channel"
_PORT = 1029
_API_ERRORS = {
    Kind.API_ERRORS: ("InternalError", 500),
    Kind.API_THROTTLED: ("RequestLimitExceeded", 503),
}


class Faults:
    """What has been done to one lab and not been undone. Methods raise NamespaceError,
    ControlError, LabFault."""

    def __init__(self, lab: SkewedLab) -> None:
        self._lab = lab
        self.off: set[str] = set()  # devices without a process
        self._silent: set[str] = set()
        self._stopped: list[int] = []
        self._mute = False
        self._corruptor: Corruptor | None = None

    # Devices.

    def fail(self, node: str, how: How) -> None:
        """No effect on a device that is off."""
        if node in self.off:
            return
        if how is How.LINK_DOWN:
            self._silence(node)
            return
        trigger(self._lab, node, how)
        if how is How.POWER_OFF:
            self._silent.add(node)
            call_in(self._lab.world.namespace(node), _forget_flows)
        if how in (How.POWER_OFF, How.PROCESS_CRASH):
            self.off.add(node)

    def revive(self, node: str) -> None:
        """A device that is off begins anew; of one that is cut off the links carry again."""
        if node in self.off:
            forget_connections(self._lab, node)  # silences as well
            call_in(self._lab.world.namespace(node), _forget_flows)
            silence_ends(self._lab, node)
            self._silent.discard(node)
            self._lab.start_device(node)
            self.off.discard(node)
        elif node in self._silent:
            silence_ends(self._lab, node)
            self._silent.discard(node)

    def _silence(self, node: str) -> None:
        if node not in self._silent:
            silence(self._lab, node)
            self._silent.add(node)

    # Between the devices.

    def harm_channel(self, fault: Fault, sender: str) -> None:
        """Instead of any earlier fault of the channel; `sender`: whose side of a one-way loss."""
        self.heal_channel()
        world = self._lab.world
        links = {node: world.interface(node, "ha") for node in DEVICES}
        uplink = world.namespace(links[DEVICES[0]].uplink)
        names = {node: link.router_name for node, link in links.items()}
        if fault.kind is Kind.CHANNEL_CORRUPT:
            self._corruptor = Corruptor(world.namespace(sender), _PORT, fault.rate)
            self._corruptor.start()
            return
        if fault.kind is Kind.CHANNEL_SLOW:
            for name in names.values():
                for command in queues(name, fault.bits_per_s):
                    run(uplink, ["tc", *command])
            rule = "meta priority set 1:10"
        else:
            rule = "drop"
        lost = [sender] if fault.kind is Kind.CHANNEL_ONE_WAY else list(DEVICES)
        if self._lab.scenario.world == "onprem":
            text = _at_ingress([names[node] for node in lost], rule)
        else:
            text = _forwarded([names[node] for node in lost], rule)
        run(uplink, ["nft", "-f", "-"], stdin=text)

    def heal_channel(self) -> None:
        """Whatever fault of the channel there is ends."""
        if self._corruptor is not None:
            self._corruptor.stop()
            self._corruptor = None
        world = self._lab.world
        uplink = world.namespace(world.interface(DEVICES[0], "ha").uplink)
        for line in run(uplink, ["nft", "list", "tables"]).splitlines():
            if line.endswith(f" {_TABLE}"):
                run(uplink, ["nft", "delete", *line.split()])
        for node in DEVICES:
            name = world.interface(node, "ha").router_name
            if "htb 1:" in run(uplink, ["tc", "qdisc", "show", "dev", name]):
                run(uplink, ["tc", "qdisc", "delete", "dev", name, "root"])

    def lose_heartbeats(self) -> None:
        if not self._mute:
            heartbeats.lose(self._lab)
            self._mute = True

    def heal_heartbeats(self) -> None:
        if self._mute:
            heartbeats.heal(self._lab)
            self._mute = False

    # The cloud's API.

    def harm_api(self, fault: Fault, node: str) -> None:
        if fault.kind is Kind.API_OUTAGE:
            if not api_fault(self._lab):
                toggle_api(self._lab)
        elif fault.kind is Kind.TRIGGER_LOST:
            self._stop_extension(node)
        else:
            code, status = _API_ERRORS[fault.kind]
            row = {"action": "*", "code": code, "status": status, "rate": fault.rate}
            self._api_faults.write_text(json.dumps([row]))

    def heal_api(self) -> None:
        self._api_faults.unlink(missing_ok=True)
        for pid in self._stopped:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
        self._stopped.clear()
        if self._lab.scenario.world == "cloud" and api_fault(self._lab):
            toggle_api(self._lab)

    @property
    def _api_faults(self) -> Path:
        return self._lab.folder / "api-faults.json"

    def _stop_extension(self, node: str) -> None:
        """The device's failover extension hears its trigger only once it is let go on."""
        if node in self.off:
            return
        for pid in _descendants(int((self._lab.folder / f"{node}.pid").read_text())):
            command = Path(f"/proc/{pid}/cmdline")
            with contextlib.suppress(OSError):
                if b"emulator.device.extension" in command.read_bytes():
                    os.kill(pid, signal.SIGSTOP)
                    self._stopped.append(pid)

    # Clocks, and all of it.

    def step_clock(self, node: str, seconds: float) -> None:
        self._lab.step_clock(node, seconds)

    def heal(self) -> None:
        """Everything that was done is undone; devices that are off are switched on."""
        self.heal_api()
        self.heal_heartbeats()
        self.heal_channel()
        for node in DEVICES:
            self._lab.step_clock(node, 0.0)
            self.revive(node)


def _at_ingress(names: list[str], rule: str) -> str:
    """On-premises the HA network is bridged: nothing is forwarded by IP there."""
    chains = "".join(
        f"    chain from_{number} {{\n"
        f'    type filter hook ingress device "{name}" priority 0; policy accept;\n'
        f"    tcp dport {_PORT} {rule}\n    tcp sport {_PORT} {rule}\n    }}\n"
        for number, name in enumerate(names)
    )
    return f"table netdev {_TABLE} {{\n{chains}}}\n"


def _forwarded(names: list[str], rule: str) -> str:
    rules = "".join(
        f'    iifname "{name}" tcp {end} {_PORT} {rule}\n'
        for name in names
        for end in ("sport", "dport")
    )
    return (
        f"table ip {_TABLE} {{\n    chain forward {{\n"
        f"    type filter hook forward priority 10; policy accept;\n{rules}    }}\n}}\n"
    )


def _forget_flows() -> None:
    """A machine without power remembers no flow; the namespace's connection tracking would."""
    with NFCTSocket() as conntrack:
        conntrack.flush()


def _descendants(pid: int) -> list[int]:
    found = [pid]
    for process in found:
        for path in Path(f"/proc/{process}/task").glob("*/children"):
            with contextlib.suppress(OSError):
                found += map(int, path.read_text().split())
    return found
