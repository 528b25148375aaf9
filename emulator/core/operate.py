"""What an operator changes on a running device, through tmsh. Pure.

A changed virtual server or variable counts for what happens from then on: as on a BIG-IP, a
connection is mirrored or not as its virtual server said when it was made (F5: "BIG-IP only
mirrors records created after mirroring is enabled").
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from emulator.core.commands import Command, Note
from emulator.core.device import Device
from emulator.core.events import OperatorStandby
from emulator.core.flow import Flow
from emulator.core.proxy import ends

# The variables the device acts on: name -> (what of the configuration, on, off).
SWITCHES = {
    "tm.rejectunmatched": ("reject_unmatched", "true", "false"),
    "tm.fastl4_ack_mirror": ("ack_mirror", "enable", "disable"),
}


# The same, and off where nothing is said; a change of the first ends the channel of before.
PROTECTIONS = {
    "statemirror.secure": ("statemirror_secure", "enable", "disable"),
    "failover.secure": ("failover_secure", "enable", "disable"),
}


class Refused(ValueError):
    """The device does not do that now; the text says why."""


def stand_by(device: Device, now: float) -> list[Command]:
    """`run sys failover standby`; raises Refused on a device that is not active."""
    if not device.active:
        raise Refused(f"{device.config.name} is not active: nothing to fail over")
    return [Note("operator-standby"), *device.handle(OperatorStandby(), now)]


def set_mirroring(device: Device, name: str, enabled: bool, now: float) -> list[Command]:
    """`modify ltm virtual NAME mirror ...`; raises Refused for a name that does not exist."""
    servers = device.config.virtual_servers
    if name not in [server.name for server in servers]:
        raise Refused(f"01020036:3: The requested Virtual Server (/Common/{name}) was not found.")
    changed = tuple(
        replace(server, mirroring=enabled) if server.name == name else server for server in servers
    )
    device.reconfigure(replace(device.config, virtual_servers=changed), now)
    return [Note("virtual-modified", {"virtual_server": name, "mirroring": enabled})]


def set_variable(device: Device, name: str, value: str, now: float) -> list[Command]:
    """`modify sys db NAME value VALUE`; raises Refused."""
    switches = SWITCHES | PROTECTIONS
    if name not in switches:
        raise Refused(f"{name}: this device takes no other value than it has")
    what, on, off = switches[name]
    if value not in (on, off):
        raise Refused(f'01071008:3: "{value}" is no value of {name}: {off} {on}')
    before = device.config
    device.reconfigure(replace(before, **{what: value == on}), now)  # type: ignore[arg-type]
    note = Note("variable-modified", {"name": name, "value": value})
    if device.config.statemirror_secure != before.statemirror_secure:
        return [note, *device.drop_channel(f"{name} was changed", now)]
    return [note]


def delete_connections(device: Device, flows: Sequence[Flow], now: float) -> list[Command]:
    """`delete sys connection`. On a standby its entry alone goes: it serves none."""
    commands: list[Command] = []
    for flow in flows:
        if device.active:
            commands += device.traffic.delete(flow, now)
        else:
            device.traffic.table.remove(flow)
            commands.append(Note("flow-deleted", ends(flow)))
    return commands
