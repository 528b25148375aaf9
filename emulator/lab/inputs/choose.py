"""Which virtual server is taken, of which type it is, and what it uses. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network

from emulator.lab.inputs.declared import (
    Declared,
    Item,
    L4Profile,
    Pool,
    Server,
    SnatPool,
    network,
)
from emulator.lab.inputs.tmshwords import BUILT_IN
from emulator.lab.inputs.tree import InputError, Node, Place

# What the lab's virtual servers can be. When a scenario can set more, these rows say so.
TYPES = {"fastL4": "fastL4", "standard": "standard", "forwarding": "forwarding"}
PROTOCOLS = {"tcp": "tcp", "any": "any", "udp": "udp"}  # a standard one: tcp, also of any
PERSISTENCE = True  # virtual_server.persistence and .persistence_mirroring


@dataclass
class Chosen:
    """The virtual server and what it refers to; None where that is in no input."""

    server: Server
    addresses: list[IPv4Address]
    pool: Pool | None = None
    snat_pool: SnatPool | None = None
    profiles: list[L4Profile] = field(default_factory=list)
    items: list[Item] = field(default_factory=list)
    snat_addresses: list[IPv4Address] = field(default_factory=list)

    def setting(self, name: str) -> object:
        """What the fastL4 profile or its nearest parent sets; None where nobody does."""
        for profile in self.profiles:
            if (found := getattr(profile, name)) is not None:
                return found
        return None


def choose(declared: Declared, name: str | None, nowhere: Place) -> Server | None:
    """The virtual server to take; None where no input declares one. Raises InputError."""
    servers = declared.servers
    listed = ", ".join(f"{s.name} (line {s.node.place.line})" for s in servers)
    if name is not None:
        same = [s for s in servers if s.name == name or s.name.endswith(f"/{name}")]
        exact = [s for s in same if s.name == name] or same
        if len(exact) != 1:
            what = "no virtual server" if not exact else "more than one virtual server"
            raise InputError(nowhere, f"{what} {name!r}; there are: {listed or 'none'}")
        return exact[0]
    if len(servers) > 1:
        raise InputError(
            servers[1].node.place,
            f"{len(servers)} virtual servers; choose one with --virtual: {listed}",
        )
    return servers[0] if servers else None


def resolve(server: Server, declared: Declared) -> Chosen:
    """Follow its references; raises InputError for what this lab cannot take."""
    _type(server, declared)
    _refuse(server)
    for name in (server.pool, server.snat_pool, server.address, *server.profiles):
        if name in declared.broken:
            raise declared.broken[name]
    addresses = list(server.destinations)
    found = Chosen(server, addresses)
    named = declared.addresses.get(server.address or "")
    if named is not None:
        found.items.append(named)
        given = named.node.get("virtualAddress") or named.node.get("address")
        if given is not None and given.kind == "leaf":
            mask = named.node.get("mask")
            whole = network(given, str(given.value), str(mask.value) if mask is not None else "")
            _of_network(server, whole, addresses)
    elif server.type == "forwarding" and server.network is None and addresses:
        server.network = IPv4Network(addresses[0])
    _refuse_network(server)
    found.pool = declared.pools.get(server.pool or "")
    found.snat_pool = declared.snat_pools.get(server.snat_pool or "")
    found.profiles = _with_parents(server, declared)
    persistence = declared.persistences.get(server.persistence or "")
    used = (found.pool, found.snat_pool, persistence, *found.profiles)
    found.items += [item for item in used if item is not None]
    group = declared.address_groups.get(server.address or _own_address(server))
    server.traffic_group = group
    for member, node in found.snat_pool.members if found.snat_pool is not None else ():
        found.snat_addresses.append(_snat_address(member, node, declared, found))
    return found


def _of_network(server: Server, whole: IPv4Network, addresses: list[IPv4Address]) -> None:
    """Enter the destination that another object has."""
    if server.type == "forwarding" or whole.prefixlen < 32:
        server.network = whole
    else:
        addresses.append(whole.network_address)


def _snat_address(
    member: IPv4Address | str, node: Node, declared: Declared, found: Chosen
) -> IPv4Address:
    """A SNAT pool's member, itself an address or a SNAT translation's name."""
    if not isinstance(member, str):
        translation = declared.translations.get(f"/Common/{member}")
        found.items += [translation[1]] if translation is not None else []
        return member
    if member not in declared.translations:
        raise declared.broken.get(member) or InputError(
            node.place, f"SNAT translation {member} is in none of the inputs"
        )
    found.items.append(declared.translations[member][1])
    return declared.translations[member][0]


def _own_address(server: Server) -> str:
    return f"/Common/{server.destinations[0]}" if server.destinations else ""


def _with_parents(server: Server, declared: Declared) -> list[L4Profile]:
    found: list[L4Profile] = []
    for name in server.profiles:
        profile = declared.profiles.get(name)
        while profile is not None and profile not in found:
            found.append(profile)
            profile = declared.profiles.get(profile.parent or "")
    return found


def _type(server: Server, declared: Declared) -> None:
    """A tmsh virtual server's type is what its profiles make it; AS3 names its own."""
    if server.type:
        return
    kinds = {kind_of_profile(name, declared) for name in server.profiles}
    server.http, server.tls = "http" in kinds, bool(kinds & {"clientssl", "serverssl"})
    if "fasthttp" in kinds:
        place = server.places["virtual_server.type"]
        server.why_not.append(InputError(place, "a fastHTTP virtual server is not emulated"))
    server.type = "fastL4" if "fastL4" in kinds or not kinds else "standard"


def kind_of_profile(name: str, declared: Declared) -> str:
    """fastL4, tcp, udp, http, ...; "other" where neither the inputs nor its name say."""
    if name in declared.profiles:
        return declared.profiles[name].kind
    short = name.rsplit("/", 1)[-1]
    if short.startswith(("tcp-", "f5-tcp-", "splitsession")):
        return "tcp"
    if "fastl4" in short.lower():
        return "fastL4"
    return BUILT_IN.get(short, "other")


def _refuse(server: Server) -> None:
    """Raises InputError for what would be another experiment than the one asked for."""
    where = server.places
    if server.why_not:
        first = server.why_not[0]
        text = str(first).removeprefix(f"{first.place}: ")
        raise InputError(first.place, f"{server.name}: {text}")
    if server.type not in TYPES:
        place = where.get("virtual_server.type", server.node.place)
        raise InputError(place, f"{server.name}: a {server.type} virtual server is not emulated")
    datagrams = server.protocol == "udp" and server.type == "standard"
    if server.protocol not in PROTOCOLS or datagrams:
        kind = where.get("virtual_server.type", server.node.place)
        raise InputError(
            where.get("virtual_server.protocol", kind),
            f"{server.name}: protocol {server.protocol!r} of a {server.type} virtual server: not "
            "emulated",
        )
    if not server.translate_address and server.type != "forwarding":
        raise InputError(
            where["translate-address"],
            f"{server.name}: a virtual server that does not translate the address is not emulated",
        )


def _refuse_network(server: Server) -> None:
    """Without address translation and a pool of gateways, which nothing here is."""
    if server.network is not None and server.type != "forwarding":
        raise InputError(
            server.places.get("virtual_server.destination", server.node.place),
            f"{server.name}: a network as destination (wildcard) of a {server.type} virtual "
            "server is not emulated, only of a forwarding one",
        )
