"""The on-premises world: shared segments, floating addresses, ARP. Pure.

Both devices stand in the same segments; what fails over is an address on a wire, not a route
in somebody's cloud. The router, the switch and the backends believe what ARP tells them::

    +--------+  10.0.1.0/24  +--------+            external segment 10.99.0.0/24
    | client |---------------| router |.1 ------+-------------------+-------------
    +--------+ .10        .1 +--------+         |                   |
                                           .11 ext             .12 ext
       virtual servers  10.99.0.10 ...    +---------+  .11 ha  +---------+
       floating self IP 10.99.0.5         | bigip-a |==========| bigip-b |  10.77.0.0/24
       floating self IP 10.88.0.1         +---------+     .12  +---------+
       SNAT pool        10.88.0.10 ...     .11 int             .12 int
                                                |                   |
                internal segment 10.88.0.0/24 --+-------+-----------+-------+-----
                                                        |                   |
                                                  +-----------+       +-----------+
                                                  | backend-1 |.101   | backend-2 |.102
                                                  +-----------+       +-----------+

`switch` holds the three segments, a Linux bridge each, with a forwarding table that learns
and ages as bridges do. The backends' default gateway is the floating internal self IP. The
ranges of virtual servers and SNAT pools are those of the cloud world (there they are routed,
here they are segments), so a scenario can be run in either.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from ipaddress import IPv4Address, IPv4Interface, IPv4Network

from netns.plan import (
    AddAddress,
    AddBridge,
    AddLink,
    AddNamespace,
    AddRoute,
    JoinBridge,
    SetOffload,
    SetSysctl,
    Step,
    own_tcp,
    router_mac,
)
from netns.topology import (
    ROUTER,
    SNAT_RANGE,
    SWITCH,
    VIRTUAL_RANGE,
    NetworkInterface,
    Subnet,
    World,
)

KIND = "onprem"
SEGMENTS = {
    "external": VIRTUAL_RANGE,
    "internal": SNAT_RANGE,
    "ha": IPv4Network("10.77.0.0/24"),
}
CLIENTS = IPv4Network("10.0.1.0/24")
GATEWAY = IPv4Address("10.99.0.1")  # the router's address in the external segment
FLOATING = {  # floating self IPs, by the devices' interface
    "ext": IPv4Address("10.99.0.5"),
    "int": IPv4Address("10.88.0.1"),
}
MASQUERADE_MAC = "02:6d:6c:00:0f:01"  # traffic-group-1's
_ANY = IPv4Network("0.0.0.0/0")
_DATA = ("ext", "int")


def onprem(lab: str) -> World:
    """The on-premises world. A subnet's name is that of its segment."""
    rows = [
        ("client", "eth0", "clients", 10),
        (ROUTER, "ext", "external", 1),
        ("bigip-a", "ext", "external", 11),
        ("bigip-a", "int", "internal", 11),
        ("bigip-a", "ha", "ha", 11),
        ("bigip-b", "ext", "external", 12),
        ("bigip-b", "int", "internal", 12),
        ("bigip-b", "ha", "ha", 12),
        ("backend-1", "eth0", "internal", 101),
        ("backend-2", "eth0", "internal", 102),
    ]
    interfaces = tuple(_interface(n, *row) for n, row in enumerate(rows, 1))
    nodes = ("client", ROUTER, SWITCH, *dict.fromkeys(i.node for i in interfaces[2:]))
    return World(lab, nodes, interfaces, kind=KIND)


def segment_of(address: IPv4Address) -> str | None:
    """The devices' interface in whose segment an address lies."""
    for interface, segment in (("ext", "external"), ("int", "internal")):
        if address in SEGMENTS[segment]:
            return interface
    return None


def addresses_in_use() -> dict[IPv4Address, str]:
    """Every address that has an owner, and who it is; a virtual server needs one of its own."""
    taken = {i.address: i.node for i in onprem("x").interfaces}
    return taken | {address: f"the floating self IP of {i}" for i, address in FLOATING.items()}


def _interface(number: int, node: str, name: str, segment: str, host: int) -> NetworkInterface:
    network = SEGMENTS.get(segment, CLIENTS)
    device = node.startswith("bigip-")
    return NetworkInterface(
        id=f"{node}-{name}",
        node=node,
        name=name,
        subnet=Subnet(segment, network, "-", ""),
        address=network.network_address + host,
        mac=f"02:6d:6c:00:00:{number:02x}",
        source_dest_check=False,
        uplink=ROUTER if node == "client" else SWITCH,
        shared_mac=MASQUERADE_MAC if device and name in _DATA else "",
    )


def plan(world: World, arp_cache_s: Mapping[str, float] | None = None) -> list[Step]:
    """Everything that makes the world, in order.

    `arp_cache_s`: node -> seconds for which it trusts an ARP entry it does not hear from;
    a node that is not named keeps the kernel's default (30 s).
    """
    steps: list[Step] = list(_namespaces(world))
    steps += [AddBridge(world.namespace(SWITCH), segment) for segment in SEGMENTS]
    for interface in world.interfaces:
        steps += _link(world, interface)
        steps.append(
            AddAddress(world.namespace(interface.node), interface.name, interface.with_prefix)
        )
    steps += _routing(world)
    for node, seconds in (arp_cache_s or {}).items():
        for interface in world.of(node):
            key = f"net.ipv4.neigh.{interface.name}.base_reachable_time_ms"
            steps.append(SetSysctl(world.namespace(node), key, str(int(seconds * 1000))))
    return steps


def _namespaces(world: World) -> Iterator[Step]:
    for node in world.nodes:
        namespace = world.namespace(node)
        yield AddNamespace(namespace)
        yield own_tcp(namespace)
        for scope in ("all", "default"):
            yield SetSysctl(namespace, f"net.ipv6.conf.{scope}.disable_ipv6", "1")
            yield SetSysctl(namespace, f"net.ipv4.conf.{scope}.rp_filter", "0")
            yield SetSysctl(namespace, f"net.ipv4.conf.{scope}.send_redirects", "0")
        if node.startswith("bigip-"):
            # The kernel answers for an interface's own address and asks with it; for what
            # floats (on lo) the device answers itself.
            for scope in ("all", "default"):
                yield SetSysctl(namespace, f"net.ipv4.conf.{scope}.arp_ignore", "1")
                yield SetSysctl(namespace, f"net.ipv4.conf.{scope}.arp_announce", "2")
    yield SetSysctl(world.namespace(ROUTER), "net.ipv4.ip_forward", "1")


def _link(world: World, interface: NetworkInterface) -> Iterator[Step]:
    near, far = world.namespace(interface.node), world.namespace(interface.uplink)
    yield AddLink(
        near, interface.name, interface.mac, far, interface.router_name, router_mac(interface)
    )
    yield SetOffload(near, interface.name, False)
    yield SetOffload(far, interface.router_name, False)
    if interface.uplink == SWITCH:
        yield JoinBridge(far, interface.router_name, interface.subnet.name)


def _routing(world: World) -> Iterator[Step]:
    """Default gateways; the router's own leg to the client."""
    client = world.interface("client", "eth0")
    gateway = IPv4Interface(f"{client.subnet.gateway}/{client.subnet.network.prefixlen}")
    yield AddAddress(world.namespace(ROUTER), client.router_name, gateway)
    yield AddRoute(world.namespace("client"), _ANY, "eth0", client.subnet.gateway)
    yield AddRoute(world.namespace(ROUTER), SEGMENTS["internal"], "ext", FLOATING["ext"])
    for interface in world.interfaces:
        namespace = world.namespace(interface.node)
        if interface.node.startswith("bigip-") and interface.name == "ext":
            yield AddRoute(namespace, _ANY, "ext", GATEWAY)
        if interface.node.startswith("backend-"):
            yield AddRoute(namespace, _ANY, interface.name, FLOATING["int"])


def picture(world: World) -> str:
    """The world as text, one line per interface, grouped by node."""
    lines = [
        f"  {node:<10} {i.name:<5} {i.with_prefix!s:<17} {i.subnet.name:<9}"
        f"-- {i.uplink}:{i.router_name}"
        for node in world.nodes
        for i in world.of(node)
    ]
    lines += [
        f"  floating   {i:<5} {a}  (the active device's self IP)" for i, a in FLOATING.items()
    ]
    return "\n".join(lines)
