"""What the inputs declare, whatever language they are written in. Pure values.

Every object keeps its node and the marks its reader made; `mapping` enters the marks of what
the virtual server taken uses, and lists the rest as not used.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from typing import Any

from emulator.lab.inputs.ledger import Category
from emulator.lab.inputs.tree import InputError, Node, Place

Mark = tuple[Node, Category, str]
ANY = IPv4Network("0.0.0.0/0")


@dataclass
class Item:
    """One declared object. `name`: full path, e.g. /Tenant/App/vs or /Common/vs."""

    name: str
    node: Node
    marks: list[Mark] = field(default_factory=list)

    def understood(self, node: Node | None, text: str) -> None:
        self._mark(node, Category.UNDERSTOOD, text)

    def ignored(self, node: Node | None, text: str) -> None:
        self._mark(node, Category.IGNORED, text)

    def not_emulated(self, node: Node | None, text: str) -> None:
        self._mark(node, Category.NOT_EMULATED, text)

    def refused(self, node: Node | None, text: str) -> None:
        self._mark(node, Category.REFUSED, text)

    def _mark(self, node: Node | None, category: Category, text: str) -> None:
        if node is not None:
            self.marks.append((node, category, text))

    def by_table(self, table: dict[str, tuple[Category, str]]) -> None:
        """Children that are in a table of properties; they get what it says."""
        for child in self.node.children:
            if child.key in table:
                self.marks.append((child, *table[child.key]))


@dataclass
class Member:
    """A pool member."""

    address: IPv4Address | None
    port: int | None
    node: Node


@dataclass
class Pool(Item):
    members: list[Member] = field(default_factory=list)


@dataclass
class SnatPool(Item):
    """`members`: each an address, or the name of a SNAT translation, and where it stands."""

    members: list[tuple[IPv4Address | str, Node]] = field(default_factory=list)


@dataclass
class L4Profile(Item):
    """What a fastL4 or tcp profile sets; null: not set here."""

    kind: str = "fastL4"
    parent: str | None = None
    idle_timeout_s: int | None = None
    loose_initiation: bool | None = None
    loose_close: bool | None = None


@dataclass
class Persistence(Item):
    kind: str = "source-address"
    mirror: bool = False
    parent: str | None = None


@dataclass
class Server(Item):
    """A virtual server. `why_not`: what makes it one this lab cannot take, and where. `network`:
    its destination, where that is one or the type is forwarding. `change_port`: where the client's
    port is to be changed.

    `snat`: none, automap, pool; `snat_pool`: the name, or None. `places`: scenario field ->
    where it was said.
    """

    destinations: list[IPv4Address] = field(default_factory=list)
    network: IPv4Network | None = None
    port: int | None = None
    type: str = ""
    protocol: str = "tcp"
    http: bool = False
    tls: bool = False
    pool: str | None = None
    snat: str = "none"
    snat_pool: str | None = None
    mirroring: bool = False
    change_port: Node | None = None
    translate_address: bool = True
    profiles: list[str] = field(default_factory=list)
    persistence: str | None = None
    address: str | None = None
    traffic_group: str | None = None
    places: dict[str, Place] = field(default_factory=dict)
    why_not: list[InputError] = field(default_factory=list)

    def cannot(self, node: Node, text: str) -> None:
        """A reason not to take this virtual server."""
        self.why_not.append(InputError(node.place, text))
        self.refused(node, text)


@dataclass
class SelfIp(Item):
    address: IPv4Interface | None = None
    vlan: str = ""
    floating: bool = False
    allow: tuple[str, ...] = ()
    allow_node: Node | None = None


@dataclass
class Device(Item):
    """A device as `cm device`, or a DO declaration, which is one device's."""

    mirror_ip: str | None = None
    mirror_place: Place | None = None


@dataclass
class RouteGroup:
    """A range of a Cloud Failover declaration's routes and where it may lead."""

    range: str
    table: str
    hops: list[str]
    place: Place
    node: Node


@dataclass
class ElasticPair:
    public: IPv4Address
    private: tuple[IPv4Address, IPv4Address]
    place: Place


@dataclass
class Failover(Item):
    """A Cloud Failover declaration."""

    routes_enabled: bool = False
    addresses_enabled: bool = False
    ranges: list[RouteGroup] = field(default_factory=list)
    elastic: list[ElasticPair] = field(default_factory=list)
    label: str | None = None
    raw: dict[str, Any] = field(default_factory=dict)


@dataclass
class Declared:
    """Everything declared in all inputs together."""

    servers: list[Server] = field(default_factory=list)
    pools: dict[str, Pool] = field(default_factory=dict)
    snat_pools: dict[str, SnatPool] = field(default_factory=dict)
    profiles: dict[str, L4Profile] = field(default_factory=dict)
    persistences: dict[str, Persistence] = field(default_factory=dict)
    addresses: dict[str, Item] = field(default_factory=dict)
    address_groups: dict[str, str] = field(default_factory=dict)  # address object -> traffic group
    translations: dict[str, tuple[IPv4Address, Item]] = field(default_factory=dict)
    self_ips: list[SelfIp] = field(default_factory=list)
    devices: list[Device] = field(default_factory=list)
    db: dict[str, tuple[str, Node]] = field(default_factory=dict)
    failover: Failover | None = None
    masquerade: Node | None = None
    broken: dict[str, InputError] = field(default_factory=dict)  # objects that cannot be read
    others: list[Item] = field(default_factory=list)  # always marked, used or not

    def refuse(self, name: str, node: Node, error: InputError) -> None:
        """An object that cannot be read: a reason not to take what uses it, no more."""
        item = Item(name, node)
        item.refused(node, str(error).removeprefix(f"{error.place}: "))
        self.others.append(item)
        self.broken[name] = error

    def objects(self) -> list[Item]:
        """What is marked only where it is used."""
        return [
            *self.servers, *self.pools.values(), *self.snat_pools.values(),
            *self.profiles.values(), *self.persistences.values(), *self.addresses.values(),
            *(item for _, item in self.translations.values()),
        ]  # fmt: skip


def address(node: Node, text: str | None = None) -> IPv4Address:
    """An IPv4 address without route domain; raises InputError naming the place."""
    given = str(node.value if text is None else text)
    plain = given.split("%", 1)[0].split("/", 1)[0]
    try:
        return IPv4Address(plain)
    except ValueError as error:
        what = "IPv6 is not emulated" if ":" in plain else "not an IPv4 address"
        raise InputError(node.place, f"{node.path}: {given!r}: {what}") from error


def network(node: Node, text: str, mask: str = "") -> IPv4Network:
    """A destination as a network, a host's of 32 bits; raises InputError.

    `mask`: where it is said apart. 0.0.0.0, or "any", is every address.
    """
    host, _, length = text.partition("/")
    host = host.partition("%")[0]
    if host in ("any", "0.0.0.0") and mask in ("", "any", "0.0.0.0") and length in ("", "0"):
        return ANY
    mask = {"any": "0"}.get(mask, mask) or length.partition("%")[0] or "32"
    plain = address(node, host)
    try:
        return IPv4Network(f"{plain}/{mask}", strict=False)
    except ValueError as error:
        raise InputError(node.place, f"{node.path}: {mask!r} is no mask") from error


def interface(node: Node) -> IPv4Interface:
    """An address with its prefix; raises InputError."""
    given = str(node.value)
    try:
        plain, _, prefix = given.partition("/")
        return IPv4Interface(f"{plain.split('%', 1)[0]}/{prefix or 32}")
    except ValueError as error:
        what = "IPv6 is not emulated" if ":" in given else "not an IPv4 address and prefix"
        raise InputError(node.place, f"{node.path}: {given!r}: {what}") from error
