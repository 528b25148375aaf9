"""What a peer's data plane cannot be asked for. Pure."""

from __future__ import annotations

from emulator.lab.settings.cloud import Cloud
from emulator.lab.settings.devices import Devices, VirtualServer
from emulator.lab.settings.mirror_channel import MirrorChannel


def check_data_plane(
    devices: Devices, server: VirtualServer, cloud: Cloud, channel: MirrorChannel | None
) -> None:
    """Raises ValueError for a setting that `devices.data_plane` would silently not have."""
    peer = devices.data_plane
    if peer == "bigip":
        return
    proxy = peer == "haproxy"
    beside = "standard" if proxy else "fastL4"
    wrong = {
        f"stands beside a {beside} virtual server (virtual_server.type)": server.type != beside,
        "mirrors nothing (virtual_server.mirroring: false)": proxy and server.mirroring,
        "resets what it does not know (devices.reject_unmatched: true)": proxy
        and not devices.reject_unmatched,
        "translates to one address (virtual_server.snat_pool)": len(server.snat_pool) > 1,
        "knows no loose close (virtual_server.loose_close)": server.loose_close and not proxy,
        "serves TCP (virtual_server.protocol)": server.protocol != "tcp",
        "knows no port blocks (virtual_server.snat)": server.snat == "deterministic",
        "chooses ports as its kernel does (virtual_server.source_port)": server.source_port
        != "preserve",
        "takes members in turn (virtual_server.persistence)": server.persistence is not None,
        "keeps idle flows as its kernel does (virtual_server.idle_timeout_s)": not proxy
        and server.idle_timeout_s != VirtualServer.model_fields["idle_timeout_s"].default,
        "has no channel or heartbeats of ours to secure (devices.statemirror_secure, "
        "devices.failover_secure)": devices.secured,
        "kicks nobody (devices.takeover_kick)": devices.takeover_kick,
        "answers no load balancer's probes (cloud.load_balancer)": cloud.load_balancer is not None,
        "has no channel on TCP 1029 to harm (mirror_channel)": channel is not None,
    }
    for text, is_wrong in wrong.items():
        if is_wrong:
            raise ValueError(f"devices.data_plane: {peer} {text}")
