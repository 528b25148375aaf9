"""A world's construction as a list of steps. Pure; `build` carries them out.

Each step prints as the command a person would type, so that `mirrorlab up --dry-run` is
the truth about what `mirrorlab up` does.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface, IPv4Network

from netns.topology import ROUTER, NetworkInterface, World

INTERNET = "client"  # the node beyond the internet gateway
FIRST_TABLE = 100  # Linux routing tables 100, 101, ... stand for the VPC's route tables


@dataclass(frozen=True)
class AddNamespace:
    namespace: str

    def __str__(self) -> str:
        return f"ip netns add {self.namespace}"


@dataclass(frozen=True)
class SetSysctl:
    namespace: str
    key: str
    value: str

    def __str__(self) -> str:
        return f"ip netns exec {self.namespace} sysctl -w {self.key}={self.value}"


@dataclass(frozen=True)
class AddLink:
    """A veth pair straight into two namespaces; offloads off, both ends up."""

    namespace: str
    name: str
    mac: str
    peer_namespace: str
    peer_name: str
    peer_mac: str

    def __str__(self) -> str:
        return (
            f"ip link add {self.name} netns {self.namespace} address {self.mac} type veth "
            f"peer name {self.peer_name} netns {self.peer_namespace} address {self.peer_mac}"
        )


@dataclass(frozen=True)
class SetOffload:
    """Segmentation and checksum offload of one interface.

    Off for evidence: else captures hold super-packets and wrong checksums.
    """

    namespace: str
    name: str
    on: bool

    def __str__(self) -> str:
        state = "on" if self.on else "off"
        features = " ".join(f"{feature} {state}" for feature in ("tx", "tso", "gso", "gro"))
        return f"ip netns exec {self.namespace} ethtool -K {self.name} {features}"


@dataclass(frozen=True)
class AddAddress:
    namespace: str
    name: str
    address: IPv4Interface

    def __str__(self) -> str:
        return f"ip -n {self.namespace} address add {self.address} dev {self.name}"


@dataclass(frozen=True)
class AddNeighbour:
    """Permanent: a dead target must not turn into ARP failures and ICMP unreachables."""

    namespace: str
    name: str
    address: IPv4Address
    mac: str

    def __str__(self) -> str:
        return (
            f"ip -n {self.namespace} neigh add {self.address} lladdr {self.mac} "
            f"dev {self.name} nud permanent"
        )


@dataclass(frozen=True)
class AddRoute:
    """`table` 254 is main. `via` None: on-link. `name` empty: a blackhole."""

    namespace: str
    destination: IPv4Network
    name: str
    via: IPv4Address | None = None
    table: int = 254

    def __str__(self) -> str:
        via = f" via {self.via} onlink" if self.via else ""
        table = "" if self.table == 254 else f" table {self.table}"
        if not self.name:
            return f"ip -n {self.namespace} route replace blackhole {self.destination}{table}"
        return (
            f"ip -n {self.namespace} route replace {self.destination}{via} dev {self.name}{table}"
        )


@dataclass(frozen=True)
class AddRule:
    """Packets that come in by `name` follow `table`."""

    namespace: str
    name: str
    table: int

    def __str__(self) -> str:
        return f"ip -n {self.namespace} rule add iif {self.name} lookup {self.table}"


@dataclass(frozen=True)
class ApplyNft:
    namespace: str
    ruleset: str

    def __str__(self) -> str:
        return f"ip netns exec {self.namespace} nft -f - <<'END'\n{self.ruleset}END"


@dataclass(frozen=True)
class AddBridge:
    """A switch, without spanning tree; up."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"ip -n {self.namespace} link add {self.name} type bridge"


@dataclass(frozen=True)
class JoinBridge:
    """An interface becomes a port of the switch."""

    namespace: str
    name: str
    bridge: str

    def __str__(self) -> str:
        return f"ip -n {self.namespace} link set {self.name} master {self.bridge}"


Step = (
    AddNamespace
    | SetSysctl
    | AddLink
    | SetOffload
    | AddAddress
    | AddNeighbour
    | AddRoute
    | AddRule
    | ApplyNft
    | AddBridge
    | JoinBridge
)


def plan(world: World, *, offload: bool = False) -> list[Step]:
    """Everything that makes the world, in order."""
    return [
        *_namespaces(world),
        *(step for i in world.interfaces for step in _link(world, i, offload)),
        *(step for i in world.interfaces for step in _node_side(world, i)),
        *(step for i in world.interfaces for step in _router_side(world, i)),
        *_route_tables(world),
        ApplyNft(world.namespace(ROUTER), fabric_ruleset(world)),
    ]


def table_number(world: World, route_table: str) -> int:
    """The Linux table that stands for a VPC route table; ValueError if there is none."""
    return FIRST_TABLE + world.route_tables.index(route_table)


def address_steps(world: World, address: IPv4Address, target: str) -> list[AddRoute]:
    """The VPC's local route to a secondary private address, in every route table: to the network
    interface that has it, or nowhere."""
    destination = IPv4Network(f"{address}/32")
    return [route_step(world, table, destination, target) for table in world.route_tables]


def route_step(world: World, route_table: str, destination: IPv4Network, target: str) -> AddRoute:
    """The route of a VPC route table towards a network interface (or "blackhole")."""
    namespace, table = world.namespace(ROUTER), table_number(world, route_table)
    for interface in world.interfaces:
        if interface.id == target:
            return AddRoute(namespace, destination, interface.router_name, interface.address, table)
    return AddRoute(namespace, destination, "", None, table)


def counter_name(kind: str, interface: NetworkInterface) -> str:
    """The named counter of a drop in the fabric, e.g. "source-dest-check/a-ext"."""
    return f"{kind}/{interface.router_name}"


def own_tcp(namespace: str) -> SetSysctl:
    """The node's congestion control, not the host's: BBR paces a restored connection by a round
    trip measured across the outage. Reno is in every kernel and allowed in every namespace."""
    return SetSysctl(namespace, "net.ipv4.tcp_congestion_control", "reno")


def _namespaces(world: World) -> Iterator[Step]:
    for node in world.nodes:
        namespace = world.namespace(node)
        yield AddNamespace(namespace)
        yield own_tcp(namespace)
        yield SetSysctl(namespace, "net.ipv6.conf.all.disable_ipv6", "1")
        yield SetSysctl(namespace, "net.ipv6.conf.default.disable_ipv6", "1")
        yield SetSysctl(namespace, "net.ipv4.conf.all.rp_filter", "0")
        yield SetSysctl(namespace, "net.ipv4.conf.default.rp_filter", "0")
        for scope in ("all", "default"):  # the fabric is no hop that redirects
            yield SetSysctl(namespace, f"net.ipv4.conf.{scope}.send_redirects", "0")
            yield SetSysctl(namespace, f"net.ipv4.conf.{scope}.accept_redirects", "0")
    yield SetSysctl(world.namespace(ROUTER), "net.ipv4.ip_forward", "1")


def _link(world: World, interface: NetworkInterface, offload: bool) -> Iterator[Step]:
    node, router = world.namespace(interface.node), world.namespace(ROUTER)
    yield AddLink(
        node, interface.name, interface.mac, router, interface.router_name, router_mac(interface)
    )
    yield SetOffload(node, interface.name, offload)
    yield SetOffload(router, interface.router_name, offload)


def _node_side(world: World, interface: NetworkInterface) -> Iterator[Step]:
    namespace, gateway = world.namespace(interface.node), interface.subnet.gateway
    yield AddAddress(namespace, interface.name, interface.with_prefix)
    yield AddNeighbour(namespace, interface.name, gateway, router_mac(interface))
    for address, target in world.secondary.items():
        if target == interface.id and interface.source_dest_check:  # an end's: its own kernel's
            yield AddAddress(namespace, interface.name, IPv4Interface(f"{address}/32"))
    if interface.default_route:
        yield AddRoute(namespace, IPv4Network("0.0.0.0/0"), interface.name, gateway)
    for destination in interface.routes:
        yield AddRoute(namespace, destination, interface.name, gateway)


def _router_side(world: World, interface: NetworkInterface) -> Iterator[Step]:
    namespace, name = world.namespace(ROUTER), interface.router_name
    yield AddAddress(namespace, name, IPv4Interface(f"{interface.subnet.gateway}/32"))
    yield AddNeighbour(namespace, name, interface.address, interface.mac)
    # The fabric answers ARP for every address of the subnet, at once.
    yield SetSysctl(namespace, f"net.ipv4.conf.{name}.proxy_arp", "1")
    yield SetSysctl(namespace, f"net.ipv4.neigh.{name}.proxy_delay", "0")
    yield AddRule(namespace, name, table_number(world, interface.subnet.route_table))


def _route_tables(world: World) -> Iterator[Step]:
    """Each table: the VPC's local route (every interface), its own routes, else silence."""
    namespace = world.namespace(ROUTER)
    for route_table in world.route_tables:
        table = table_number(world, route_table)
        for interface in world.interfaces:
            if (route_table, interface.subnet.network) in world.routes:
                continue  # the whole subnet is routed to a middlebox (snat none)
            own = IPv4Network(f"{interface.address}/32")
            yield AddRoute(namespace, own, interface.router_name, None, table)
        yield AddRoute(namespace, IPv4Network("0.0.0.0/0"), "", None, table)
    for (route_table, destination), target in world.routes.items():
        yield route_step(world, route_table, destination, target)
    for address, target in world.secondary.items():
        yield from address_steps(world, address, target)


def fabric_ruleset(world: World) -> str:
    """The fabric's drops, each with a named counter, and the internet gateway's translation.

    An interface in `checked` may send only from its `owned` addresses and receive only for
    them. The gateway stands between `INTERNET` and all others; it translates each packet
    by itself, with no memory of flows, so a change of association moves established ones at
    once. Sets and maps are changed at run time.
    """
    counters = "".join(
        f"    counter {counter_name('source-dest-check', i)} {{ }}\n" for i in world.interfaces
    )
    checked = ", ".join(f'"{i.router_name}"' for i in world.interfaces if i.source_dest_check)
    owned = ", ".join(f'"{name}" . {address}' for name, address in owned_addresses(world))
    rules = ""
    for i in world.interfaces:
        name, drop = i.router_name, f"counter name {counter_name('source-dest-check', i)} drop"
        rules += (
            f'    iifname "{name}" iifname @checked iifname . ip saddr != @owned {drop}\n'
            f'    oifname "{name}" oifname @checked oifname . ip daddr != @owned {drop}\n'
        )
    return (
        "table ip fabric {\n"
        f"{counters}"
        f"    set checked {{ type ifname; elements = {{ {checked} }} }}\n"
        f"    set owned {{ type ifname . ipv4_addr; elements = {{ {owned} }} }}\n"
        f"{_gateway(world)}"
        "    chain forward {\n"
        "    type filter hook forward priority filter; policy accept;\n"
        f"{rules}"
        "    }\n"
        "    chain output {\n"
        "    type filter hook output priority filter; policy accept;\n"
        "    icmp type { destination-unreachable, time-exceeded, redirect } drop\n"
        "    }\n"
        "}\n"
    )


def owned_addresses(world: World) -> list[tuple[str, IPv4Address]]:
    """Each interface's private addresses, by its name on the router."""
    primary = [(i.router_name, i.address) for i in world.interfaces]
    names = {i.id: i.router_name for i in world.interfaces}
    return primary + [(names[target], address) for address, target in world.secondary.items()]


def _gateway(world: World) -> str:
    """Private addresses outside, public ones inside: neither crosses the gateway."""
    pairs = [(public, private) for public, (_, private) in world.elastic_ips.items()]
    inward = ", ".join(f"{public} : {private}" for public, private in pairs)
    outward = ", ".join(f"{private} : {public}" for public, private in pairs)
    internet = world.interface(INTERNET, "eth0").router_name

    def elements(text: str) -> str:
        return f"elements = {{ {text} }} " if text else ""

    return (
        f"    map elastic_in {{ type ipv4_addr : ipv4_addr; {elements(inward)}}}\n"
        f"    map elastic_out {{ type ipv4_addr : ipv4_addr; {elements(outward)}}}\n"
        "    chain from_internet {\n"
        "    type filter hook prerouting priority mangle - 10; policy accept;\n"
        f'    iifname "{internet}" ip daddr set ip daddr map @elastic_in\n'
        "    }\n"
        "    chain to_internet {\n"
        "    type filter hook postrouting priority mangle + 10; policy accept;\n"
        f'    oifname "{internet}" ip saddr set ip saddr map @elastic_out\n'
        "    }\n"
    )


def router_mac(interface: NetworkInterface) -> str:
    """The MAC of the router's end of an interface's link."""
    return "02:6d:6c:00:01" + interface.mac[-3:]
