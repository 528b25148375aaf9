"""How a cloud leads to the virtual server and back: routes, elastic IPs, secondary addresses.

Pure. Causes only: which range a failover moves is what the Cloud Failover declaration says; a
range it does not name has a route all the same, or nothing could be reached before the
failover, and that route does not move.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network
from typing import Any

from emulator.lab.inputs.addressing import CLIENTS, SERVERS, Addressing, counterpart, literal
from emulator.lab.inputs.declared import ANY, Declared, ElasticPair, Failover, RouteGroup
from emulator.lab.inputs.tree import InputError, Place
from netns.topology import SNAT_RANGE, VIRTUAL_RANGE

_TABLES = {"ext": "rtb-client", "int": "rtb-backend"}
_PUBLIC = IPv4Address("198.51.100.10")


@dataclass
class Used:
    """A range of the declaration, as the lab has it."""

    group: RouteGroup
    side: str
    network: IPv4Network


@dataclass
class Ways:
    """`cloud` settings, the virtual server's address and the SNAT pool's in the lab."""

    destination: IPv4Address | None = None
    snat_pool: list[IPv4Address] = field(default_factory=list)
    cloud: dict[str, Any] = field(default_factory=dict)
    used: list[Used] = field(default_factory=list)
    unused: list[RouteGroup] = field(default_factory=list)
    places: dict[str, Place] = field(default_factory=dict)


def lead(
    vips: list[IPv4Address],
    snat: str,
    pool: list[IPv4Address],
    declared: Declared,
    addressing: Addressing,
    place: Place,
    snat_place: Place,
) -> Ways:
    """Raises InputError for addresses no cloud of this lab can lead to."""
    ways = Ways()
    failover = declared.failover
    vip = vips[0]
    pair = _elastic(vips, failover, addressing)
    if addressing.one_zone and failover is not None and failover.addresses_enabled:
        _one_zone(ways, vip, snat, pool, addressing, place)
        return ways
    _ranges(ways, vip, snat, pool, failover, addressing, via_route=pair is None)
    routes = [
        (u.side, u.network, failover is not None and failover.routes_enabled) for u in ways.used
    ]
    if pair is not None:
        _by_elastic_ip(ways, vips, pair, addressing, place)
    else:
        _client_side(ways, vip, routes, failover, addressing, place)
    _server_side(ways, snat, pool, routes, failover, addressing, snat_place)
    _set_routes(ways, routes, failover, addressing)
    return ways


def lead_through(
    network: IPv4Network,
    snat: str,
    pool: list[IPv4Address],
    declared: Declared,
    addressing: Addressing,
    place: Place,
    snat_place: Place,
) -> Ways:
    """To a forwarding virtual server's `network`, for which the backend's subnet stands; raises
    InputError."""
    ways, failover = Ways(), declared.failover
    if addressing.one_zone and failover is not None and failover.addresses_enabled:
        raise InputError(place, "a forwarding virtual server with failover by secondary addresses: "
                         "its servers are routed to, no address leads there")  # fmt: skip
    for group in failover.ranges if failover is not None else ():
        _through(ways, group, network, snat, pool, addressing)
    moves = failover is not None and failover.routes_enabled
    routes = [(used.side, used.network, moves) for used in ways.used]
    if all(side != "ext" for side, _, _ in routes):
        routes.append(("ext", SERVERS, failover is None))
        addressing.add(
            f"the way to {network}", f"a route of {SERVERS}", _MOVES[failover is None], place
        )
    why = "the backend's subnet: clients address the backend itself"
    addressing.add(f"virtual server {network}", SERVERS, why, place)
    _server_side(ways, snat, pool, routes, failover, addressing, snat_place)
    _set_routes(ways, routes, failover, addressing)
    return ways


def _through(
    ways: Ways,
    group: RouteGroup,
    network: IPv4Network,
    snat: str,
    pool: list[IPv4Address],
    addressing: Addressing,
) -> None:
    """What a declared range leads to: the servers, a SNAT address, the clients. One that may be
    either way, for no self IP tells its side, is both."""
    sides = addressing.hop_sides(group.hops)
    every = group.range == "all"
    around = ANY if every else IPv4Network(group.range, strict=False)
    translated = [a for a in pool[:1] if a in around and "ext" not in sides]
    back = around.prefixlen == 0 or "int" in sides or network == ANY
    found: list[Used] = []
    if sides <= {"ext"} and around.overlaps(network) and (not translated or around == ANY):
        found.append(Used(group, "ext", SERVERS))
    found += [Used(group, "int", _range(group.range, a, SNAT_RANGE)) for a in translated]
    if snat == "none" and "ext" not in sides and back:
        found.append(Used(group, "int", CLIENTS))
    _take(ways, group, found, addressing)


def _set_routes(
    ways: Ways,
    routes: list[tuple[str, IPv4Network, bool]],
    failover: Failover | None,
    addressing: Addressing,
) -> None:
    ways.cloud["routes"] = [
        {"table": _TABLES[side], "destination": str(network), "interface": side, "move": moves}
        for side, network, moves in dict.fromkeys(routes)
    ]
    if failover is not None:
        _declaration(ways, failover, addressing)


def _elastic(
    vips: list[IPv4Address], failover: Failover | None, addressing: Addressing
) -> ElasticPair | None:
    """The elastic IP in front of the virtual server, declared or to be assumed."""
    if failover is None or not failover.addresses_enabled:
        return None
    for pair in failover.elastic:
        if set(vips) & set(pair.private):
            return pair
    explicit = [r for r in failover.ranges if _covers(r.range, vips[0], default=False)]
    if failover.elastic or (explicit and failover.routes_enabled):
        return None
    place = failover.node.place
    if len(vips) > 1:
        return ElasticPair(_PUBLIC, (vips[0], vips[1]), place)
    inside = addressing.side_of(vips[0]) is not None
    by_default = any(_covers(r.range, vips[0], default=True) for r in failover.ranges)
    if inside or (vips[0].is_private and not (by_default and failover.routes_enabled)):
        return ElasticPair(_PUBLIC, (vips[0], vips[0]), place)
    return None


def _covers(text: str, address: IPv4Address, *, default: bool) -> bool:
    if text == "all":
        return True
    network = IPv4Network(text, strict=False)
    return address in network and (default or network.prefixlen > 0)


def _ranges(
    ways: Ways,
    vip: IPv4Address,
    snat: str,
    pool: list[IPv4Address],
    failover: Failover | None,
    addressing: Addressing,
    *,
    via_route: bool,
) -> None:
    """Which ranges of the declaration bear on this virtual server, and on which side."""
    groups = failover.ranges if failover is not None else []
    explicit = any(_covers(g.range, vip, default=False) for g in groups)
    for group in groups:
        sides = addressing.hop_sides(group.hops)
        default = group.range != "all" and IPv4Network(group.range, strict=False).prefixlen == 0
        found: list[Used] = []
        if via_route and sides <= {"ext"} and _covers(group.range, vip, default=not explicit):
            network = _range(group.range, vip, VIRTUAL_RANGE)
            found.append(Used(group, "ext", network))
        if "ext" not in sides and not (found and default):
            found += [
                Used(group, "int", _range(group.range, address, SNAT_RANGE))
                for address in pool[:1]
                if _covers(group.range, address, default=True)
            ]
            if snat == "none" and (
                default or group.range == "all" or (not found and "int" in sides)
            ):
                found.append(Used(group, "int", CLIENTS))
        _take(ways, group, found, addressing)


def _take(ways: Ways, group: RouteGroup, found: list[Used], addressing: Addressing) -> None:
    ways.used += found
    if not found:
        ways.unused.append(group)
    for used in found:
        ways.places.setdefault("cloud.routes", group.place)
        if str(used.network) != group.range:
            names = {CLIENTS: "the lab's clients", SERVERS: "the lab's backend"}
            why = names.get(used.network, "what is needed of it")
            addressing.add(f"range {group.range}", used.network, why, group.place)


def _range(text: str, address: IPv4Address, lab: IPv4Network) -> IPv4Network:
    """A declared range where it can be taken as it stands, else what stands for it."""
    if text != "all":
        network = IPv4Network(text, strict=False)
        if literal(network):
            return network
    around = IPv4Network(f"{address}/24", strict=False)
    return around if literal(around) else lab


def _client_side(
    ways: Ways,
    vip: IPv4Address,
    routes: list[tuple[str, IPv4Network, bool]],
    failover: Failover | None,
    addressing: Addressing,
    place: Place,
) -> None:
    networks = [network for side, network, _ in routes if side == "ext"]
    network = networks[0] if networks else _range("all", vip, VIRTUAL_RANGE)
    ways.destination = vip if vip in network else counterpart(vip, network, set())
    if not networks:
        routes.append(("ext", network, failover is None))
        addressing.add(
            f"the way to {vip}", f"a route of {network}", _MOVES[failover is None], place
        )
    same = ways.destination == vip
    why = "taken as it is: outside the cloud's own range" if same else "in one of the lab's ranges"
    addressing.add(f"virtual server {vip}", ways.destination, why, place)


_MOVES = {
    True: "no Cloud Failover declaration: the lab's own moves it",
    False: "the declaration names no range with it, so it does not move",
}


def _server_side(
    ways: Ways,
    snat: str,
    pool: list[IPv4Address],
    routes: list[tuple[str, IPv4Network, bool]],
    failover: Failover | None,
    addressing: Addressing,
    place: Place,
) -> None:
    """The servers' way back: to the SNAT addresses, or to the client."""
    networks = [network for side, network, _ in routes if side == "int"]
    if snat == "none":
        if CLIENTS not in networks:
            routes.append(("int", CLIENTS, failover is None))
            addressing.add("the servers' way back", "the active device", _MOVES[failover is None])
        return
    secondary: list[str] = []
    taken: set[IPv4Address] = set()
    for address in pool:
        if failover is not None and addressing.side_of(address) is not None:
            inner = addressing.world.interface("bigip-a", "int").subnet.network
            lab = counterpart(IPv4Address(int(address) | 64), inner, taken)
            secondary.append(str(lab))
            addressing.add(f"SNAT address {address}", lab, "a secondary address of bigip-a: in a "
                           "subnet of one zone no route moves it", place)  # fmt: skip
            ways.snat_pool.append(lab)
            continue
        found = next((n for n in networks if address in n), None) or next(
            (u.network for u in ways.used if u.side == "int" and u.network != CLIENTS
             and _covers(u.group.range, address, default=True)), None,
        )  # fmt: skip
        if found is None:
            found = _range("all", address, SNAT_RANGE)
            networks.append(found)
            routes.append(("int", found, failover is None))
            addressing.add(f"the way to {address}", f"a route of {found}", _MOVES[failover is None])
        lab = address if address in found else counterpart(address, found, taken)
        ways.snat_pool.append(lab)
        why = "taken as it is" if lab == address else "in one of the lab's ranges"
        addressing.add(f"SNAT address {address}", lab, why, place)
    if secondary:
        ways.cloud["secondary_ips"] = secondary


def _by_elastic_ip(
    ways: Ways, vips: list[IPv4Address], pair: ElasticPair, addressing: Addressing, place: Place
) -> None:
    private = [
        str(addressing.world.interface(device, "ext").subnet.network.network_address + 100)
        for device in ("bigip-a", "bigip-b")
    ]
    ways.cloud |= {
        "failover_via": "elastic-ip",
        "elastic_ips": [{"public": str(pair.public), "private": private}],
    }
    ways.places["cloud.elastic_ips"] = pair.place
    why = "addresses that fail over and no route to it: an elastic IP leads to it"
    addressing.add(f"virtual server {', '.join(map(str, vips))}",
                   f"{' and '.join(private)} behind {pair.public}", why, place)  # fmt: skip


def _one_zone(
    ways: Ways,
    vip: IPv4Address,
    snat: str,
    pool: list[IPv4Address],
    addressing: Addressing,
    place: Place,
) -> None:
    """Both devices in one subnet: secondary private addresses move."""
    if snat == "none":
        raise InputError(place, "SNAT none with failover by secondary addresses: no route leads "
                         "the servers' answers to the active device here")  # fmt: skip
    taken: set[IPv4Address] = set()
    world = addressing.world
    outer, inner = (world.interface("bigip-a", side).subnet.network for side in ("ext", "int"))
    ways.destination = counterpart(IPv4Address(int(vip) | 64), outer, taken)
    ways.snat_pool = [counterpart(IPv4Address(int(a) | 64), inner, taken) for a in pool]
    for before, after in zip([vip, *pool], [ways.destination, *ways.snat_pool], strict=True):
        addressing.add(before, after, "a secondary address of the active device", place)
    ways.cloud |= {
        "zones": "one",
        "routes": [],
        "failover_via": "secondary-ip",
        "secondary_ips": [str(ways.destination), *map(str, ways.snat_pool)],
    }


def _declaration(ways: Ways, failover: Failover, addressing: Addressing) -> None:
    """The declaration with the lab's tables, ranges and next hops, where a next hop is written
    in a way that matters: what the extension makes of it is for the extension to show."""
    odd = any(u.group.hops and (len(u.group.hops) < 2 or any("/" in h for h in u.group.hops))
              for u in ways.used)  # fmt: skip
    if not odd or not failover.routes_enabled:
        return
    tags = {"f5_cloud_failover_label": "mirrorlab"}
    groups = []
    for used in ways.used:
        hops: dict[str, Any] = {"discoveryType": "routeTag"}
        if used.group.hops:
            items = [addressing.hop(h, n, used.side) for n, h in enumerate(used.group.hops)]
            hops = {"discoveryType": "static", "items": items}
        entry = {"range": str(used.network), "nextHopAddresses": hops}
        groups.append({"scopingName": _TABLES[used.side], "scopingAddressRanges": [entry]})
    ways.cloud["declaration"] = {
        "class": "Cloud_Failover",
        "environment": "aws",
        "externalStorage": {"scopingTags": tags},
        "failoverAddresses": {"enabled": True, "scopingTags": tags},
        "failoverRoutes": {"enabled": True, "routeGroupDefinitions": groups},
    }
