"""A scenario as a world and as two device configurations. Pure."""

from __future__ import annotations

from emulator.core import config as device
from emulator.lab.control_plane import access, extra_routes, with_addresses
from emulator.lab.scenario import Scenario
from emulator.wire.segment import Endpoint
from netns.topology import World, cloud

DEVICES = ("bigip-a", "bigip-b")
BACKENDS = ("backend-1", "backend-2")
TRAFFIC_GROUP = "traffic-group-1"


def world(scenario: Scenario, lab: str) -> World:
    """The world, its routes towards bigip-a, which is first in the HA order."""
    routes = extra_routes(scenario, DEVICES[0]) | {
        (str(route.table), route.destination): f"eni-{DEVICES[0]}-{route.interface}"
        for route in scenario.cloud.routes
    }
    return with_addresses(scenario, cloud(lab, routes), *DEVICES)


def device_config(scenario: Scenario, built: World, node: str) -> device.Config:
    """What one device is told."""
    server = scenario.virtual_server
    peer = DEVICES[1 - DEVICES.index(node)]
    return device.Config(
        name=node,
        order=DEVICES.index(node),
        traffic_group=TRAFFIC_GROUP,
        ha_address=built.interface(node, "ha").address,
        peer_ha_address=built.interface(peer, "ha").address,
        self_ips=tuple(
            device.SelfIp(i.name, i.address, (i.subnet.network, *i.routes))
            for i in built.of(node)
            if i.name != "ha"
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
            ),
        ),
        cloud_failover=access(scenario, built, node, DEVICES),
        failover_timeout_s=scenario.devices.failover_timeout_s,
        ack_mirror=scenario.devices.ack_mirror,
        reject_unmatched=scenario.devices.reject_unmatched,
        rebuild_automap=scenario.devices.rebuild_automap,
    )
