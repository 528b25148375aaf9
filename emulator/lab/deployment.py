"""A scenario as a world and as two device configurations. Pure."""

from __future__ import annotations

from emulator.core import config as device
from emulator.lab.control_plane import access, extra_routes, with_addresses
from emulator.lab.scenario import Scenario
from emulator.wire.segment import Endpoint
from netns.onprem import FLOATING, KIND, MASQUERADE_MAC, onprem
from netns.topology import ROUTER, NetworkInterface, World, cloud

DEVICES = ("bigip-a", "bigip-b")
BACKENDS = ("backend-1", "backend-2")
TRAFFIC_GROUP = "traffic-group-1"


def world(scenario: Scenario, lab: str) -> World:
    """The world; a cloud's routes lead to bigip-a, which is first in the HA order."""
    if scenario.world == KIND:
        return onprem(lab)
    routes = extra_routes(scenario, DEVICES[0]) | {
        (str(route.table), route.destination): f"eni-{DEVICES[0]}-{route.interface}"
        for route in scenario.cloud.routes
    }
    return with_addresses(scenario, cloud(lab, routes), *DEVICES)


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
                destination=Endpoint(server.destination, device.ANY_PORT),
                pool=tuple(
                    Endpoint(built.interface(member, "eth0").address, device.ANY_PORT)
                    for member in server.pool
                ),
                snat=device.Snat(server.snat),
                snat_pool=server.snat_pool,
                mirroring=server.mirroring,
                loose_initiation=server.loose_initiation,
                loose_close=server.loose_close,
                idle_timeout_s=server.idle_timeout_s,
                type=device.ServerType(server.type),
                commit=device.Commit(server.commit),
                remirror=server.commit == "sync" if server.remirror is None else server.remirror,
            ),
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
    addresses += [("int", a) for a in server.snat_pool if server.snat == "pool"]
    return tuple(device.FloatingAddress(interface, address) for interface, address in addresses)
