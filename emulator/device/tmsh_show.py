"""What tmsh prints of roles, mirroring, virtual servers and variables. Pure formatting.

Layouts, each after what is published:
- `show cm traffic-group`: an 11.x listing (title and header between two rules, columns Name,
  Device, Status, Next Active; `traffic-group-local-only  -`).
- `show cm failover-status`: captured on 16.0.0.1 ("Color  green", "Status  ACTIVE", "Summary
  1/1 active", "Details  active for /Common/traffic-group-1"; then CM::Failover Connections: a row
  per local address with remote device, packets received, last packet, status "Ok"). The captures
  name these columns; their exact headings are not published with them.
- `show sys ha-mirror`: its text is not published but for the title "HA Mirror Status" and that
  each row says `connected` when it is; the columns are the fields of the REST statistics of a
  14.1.2.1 (genieparser, test_get_sys_ha_mirror), under their REST names.
- `show sys failover`: "Failover active for 0d 01:20:32" (12.x).
- `show net rst-cause`: a listing with rules, the title and "RST Cause:  Count", causes padded to
  the longest, counts right-aligned.
- `show ltm persistence persist-records`: a 15.x listing of one source-address record, and the
  empty one of a 14.1.2.1 (genieparser).
- `show ltm virtual`, `show ltm pool members`: listings with Status and Traffic blocks; columns
  ClientSide, Ephemeral, General and ServerSide. Only what the device counts is printed.
- `list ltm virtual`, `list sys db`: configuration stanzas (F5 tmsh reference; `list sys db
  statemirror.secure all-properties`, published in a migration guide).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from emulator.core.config import ANY_PORT, Snat, VirtualServer
from emulator.core.device import Device
from emulator.core.flow import Flow
from emulator.core.operate import PROTECTIONS, SWITCHES
from emulator.device.tmsh_connections import quantity
from emulator.wire.segment import Endpoint

LOCAL_ONLY = "traffic-group-local-only"


def traffic_groups(device: Device) -> str:
    """Both devices' places in the one floating traffic group."""
    role, peer = device.failover.role.value, _peer_role(device)
    group = device.config.traffic_group
    rows = [
        (group, device.config.name, role, _next(not device.active and peer == "active")),
        (group, device.peer_name or "-", peer, _next(device.active and peer == "standby")),
    ]
    rows = sorted(rows, key=lambda row: row[1])
    names = ("Name", "Device", "Status")
    widths = [max(len(r[i]) for r in [*rows, names]) for i in range(3)]
    widths[0] = max(widths[0], len(LOCAL_ONLY))

    def line(cells: Sequence[str]) -> str:
        padded = (cell.ljust(width) for cell, width in zip(cells, widths, strict=False))
        return "  ".join([*padded, *cells[3:]]).rstrip()

    rule = "-" * (sum(widths) + 12)
    head = [rule, "CM::Traffic-Group", line((*names, "Next")), line(("", "", "", "Active")), rule]
    return "\n".join([*head, *map(line, rows), f"{LOCAL_ONLY:<{widths[0]}}  -"])


def _next(is_next: bool) -> str:
    return "true" if is_next else "false"


def _peer_role(device: Device) -> str:
    return {True: "active", False: "standby", None: "offline"}[device.failover.peer_active]


def failover(device: Device, now: float) -> str:
    """For how long the role has been what it is."""
    seconds = int(now - device.failover.since)
    days, rest = divmod(seconds, 86400)
    clock = f"{rest // 3600:02}:{rest // 60 % 60:02}:{rest % 60:02}"
    return f"Failover {device.failover.role.value} for {days}d {clock}"


def failover_status(device: Device, now: float) -> str:
    """The role, and the heartbeats heard."""
    config, role = device.config, device.failover.role.value
    rows = [
        ("Color", "green" if device.active else "gray"),
        ("Status", role.upper()),
        ("Summary", f"1/1 {role}"),
        ("Details", f"{role} for /Common/{config.traffic_group}"),
    ]
    rule = "-" * 49
    status = [rule, "CM::Failover Status", rule, *(f"{n:<8} {value}" for n, value in rows)]
    heard = device.failover.peer_active is not None
    header = (
        "Local Failover Address",
        "Remote Device",
        "Packets Received",
        "Last Packet",
        "Status",
    )
    ago = f"{max(0, int(now - device.last_heartbeat))}s ago" if device.heartbeats else "never"
    row = (
        f"{config.ha_address}:{config.heartbeat_port}", device.peer_name or "-",
        str(device.heartbeats), ago, "Ok" if heard else "Error",
    )  # fmt: skip
    return "\n".join([*status, "", *_table("CM::Failover Connections", header, [row])])


def ha_mirror(device: Device, now: float) -> str:
    """The mirroring channel: one TMM, one traffic group."""
    lag = device.sender.lag(now)
    flows = device.traffic.table.flows()
    layer4 = sum(not flow.standard for flow in flows)
    header = (
        "TMM", "Traffic Group", "Primary", "Secondary", "L4 Mirrorable", "L7 Mirrorable",
        "Buffered", "Overflows", "Errors",
    )  # fmt: skip
    row = (
        "0.0", f"/Common/{device.config.traffic_group}",
        "connected" if device.channel_up else "closed", "closed",
        str(layer4), str(len(flows) - layer4), str(lag.octets), "0", str(device.refusals.total),
    )  # fmt: skip
    table = _table("HA Mirror Status", header, [row])
    return "\n".join([*table, *_protection(device), *_refused(device, now)])


def _protection(device: Device) -> list[str]:
    """What a BIG-IP keeps in its variables; only where one of them is on."""
    config = device.config
    if not (config.statemirror_secure or config.failover_secure):
        return []
    channel = device.channel_protection or "no channel"
    mirroring = channel if config.statemirror_secure else "clear text"
    heartbeats = "authenticated" if config.failover_secure else "not authenticated"
    return ["", f"Mirroring channel: {mirroring}. Heartbeats: {heartbeats}."]


def _refused(device: Device, now: float) -> list[str]:
    """Of the peer, or whoever says he is: only where there was anything to refuse."""
    rows = [
        (reason, str(tally.count), f"{max(0, int(now - tally.last))}s ago", tally.detail)
        for reason, tally in sorted(device.refusals.tallies.items())
    ]
    header = ("Reason", "Count", "Last", "Of the last")
    return ["", *_table("Refused", header, rows)] if rows else []


def reset_causes(device: Device) -> str:
    """Resets this device has sent, by cause."""
    causes = sorted(device.traffic.reset_causes.items())
    widest = max([len(cause) for cause, _ in causes] + [len("RST Cause:")])
    rule = "-" * (widest + 7)
    head = [rule, "TCP/IP Reset Cause", f"{'RST Cause:':<{widest}}  Count", rule]
    return "\n".join([*head, *(f"{cause:<{widest}}  {count:>5}" for cause, count in causes)])


def persistence_records(records: Iterable[Mapping[str, object]]) -> str:
    """`records`: {mode, client, virtual_server, member, age_s} as the device's status has them."""
    rows = [
        (str(r["mode"]).replace("_", "-"), str(r["client"]), str(r["virtual_server"]),
         str(r["member"]), "(tmm: 0)")
        for r in records
    ]  # fmt: skip
    lines = ["  ".join(row) for row in rows]
    return "\n".join(
        ["Sys::Persistent Connections", *lines, f"Total records returned: {len(rows)}"]
    )


def virtual_servers(device: Device, servers: Sequence[VirtualServer]) -> str:
    """`show ltm virtual`, a block each."""
    return "\n\n".join(_virtual(device, server) for server in servers)


def _virtual(device: Device, server: VirtualServer) -> str:
    rule = "-" * 66
    flows = [f for f in device.traffic.table.flows() if f.record.virtual_server == server.name]
    status = [
        ("Availability", "available" if server.pool else "unknown"),
        ("State", "enabled"),
        ("Reason", "The virtual server is available"),
        ("CMP", "enabled"),
        ("CMP Mode", "all-cpus"),
        ("Destination", _listens_on(server)),
    ]
    sent = sum(f.client_side.octets for f in flows), sum(f.client_side.packets for f in flows)
    back = sum(f.server_side.octets for f in flows), sum(f.server_side.packets for f in flows)
    traffic = [
        ("Bits In", quantity(sent[0] * 8)),
        ("Bits Out", quantity(back[0] * 8)),
        ("Packets In", quantity(sent[1])),
        ("Packets Out", quantity(back[1])),
        ("Current Connections", str(len(flows))),
    ]
    lines = [rule, f"Ltm::Virtual Server: {server.name}", rule, "Status"]
    lines += [f"  {name:<17}: {value}" for name, value in status]
    lines += ["", f"{'Traffic':<36}{'ClientSide':<12}{'Ephemeral':<11}General"]
    lines += [f"  {name:<34}{value:>10}{'0':>11}{'-':>9}" for name, value in traffic]
    return "\n".join(lines)


def pool_members(device: Device, servers: Sequence[VirtualServer]) -> str:
    """`show ltm pool members`: the pools have their virtual servers' names, with `_pool`."""
    flows = device.traffic.table.flows()
    return "\n\n".join("\n".join(_pool(s, flows)) for s in servers if not s.forwarding)


def _pool(server: VirtualServer, flows: Sequence[Flow]) -> list[str]:
    rule, inner = "-" * 66, f"  {'-' * 62}"
    status = [
        ("Availability", "available"),
        ("State", "enabled"),
        ("Reason", "The pool is available"),
        ("Monitor", "none"),
        ("Minimum Active Members", "0"),
        ("Current Active Members", str(len(server.pool))),
    ]
    lines = [rule, f"Ltm::Pool: {pool_name(server)}", rule, "Status"]
    lines += [f"  {name:<23}: {value}" for name, value in status]
    for member in server.pool:
        mine = [
            f
            for f in flows
            if f.record.virtual_server == server.name and f.record.member.address == member.address
        ]
        lines += ["", inner, f"  | Ltm::Pool Member: {_destination(member)}", inner, "  | Status"]
        for name, value in (
            ("Availability", "available"),
            ("State", "enabled"),
            ("Reason", "Pool member is available"),
        ):
            lines.append(f"  |   {name:<15}: {value}")
        to = sum(f.client_side.octets for f in mine), sum(f.client_side.packets for f in mine)
        back = sum(f.server_side.octets for f in mine), sum(f.server_side.packets for f in mine)
        lines += ["  |", f"  | {'Traffic':<41}{'ServerSide':<12}General"]
        for name, value in (
            ("Bits In", quantity(back[0] * 8)),
            ("Bits Out", quantity(to[0] * 8)),
            ("Packets In", quantity(back[1])),
            ("Packets Out", quantity(to[1])),
            ("Current Connections", str(len(mine))),
        ):
            lines.append(f"  |   {name:<23}{value:>26}{'-':>9}")
    return lines


def pool_name(server: VirtualServer) -> str:
    """The device's configuration knows pools as part of their virtual server."""
    return f"{server.name}_pool"


def _destination(end: Endpoint) -> str:
    return f"{end.address}:{'any' if end.port == ANY_PORT else end.port}"


def list_virtual_servers(servers: Sequence[VirtualServer]) -> str:
    """`list ltm virtual`: stanzas, properties in alphabetical order."""
    return "\n".join(_stanza(server) for server in servers)


def _stanza(server: VirtualServer) -> str:
    lines = [f"ltm virtual {server.name} {{", f"    destination {_listens_on(server)}"]
    if server.forwarding:
        lines.append("    ip-forward")
    lines += [f"    ip-protocol {server.protocol.value}", f"    mask {_mask(server)}"]
    lines.append(f"    mirror {_enabled(server.mirroring)}")
    if server.persistence_s:
        lines += ["    persist {", "        source_addr {", "            default yes"]
        lines += ["        }", "    }"]
    if not server.forwarding:
        lines.append(f"    pool {pool_name(server)}")
    profile = "tcp" if server.standard else "fastL4"
    lines += ["    profiles {", f"        {profile} {{ }}", "    }", "    source 0.0.0.0/0"]
    if server.snat is not Snat.NONE:
        lines.append("    source-address-translation {")
        if server.snat is not Snat.AUTOMAP:
            lines.append(f"        pool {server.name}_snat")
        kinds = {Snat.AUTOMAP: "automap", Snat.DETERMINISTIC: "lsn"}
        lines += [f"        type {kinds.get(server.snat, 'snat')}", "    }"]
    if server.change_port:
        lines.append("    source-port change")
    lines += [f"    translate-address {_enabled(not server.forwarding)}"]
    same = server.forwarding or all(m.port == ANY_PORT for m in server.pool)
    return "\n".join([*lines, f"    translate-port {_enabled(not same)}", "}"])


def _listens_on(server: VirtualServer) -> str:
    """A forwarding one has a network, whatever its `destination` says."""
    if server.network is None:
        return _destination(server.destination)
    return _destination(Endpoint(server.network.network_address, server.destination.port))


def _mask(server: VirtualServer) -> str:
    if server.network is None:
        return "255.255.255.255"
    return "any" if server.network.prefixlen == 0 else str(server.network.netmask)


def _enabled(on: bool) -> str:
    return "enabled" if on else "disabled"


def variables(device: Device) -> dict[str, tuple[str, str, str]]:
    """The db variables this device acts on: name -> value, default, range."""
    config = device.config
    found = {
        "failover.nettimeoutsec": (f"{config.failover_timeout_s:g}", "3", "integer min:1 max:120"),
        "statemirror.state": ("enable", "enable", "disable enable"),
    }
    for name, (what, on, off) in SWITCHES.items():
        found[name] = (on if getattr(config, what) else off, on, f"{off} {on}")
    for name, (what, on, off) in PROTECTIONS.items():
        found[name] = (on if getattr(config, what) else off, off, f"{off} {on}")
    return dict(sorted(found.items()))


def list_variables(device: Device, names: Sequence[str], *, everything: bool) -> str:
    """`list sys db`; `everything`: all-properties."""
    known = variables(device)
    lines = []
    for name in names:
        value, default, allowed = known[name]
        lines.append(f"sys db {name} {{")
        if everything:
            lines += [f'    default-value "{default}"', '    scf-config "true"']
        lines.append(f'    value "{value}"')
        if everything:
            lines.append(f'    value-range "{allowed}"')
        lines.append("}")
    return "\n".join(lines)


def _table(title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Title and header between two rules, columns two spaces apart."""
    widths = [max(len(row[i]) for row in [header, *rows]) for i in range(len(header))]
    lines = [
        "  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip()
        for row in [header, *rows]
    ]
    rule = "-" * max(map(len, lines))
    return [rule, title, lines[0], rule, *lines[1:]]
