"""What a device answers when asked for its status. Pure."""

from __future__ import annotations

from emulator.core.device import Device


def of(device: Device, now: float) -> dict[str, object]:
    """Role, mirroring, flows, persistence records and resets, as JSON has them."""
    lag, flows = device.sender.lag(now), device.traffic.table.flows()
    return {
        "device": device.config.name,
        "role": device.failover.role.value,
        "since_s": round(now - device.failover.since, 1),
        "peer_active": device.failover.peer_active,
        "mirror_channel": "up" if device.channel_up else "down",
        "flows": len(flows),
        "mirrored_flows": sum(flow.mirrored for flow in flows),
        "mirror_lag": {
            "messages": lag.messages,
            "bytes": lag.octets,
            "seconds": round(lag.seconds, 3),
        },
        "protection": device.channel_protection,
        "refused": device.refusals.counts,
        "persistence": device.traffic.persistence.listing(now),
        "reset_causes": device.traffic.reset_causes,
    }
