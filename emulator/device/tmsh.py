"""The device's answers to tmsh commands, in the device's own columns. Pure formatting.

Layouts: `show sys connection` after a published 11.x/13.x listing (client-side client,
client-side server, server-side client, server-side server, protocol, idle seconds, TMM,
acceleration; two spaces between columns, left-aligned); `show net rst-cause` pads the
cause to 35 columns.
"""

from __future__ import annotations

from collections.abc import Callable

from emulator.core.device import Device
from emulator.core.flow import Flow
from emulator.wire.segment import PROTO_UDP

HELP = (
    "show sys connection [type mirror]",
    "show sys failover",
    "show cm failover-status",
    "show net rst-cause",
    "run sys failover standby",
)


class TmshError(ValueError):
    """Not a command this device knows; the text is what tmsh prints."""


def answer(device: Device, line: str, now: float) -> str:
    """The text `line` prints; raises TmshError. "run" commands are not for here."""
    words = tuple(word for word in line.replace("/", "").split() if word)
    formatter = _FORMATTERS.get(words)
    if formatter is None:
        known = "\n".join(f"  {command}" for command in HELP)
        raise TmshError(f'Syntax Error: unexpected argument "{line}"\nknown here:\n{known}')
    return formatter(device, now)


def connections(flows: list[Flow], now: float, *, mirrored: bool) -> str:
    """`show sys connection`, or with `mirrored` its `type mirror` form."""
    rows = [_row(flow, now) for flow in flows if flow.mirrored or not mirrored]
    widths = [max(len(row[i]) for row in rows) for i in range(8)] if rows else []
    lines = ["  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)) for row in rows]
    head = ["Sys::Connections", *(line.rstrip() for line in lines)]
    return "\n".join([*head, f"Total records returned: {len(rows)}"])


def _row(flow: Flow, now: float) -> tuple[str, ...]:
    record = flow.record
    ends = (record.client, record.virtual, record.snat, record.member)
    idle = str(max(0, int(now - flow.seen)))
    protocol = "udp" if record.protocol == PROTO_UDP else "tcp"
    return (*map(str, ends), protocol, idle, "(tmm: 0)", "none")


def _failover(device: Device, now: float) -> str:
    seconds = int(now - device.failover.since)
    days, rest = divmod(seconds, 86400)
    clock = f"{rest // 3600:02}:{rest // 60 % 60:02}:{rest % 60:02}"
    return f"Failover {device.failover.role.value} for {days}d {clock}"


def _failover_status(device: Device, now: float) -> str:
    role = device.failover.role.value
    color = "green" if device.active else "gray"
    rows = [("Color", color), ("Status", role.upper()), ("Summary", f"1/1 {role}")]
    rows.append(("Details", f"{role} for /Common/{device.config.traffic_group}"))
    return "\n".join(["CM::Failover Status", *(f"{name:<8} {value}" for name, value in rows)])


def _rst_cause(device: Device, now: float) -> str:
    causes = sorted(device.traffic.reset_causes.items())
    return "\n".join(["TCP/IP Reset Cause", *(f"{cause:<35}{count}" for cause, count in causes)])


def _connections(device: Device, now: float) -> str:
    return connections(device.traffic.table.flows(), now, mirrored=False)


def _mirrored(device: Device, now: float) -> str:
    return connections(device.traffic.table.flows(), now, mirrored=True)


_FORMATTERS: dict[tuple[str, ...], Callable[[Device, float], str]] = {
    ("show", "sys", "connection"): _connections,
    ("show", "sys", "connection", "type", "mirror"): _mirrored,
    ("show", "sys", "failover"): _failover,
    ("show", "cm", "failover-status"): _failover_status,
    ("show", "net", "rst-cause"): _rst_cause,
}
