"""`show sys connection` and `delete sys connection`: which flows, and in which columns. Pure.

Layouts
- a row per connection: a published 11.x listing of `show /sys connection type mirror`
  (james-denton.com, "F5 connection mirroring"): client-side client, client-side server,
  server-side client, server-side server, protocol, idle seconds, TMM, acceleration; two spaces
  between columns, left-aligned. Later versions print a second `none` (neuron), which is left out.
- `all-properties`: a published 13.x listing of one connection (title of the four ends, 2-space
  indented properties, then a ClientSide and a ServerSide column). MAC addresses are not known to
  the device's model: `Lasthop` and `Server Nexthop` name the interface only.
- filters: `tmsh help sys connection` (cs-client-addr, cs-client-port, cs-server-addr,
  cs-server-port, ss-client-addr, ss-client-port, ss-server-addr, ss-server-port, protocol, age,
  type), as far as they make sense here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from ipaddress import AddressValueError, IPv4Address

from emulator.core.config import Config
from emulator.core.flow import Flow
from emulator.wire.mirror import FlowRecord
from emulator.wire.segment import Endpoint

FILTERS = (
    "cs-client-addr", "cs-client-port", "cs-server-addr", "cs-server-port",
    "ss-client-addr", "ss-client-port", "ss-server-addr", "ss-server-port",
    "protocol", "age", "type",
)  # fmt: skip
TYPES = ("any", "mirror", "self")
_ENDS = {"cs-client": "client", "cs-server": "virtual", "ss-client": "snat", "ss-server": "member"}


class FilterError(ValueError):
    """A filter's value makes no sense; the text is for the operator."""


def chosen(flows: Iterable[Flow], filters: Mapping[str, str], now: float) -> list[Flow]:
    """The flows that pass every filter; raises FilterError.

    `type`: "mirror" the mirrored ones, "self" those of this device alone; `age`: at least so
    many seconds old.
    """
    wanted = {name: _value(name, text) for name, text in filters.items()}
    return [f for f in flows if all(_passes(f, n, value, now) for n, value in wanted.items())]


def _value(name: str, text: str) -> object:
    if name == "type":
        if text not in TYPES:
            raise FilterError(f'Syntax Error: unexpected argument "{text}"')
        return text
    if name == "protocol":
        return text
    try:
        return IPv4Address(text) if name.endswith("-addr") else int(text)
    except (AddressValueError, ValueError):
        raise FilterError(f'01070587:3: The requested {name} ("{text}") is invalid.') from None


def _passes(flow: Flow, name: str, value: object, now: float) -> bool:
    match name:
        case "type":
            return value == "any" or (value == "mirror") == flow.mirrored
        case "protocol":
            return protocol(flow.record) == value
        case "age":
            return isinstance(value, int) and now - flow.created >= value
    end: Endpoint = getattr(flow.record, _ENDS[name.rsplit("-", 1)[0]])
    return (end.address if name.endswith("-addr") else end.port) == value


def protocol(record: FlowRecord) -> str:
    """As the fifth column has it."""
    return {17: "udp"}.get(getattr(record, "protocol", 6), "tcp")


def connections(flows: list[Flow], now: float, *, mirrored: bool) -> str:
    """One row each; with `mirrored` only the mirrored ones."""
    return listing(chosen(flows, {"type": "mirror"} if mirrored else {}, now), now)


def listing(flows: list[Flow], now: float) -> str:
    """One row each."""
    rows = [_row(flow, now) for flow in flows]
    widths = [max(len(row[i]) for row in rows) for i in range(8)] if rows else []
    lines = ["  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)) for row in rows]
    head = ["Sys::Connections", *(line.rstrip() for line in lines)]
    return "\n".join([*head, f"Total records returned: {len(rows)}"])


def properties(flows: list[Flow], config: Config, now: float) -> str:
    """`all-properties`: a block each."""
    blocks = ["\n".join(_block(flow, config, now)) for flow in flows]
    total = f"Total records returned: {len(flows)}"
    return "\n".join(["Sys::Connections", *(f"{block}\n" for block in blocks), total])


def _row(flow: Flow, now: float) -> tuple[str, ...]:
    record = flow.record
    ends = (record.client, record.virtual, record.snat, record.member)
    return (*map(str, ends), protocol(record), str(idle(flow, now)), "(tmm: 0)", "none")


def idle(flow: Flow, now: float) -> int:
    """Whole seconds since a packet of it was seen."""
    return max(0, int(now - flow.seen))


def _block(flow: Flow, config: Config, now: float) -> list[str]:
    record = flow.record
    title = " - ".join(map(str, (record.client, record.virtual, record.snat, record.member)))
    inside = _interface(config, record.member)
    told = {
        "TMM": "0",
        "Type": "mirror" if flow.mirrored else "any",
        "Acceleration": "none",
        "Protocol": protocol(record),
        "Idle Time": str(idle(flow, now)),
        "Idle Timeout": str(record.idle_timeout_s),
        "Unit ID": "1",
        "Lasthop": f"/Common/{_interface(config, record.client)}",
        "Server Nexthop": f"/Common/{inside}",
        "Virtual Path": str(record.virtual),
        "Conn Id": "0",
    }
    lines = [title, "-" * len(title)]
    unpadded = ("Server Nexthop", "Conn Id")  # so published
    for name, value in told.items():
        lines.append(f"  {name} {value}" if name in unpadded else f"  {name:<14}{value}")
    return [*lines, "", *_sides(flow)]


def _interface(config: Config, end: Endpoint) -> str:
    reaching = (
        s.interface for s in config.self_ips if any(end.address in net for net in s.reaches)
    )
    return next(reaching, config.data_interfaces[0])


def _sides(flow: Flow) -> list[str]:
    record, client, server = flow.record, flow.client_side, flow.server_side
    rows = [
        ("", "ClientSide", "ServerSide"),
        ("Client Addr", str(record.client), str(record.snat)),
        ("Server Addr", str(record.virtual), str(record.member)),
        ("Bits In", quantity(client.octets * 8), quantity(server.octets * 8)),
        ("Bits Out", quantity(server.octets * 8), quantity(client.octets * 8)),
        ("Packets In", str(client.packets), str(server.packets)),
        ("Packets Out", str(server.packets), str(client.packets)),
    ]
    first, second = (max(len(row[i]) for row in rows) for i in (1, 2))
    return [f"  {name:<11}  {a:>{first}}  {b:>{second}}".rstrip() for name, a, b in rows]


def quantity(number: int) -> str:
    """As tmsh abbreviates: 999, 5.0K, 34.8M."""
    for unit, size in (("G", 10**9), ("M", 10**6), ("K", 10**3)):
        if number >= size:
            return f"{number / size:.1f}{unit}"
    return str(number)
