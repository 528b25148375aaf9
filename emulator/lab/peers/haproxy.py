"""HAProxy's configuration: mode tcp, a full proxy of its own. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from emulator.core.config import Config, Snat, VirtualServer
from emulator.lab.peers.rules import snat_address

PROGRAM = "haproxy"


def configuration(config: Config, server: VirtualServer, ports: Iterable[int]) -> str:
    """haproxy.cfg of one device: those ports of the virtual server's address, each to the same
    port of a member in turn, idle for as long as the virtual server allows."""
    source = snat_address(config, server)
    seen = "0.0.0.0 usesrc clientip" if server.snat is Snat.NONE else str(source)
    binds = [f"    bind {server.destination.address}:{port}" for port in sorted(ports)]
    members = [f"    server member-{n} {member.address}" for n, member in enumerate(server.pool, 1)]
    return "\n".join(
        [
            "global",
            "    log stdout format raw local0",
            "defaults",
            "    mode tcp",
            "    log global",
            "    option tcplog",
            "    timeout connect 5s",
            f"    timeout client {server.idle_timeout_s}s",
            f"    timeout server {server.idle_timeout_s}s",
            f"listen {server.name}",
            *binds,
            "    balance roundrobin",
            f"    source {seen}",
            *members,
            "",
        ]
    )
