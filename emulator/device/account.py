"""A device's account of itself for operators: what `status` and `flows` answer. Pure.

A flow: `client`, `virtual`, `snat`, `member` ("address:port"), `protocol` (tcp, udp, or an IP
protocol's number), `virtual_server`, `standard`,
`mirrored` (it is held by the peer, as far as acknowledged, or held for it), `asked` (mirroring
was on when it was made), `age_s`, `idle_s`, `packets` and `bytes` {`to_server`, `to_client`},
`state`; of a standby also `serves_as`: the SNAT address and port it would send on from, or
`unusable`: why it could not serve the flow.
"""

from __future__ import annotations

from emulator.core.addresses import NoAddress
from emulator.core.device import Device
from emulator.core.flow import Flow
from emulator.core.tracker import NotRestorable
from emulator.wire.mirror import VERSION, SnatKind
from emulator.wire.segment import PROTO_TCP, PROTO_UDP

_PROTOCOLS = {PROTO_TCP: "tcp", PROTO_UDP: "udp"}


def more(device: Device, now: float) -> dict[str, object]:
    """What a readiness check wants to know beside the rest of the status."""
    since = device.channel_since
    return {
        "mirror_version": VERSION,
        "traffic_group": device.config.traffic_group,
        "mirror_channel_s": None if since is None else round(now - since, 1),
        "secure": {
            "statemirror": device.config.statemirror_secure,
            "failover": device.config.failover_secure,
        },
        "heartbeat_age_s": round(now - device.last_heartbeat, 1),
        "virtual_servers": {
            v.name: {
                "mirror": v.mirroring,
                "channel": v.mirrors_anything,
                "type": v.type.value,
                "snat": v.snat.value,
            }
            for v in device.config.virtual_servers
        },
    }


def flows(device: Device, now: float) -> list[dict[str, object]]:
    """Every flow, oldest first."""
    return [_flow(device, flow, now) for flow in device.traffic.table.flows()]


def _flow(device: Device, flow: Flow, now: float) -> dict[str, object]:
    record, client, server = flow.record, flow.client_side, flow.server_side
    told: dict[str, object] = {
        "client": str(record.client),
        "virtual": str(record.virtual),
        "snat": str(record.snat),
        "member": str(record.member),
        "protocol": _PROTOCOLS.get(record.protocol, str(record.protocol)),
        "virtual_server": record.virtual_server,
        "standard": flow.standard,
        "mirrored": flow.mirrored,
        "asked": flow.asked,
        "state": flow.state.value,
        "age_s": round(now - flow.created, 1),
        "idle_s": round(now - flow.seen, 1),
        "packets": {"to_server": client.packets, "to_client": server.packets},
        "bytes": {"to_server": client.octets, "to_client": server.octets},
    }
    return told if device.active else told | _at_takeover(device, flow, now)


def _at_takeover(device: Device, flow: Flow, now: float) -> dict[str, object]:
    """What this standby would make of it, were it to take over now."""
    if not device.traffic.has_virtual_server(flow.record):
        return {"unusable": f"no virtual server here is for {flow.record.virtual}"}
    try:
        adopted = device.traffic.served_as(flow.record)
        if flow.tracker is not None:
            flow.tracker.plan(adopted, now)
    except (NoAddress, NotRestorable) as error:
        return {"unusable": str(error)}
    own = {s.address for s in device.config.self_ips}
    if adopted.snat_kind is SnatKind.AUTOMAP and adopted.snat.address not in own:
        return {"unusable": f"its SNAT address {adopted.snat.address} is a self IP of the peer's"}
    return {"serves_as": str(adopted.snat)}
