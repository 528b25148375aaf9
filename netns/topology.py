"""The world as values: nodes, network interfaces, subnets, route tables. Pure.

The cloud world. One subnet per node interface and zone; the router is the provider's
fabric and stands between all of them, as the hypervisors do in a VPC::

       zone a                     router                      zone b
    +----------+ 10.0.1.0/24   +----------+
    |  client  |---------------|          |
    +----------+               |          |
    +----------+ 10.0.10.0/24  |          |  10.0.20.0/24 +----------+
    |          |ext -----------|          |----------- ext|          |
    | bigip-a  |int 10.0.11 ---|          |--- 10.0.21 int| bigip-b  |
    |          |ha  10.0.12 ---|          |--- 10.0.22 ha |          |
    +----------+               |          |               +----------+
    +-----------+ 10.0.31.0/24 |          | 10.0.32.0/24 +-----------+
    | backend-1 |--------------|          |--------------| backend-2 |
    +-----------+              |          |              +-----------+
    +----------+ 10.0.2.0/24   |          |
    |   api    |---------------|          |   10.99.0.0/24 virtual servers, routed (alien)
    +----------+               +----------+   10.88.0.0/24 SNAT pool, routed (alien)

Or the pair stands in one zone (`zones` "one"): the same three subnets for both devices, .11 and
.12 in each, still with nothing but the fabric between them::

    +----------+ 10.0.10.0/24  |          |  10.0.10.0/24 +----------+
    |          |ext .11 -------|          |------- .12 ext|          |
    | bigip-a  |int .11 10.0.11|  router  |10.0.11 .12 int| bigip-b  |
    |          |ha  .11 10.0.12|          |10.0.12 .12  ha|          |
    +----------+               +----------+               +----------+

As in a VPC a packet's next hop is chosen by the route table of the subnet it *comes from*,
the fabric answers every ARP, and an instance's packets pass only with its own addresses
unless the interface's source/destination check is off.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from typing import Literal

Zones = Literal["two", "one"]
NAMESPACE_PREFIX = "ml"
ROUTER = "router"
SWITCH = "switch"
VIRTUAL_RANGE = IPv4Network("10.99.0.0/24")
SNAT_RANGE = IPv4Network("10.88.0.0/24")
API_PORT = 80


@dataclass(frozen=True)
class Subnet:
    """A VPC subnet: lives in one zone, follows one route table."""

    name: str
    network: IPv4Network
    zone: str
    route_table: str

    @property
    def gateway(self) -> IPv4Address:
        """The first address, which the fabric answers for."""
        return self.network.network_address + 1


@dataclass(frozen=True)
class NetworkInterface:
    """A network interface of a node, and the far end of its link: on `uplink`, which in the
    cloud is always the router. `shared_mac`: another MAC it may come to use (masquerade)."""

    id: str
    node: str
    name: str
    subnet: Subnet
    address: IPv4Address
    mac: str
    source_dest_check: bool = True
    default_route: bool = False
    routes: tuple[IPv4Network, ...] = ()
    uplink: str = ROUTER
    shared_mac: str = ""

    @property
    def router_name(self) -> str:
        """The name of the link's far end, on the router or the switch: what it leads to."""
        return f"{_SHORT.get(self.node, self.node)}-{self.name}"

    @property
    def with_prefix(self) -> IPv4Interface:
        return IPv4Interface(f"{self.address}/{self.subnet.network.prefixlen}")


@dataclass(frozen=True)
class World:
    """A whole lab world. `routes`: (route table, destination) -> network interface id.

    `elastic_ips`: public address -> (network interface id, its private address), as the
    internet gateway translates at first. `secondary`: secondary private address -> network
    interface id. Both are empty where a scenario asks for none. `kind`: "cloud", or
    "onprem" (`netns.onprem`), which has none of these.
    """

    lab: str
    nodes: tuple[str, ...]
    interfaces: tuple[NetworkInterface, ...]
    routes: dict[tuple[str, IPv4Network], str] = field(default_factory=dict)
    elastic_ips: dict[IPv4Address, tuple[str, IPv4Address]] = field(default_factory=dict)
    secondary: dict[IPv4Address, str] = field(default_factory=dict)
    kind: str = "cloud"

    def namespace(self, node: str) -> str:
        """The network namespace of a node; every one carries the lab's id."""
        return f"{NAMESPACE_PREFIX}-{self.lab}-{node}"

    def interface(self, node: str, name: str) -> NetworkInterface:
        """Raises KeyError for an interface that does not exist."""
        for interface in self.interfaces:
            if (interface.node, interface.name) == (node, name):
                return interface
        raise KeyError(f"{node}:{name}")

    def of(self, node: str) -> tuple[NetworkInterface, ...]:
        """A node's interfaces."""
        return tuple(i for i in self.interfaces if i.node == node)

    @property
    def route_tables(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(i.subnet.route_table for i in self.interfaces))


_SHARED = {"ext": "10.0.10.0/24", "int": "10.0.11.0/24", "ha": "10.0.12.0/24"}
_SHORT = {"bigip-a": "a", "bigip-b": "b", "backend-1": "be1", "backend-2": "be2"}


def _interface(
    number: int, node: str, name: str, zone: str, network: str, host: int, table: str
) -> NetworkInterface:
    subnet = Subnet(f"{node}-{name}", IPv4Network(network), zone, table)
    return NetworkInterface(
        id=f"eni-{node}-{name}",
        node=node,
        name=name,
        subnet=subnet,
        address=subnet.network.network_address + host,
        mac=f"02:6d:6c:00:00:{number:02x}",
        default_route=name in ("eth0", "ext"),
    )


def cloud(
    lab: str, routes: dict[tuple[str, IPv4Network], str] | None = None, *, zones: Zones = "two"
) -> World:
    """The cloud world; without `routes` both alien ranges lead to bigip-a. `zones`: of the
    devices, each in its own or both in one and the same subnets."""
    rows = [
        ("client", "eth0", "a", "10.0.1.0/24", 10, "rtb-client"),
        ("bigip-a", "ext", "a", "10.0.10.0/24", 11, "rtb-external"),
        ("bigip-a", "int", "a", "10.0.11.0/24", 11, "rtb-internal"),
        ("bigip-a", "ha", "a", "10.0.12.0/24", 11, "rtb-management"),
        ("bigip-b", "ext", "b", "10.0.20.0/24", 11, "rtb-external"),
        ("bigip-b", "int", "b", "10.0.21.0/24", 11, "rtb-internal"),
        ("bigip-b", "ha", "b", "10.0.22.0/24", 11, "rtb-management"),
        ("backend-1", "eth0", "a", "10.0.31.0/24", 100, "rtb-backend"),
        ("backend-2", "eth0", "b", "10.0.32.0/24", 100, "rtb-backend"),
        ("api", "eth0", "a", "10.0.2.0/24", 10, "rtb-management"),
    ]
    place = _together if zones == "one" else _interface
    interfaces = tuple(place(n, *row) for n, row in enumerate(rows, 1))
    backends = tuple(i.subnet.network for i in interfaces if i.node.startswith("backend"))
    management = (i.subnet for i in interfaces if i.subnet.route_table == "rtb-management")
    managed = tuple(dict.fromkeys(subnet.network for subnet in management))
    interfaces = tuple(_appliance(i, backends, managed) for i in interfaces)
    initial = {
        ("rtb-client", VIRTUAL_RANGE): "eni-bigip-a-ext",
        ("rtb-backend", SNAT_RANGE): "eni-bigip-a-int",
    }
    nodes = (ROUTER, *dict.fromkeys(i.node for i in interfaces))
    return World(lab, nodes, interfaces, initial if routes is None else routes)


def _together(
    number: int, node: str, name: str, zone: str, network: str, host: int, table: str
) -> NetworkInterface:
    """An interface of the world whose devices share one zone and its subnets."""
    if not node.startswith("bigip-"):
        return _interface(number, node, name, zone, network, host, table)
    subnet = Subnet(f"bigip-{name}", IPv4Network(_SHARED[name]), "a", table)
    place = {"bigip-a": host, "bigip-b": host + 1}[node]
    own = _interface(number, node, name, subnet.zone, _SHARED[name], place, table)
    return replace(own, subnet=subnet)


def _appliance(
    interface: NetworkInterface,
    backends: tuple[IPv4Network, ...],
    management: tuple[IPv4Network, ...],
) -> NetworkInterface:
    """What sets a device's interfaces apart: no source/destination check on the data
    interfaces, and routes out of the inner and the HA one."""
    if not interface.node.startswith("bigip-"):
        return interface
    routes = {"ext": (), "int": backends, "ha": management}[interface.name]
    return replace(
        interface,
        source_dest_check=interface.name == "ha",
        routes=tuple(r for r in routes if r != interface.subnet.network),
    )


def picture(world: World) -> str:
    """The world as text, one line per interface, grouped by node."""
    lines = []
    for node in world.nodes:
        for interface in world.of(node):
            check = "" if interface.source_dest_check else "  source/dest check off"
            lines.append(
                f"  {node:<10} {interface.name:<5} {interface.with_prefix!s:<17} "
                f"zone {interface.subnet.zone}  {interface.subnet.route_table:<15}"
                f"-- {ROUTER}:{interface.router_name}{check}"
            )
    lines += [
        f"  route      {table}: {destination} -> {target}"
        for (table, destination), target in world.routes.items()
    ]
    lines += [f"  secondary  {address} -> {target}" for address, target in world.secondary.items()]
    return "\n".join(line.rstrip() for line in lines)
