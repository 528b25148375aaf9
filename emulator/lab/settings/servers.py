"""What makes a virtual server of a scenario impossible, beyond the type of each setting. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from ipaddress import IPv4Address

from emulator.core.natmap import PortBlocks
from emulator.lab.settings.cloud import Route
from emulator.lab.settings.devices import VirtualServer
from netns.topology import World, cloud

SECOND_CLIENT = IPv4Address("10.0.1.11")  # the client's, where a scenario needs another one
DATAGRAM_SESSIONS = frozenset({"udp"})
SHORT_SESSIONS = frozenset({"reconnect"})  # no flow of theirs lasts


def check(server: VirtualServer, world: str, sessions: Collection[str]) -> None:
    """Raises ValueError."""
    if server.persistence_mirroring and server.persistence is None:
        raise ValueError("virtual_server.persistence_mirroring: there is no persistence")
    if server.protocol != "tcp" and server.type == "standard":
        raise ValueError(
            f"virtual_server.protocol {server.protocol}: a standard one is for tcp here"
        )
    if server.source_port == "change" and server.snat != "pool":
        raise ValueError("virtual_server.source_port change is for snat pool")
    if server.snat == "deterministic":
        _check_blocks(server)
    if server.type == "forwarding":
        if server.persistence is not None:
            raise ValueError("virtual_server.persistence: a forwarding one chooses no member")
        if world != "cloud":
            raise ValueError("virtual_server.type forwarding is for world cloud")
    datagrams = DATAGRAM_SESSIONS & set(sessions)
    if datagrams and server.protocol == "tcp":
        raise ValueError(f"sessions: {min(datagrams)} needs virtual_server.protocol udp or any")
    if server.protocol == "udp" and (others := set(sessions) - DATAGRAM_SESSIONS):
        raise ValueError(f"sessions: {min(others)} needs virtual_server.protocol tcp or any")
    if "reconnect" in sessions and world != "cloud":
        raise ValueError("sessions: reconnect is for world cloud, its client has two addresses")


def check_forwarded(server: VirtualServer, routes: Iterable[Route]) -> None:
    """A cloud leads to the devices only what is routed there. Raises ValueError."""
    plain = cloud("x")
    for member in server.pool:
        network = plain.interface(member, "eth0").subnet.network
        routed = [r for r in routes if r.table == "rtb-client" and r.destination == network]
        if not routed:
            raise ValueError(
                f"virtual_server.type forwarding: no route of rtb-client to {network}, the "
                f"subnet of {member}, leads there by the devices"
            )
        if not network.subnet_of(server.network):
            raise ValueError(f"virtual_server.network {server.network} has no {member} in it")


def member_address(built: World, server: VirtualServer) -> IPv4Address:
    """What clients of a forwarding virtual server connect to: the first backend itself."""
    return built.interface(server.pool[0], "eth0").address


def snat_addresses(server: VirtualServer) -> tuple[IPv4Address, ...]:
    """The pool's, where it is in use."""
    return server.snat_pool if server.snat in ("pool", "deterministic") else ()


def _check_blocks(server: VirtualServer) -> None:
    try:
        PortBlocks(server.subscribers, server.snat_pool)
    except ValueError as error:
        raise ValueError(f"virtual_server.snat deterministic: {error}") from None
    client = cloud("x").interface("client", "eth0").address
    if client not in server.subscribers:
        raise ValueError(
            f"virtual_server.subscribers {server.subscribers} leaves out the client, {client}"
        )
