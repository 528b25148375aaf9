"""A scenario as a world and as two device configurations. Pure."""

from __future__ import annotations

from dataclasses import asdict, replace
from enum import Enum
from ipaddress import IPv4Address

from emulator.core import config as device
from emulator.lab.control_plane import access, extra_routes, with_addresses
from emulator.lab.settings.fabric import filters
from emulator.lab.settings.scenario import Scenario
from emulator.lab.settings.servers import SECOND_CLIENT, member_address, snat_addresses
from emulator.lab.workload.applications import PORTS
from emulator.wire.segment import Endpoint
from netns.onprem import FLOATING, KIND, MASQUERADE_MAC, onprem
from netns.topology import ROUTER, NetworkInterface, World, cloud

DEVICES = ("bigip-a", "bigip-b")
BACKENDS = ("backend-1", "backend-2")
HEALTH_PORT = 8080
TRAFFIC_GROUP = "traffic-group-1"


def world(scenario: Scenario, lab: str) -> World:
    """The world; a cloud's routes lead to bigip-a, which is first in the HA order."""
    if scenario.world == KIND:
        return onprem(lab)
    routes = extra_routes(scenario, DEVICES[0]) | {
        (str(route.table), route.destination): f"eni-{DEVICES[0]}-{route.interface}"
        for route in scenario.cloud.routes
    }
    built = with_addresses(scenario, cloud(lab, routes, zones=scenario.cloud.zones), *DEVICES)
    if "reconnect" in scenario.sessions:
        client = built.interface("client", "eth0").id
        built = replace(built, secondary=built.secondary | {SECOND_CLIENT: client})
    balancer = scenario.cloud.load_balancer
    if balancer is None or not balancer.translates:
        return built
    outer = (built.interface(node, "ext").id for node in DEVICES)
    return replace(
        built, secondary=built.secondary | dict(zip(balancer.private, outer, strict=True))
    )


def entry_address(scenario: Scenario) -> IPv4Address:
    """What clients connect to: the elastic IP, where there is one; behind a forwarding virtual
    server the backend itself."""
    elastic, server = scenario.cloud.elastic_ips, scenario.virtual_server
    if server.type == "forwarding":
        return member_address(world(scenario, "x"), server)
    return elastic[0].public if elastic else server.destination


def destination_on(scenario: Scenario, node: str) -> IPv4Address:
    """The virtual server's address on one device: behind an elastic IP, or a load balancer that
    translates, each has its own."""
    elastic, balancer = scenario.cloud.elastic_ips, scenario.cloud.load_balancer
    if elastic:
        return elastic[0].private[DEVICES.index(node)]
    if balancer is not None and balancer.translates:
        return balancer.private[DEVICES.index(node)]
    return scenario.virtual_server.destination


def device_config(scenario: Scenario, built: World, node: str) -> device.Config:
    """What one device is told."""
    server = scenario.virtual_server
    peer = DEVICES[1 - DEVICES.index(node)]
    data = [i for i in built.of(node) if i.name != "ha"]
    shared = built.kind == KIND
    floats = shared and scenario.onprem.floating_self_ips
    return device.Config(
        name=node,
        order=DEVICES.index(node),
        traffic_group=TRAFFIC_GROUP,
        ha_address=built.interface(node, "ha").address,
        peer_ha_address=built.interface(peer, "ha").address,
        self_ips=(
            *(device.SelfIp(i.name, i.address, (i.subnet.network, *i.routes)) for i in data),
            *(_floating_self_ip(i) for i in data if floats),
        ),
        virtual_servers=(
            device.VirtualServer(
                name="vs_alien",
                destination=Endpoint(destination_on(scenario, node), device.ANY_PORT),
                pool=tuple(
                    Endpoint(built.interface(member, "eth0").address, device.ANY_PORT)
                    for member in server.pool
                ),
                snat=device.Snat(server.snat),
                snat_pool=server.snat_pool,
                mirroring=server.mirroring,
                loose_initiation=server.loose_initiation,
                loose_close=server.loose_close,
                accelerated=server.pva_acceleration == "full",
                idle_timeout_s=server.idle_timeout_s,
                type=device.ServerType(server.type),
                commit=device.Commit(server.commit),
                remirror=server.commit == "sync" if server.remirror is None else server.remirror,
                protocol=device.Protocol(server.protocol),
                udp_idle_timeout_s=server.udp_idle_timeout_s,
                network=server.network if server.type == "forwarding" else None,
                persistence_s=server.persistence_timeout_s if server.persistence else 0,
                persistence_mirroring=server.persistence_mirroring,
                change_port=server.source_port == "change",
                subscribers=server.subscribers if server.snat == "deterministic" else None,
            ),
            *_health(scenario, built, node),
        ),
        cloud_failover=None if shared else access(scenario, built, node, DEVICES),
        floating=_floating(scenario) if shared else (),
        gratuitous_arp=scenario.devices.gratuitous_arp,
        mac_masquerade=MASQUERADE_MAC if scenario.devices.mac_masquerade else "",
        ports=tuple(device.Port(i.name, i.mac) for i in data) if shared else (),
        failover_timeout_s=scenario.devices.failover_timeout_s,
        ack_mirror=scenario.devices.ack_mirror,
        reject_unmatched=scenario.devices.reject_unmatched,
        rebuild_automap=scenario.devices.rebuild_automap,
        takeover_kick=scenario.devices.takeover_kick,
        statemirror_secure=scenario.devices.statemirror_secure,
        failover_secure=scenario.devices.authenticated,
        mirror_limits=device.MirrorLimits(**scenario.devices.mirror_limits.model_dump()),
    )


def arp_cache_s(scenario: Scenario) -> dict[str, float]:
    """For how long each neighbour of the devices trusts an ARP entry."""
    backends = dict.fromkeys(BACKENDS, scenario.onprem.backend_arp_cache_s)
    return {ROUTER: scenario.onprem.router_arp_cache_s, **backends}


def _floating_self_ip(interface: NetworkInterface) -> device.SelfIp:
    address = FLOATING[interface.name]
    return device.SelfIp(interface.name, address, (interface.subnet.network,), floating=True)


def _floating(scenario: Scenario) -> tuple[device.FloatingAddress, ...]:
    """What the active device answers ARP for: self IPs, virtual address, SNAT addresses."""
    server = scenario.virtual_server
    selves = FLOATING.items() if scenario.onprem.floating_self_ips else ()
    addresses = [*selves, ("ext", server.destination)]
    addresses += [("int", a) for a in snat_addresses(server)]
    return tuple(device.FloatingAddress(interface, address) for interface, address in addresses)


def dataplane_config(scenario: Scenario, built: World) -> dict[str, object] | None:
    """What the fabric's data plane is told; None where routes alone decide."""
    cloud_ = scenario.cloud
    names = {f"{i.node}:{i.name}": i.router_name for i in built.interfaces}
    found = filters(cloud_.security_groups, cloud_.firewall, names, cloud_.provider)
    if not found and not cloud_.links and cloud_.load_balancer is None:
        return None
    return {
        "filters": found,
        "links": {names[name]: link.model_dump() for name, link in cloud_.links.items()},
        "balancer": _balancer_config(scenario, built),
    }


def _balancer_config(scenario: Scenario, built: World) -> dict[str, object] | None:
    balancer = scenario.cloud.load_balancer
    if balancer is None:
        return None
    outer = [built.interface(node, "ext") for node in DEVICES]
    policy = {
        key: value.value if isinstance(value, Enum) else value
        for key, value in asdict(balancer.policy).items()
    }
    return {
        "entry": built.interface("client", "eth0").router_name,
        "frontend": str(entry_address(scenario)),
        "targets": [
            {
                "name": i.node,
                "interface": i.router_name,
                "gateway": str(i.subnet.gateway),
                "address": str(i.address),
                "port": HEALTH_PORT,
            }
            for i in outer
        ],
        "private": list(map(str, balancer.private)) if balancer.translates else [],
        "policy": policy,
    }


def _health(scenario: Scenario, built: World, node: str) -> tuple[device.VirtualServer, ...]:
    """The virtual server that answers health probes, where there are any: on the device's own
    outer address, and like every one of the traffic group served by the active device only."""
    if scenario.cloud.load_balancer is None:
        return ()
    member = built.interface(scenario.virtual_server.pool[0], "eth0").address
    return (
        device.VirtualServer(
            name="vs_health",
            destination=Endpoint(built.interface(node, "ext").address, HEALTH_PORT),
            pool=(Endpoint(member, PORTS["echo"]),),
        ),
    )
