"""What the failover extension asks the cloud for, in which order. Pure.

From a declaration and the answers of the describing calls to the calls that change
something. Order, tags, names and quirks follow F5's Cloud Failover Extension 2.5.0
(`failover.js`, `aws_cloud.js`; `docs/fidelity.md` lists what is not copied)::

    discovery()  all at once          look_ups()  one per next hop      tracks()
    DescribeAddresses ...        ->   DescribeNetworkInterfaces    ->   addresses | routes

A *track* is a list of stages, carried out one after the other; the calls of a stage go out
all at once; tracks run beside each other.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from ipaddress import IPv4Address, IPv4Network
from typing import Any

from emulator.core.declaration import AddressRange, Declaration, NextHops, RouteGroup

SELF_IPS_TAG = "f5_self_ips"
VIPS_TAGS = ("f5_cloud_failover_vips", "VIPS")
NIC_MAP_TAG = "f5_cloud_failover_nic_map"

Row = Mapping[str, Any]  # one thing of a Describe answer, as boto3 gives it


class PlanError(ValueError):
    """The failover ends here; the text is what the state object says."""


@dataclass(frozen=True)
class Call:
    """One request. `subject`: what it is about, for the journal. `optional`: an error is
    swallowed, and it is not asked again."""

    service: str
    action: str
    parameters: dict[str, Any] = field(default_factory=dict)
    subject: dict[str, str] = field(default_factory=dict)
    optional: bool = False


@dataclass(frozen=True)
class Own:
    """What the device knows of itself."""

    name: str
    instance: str
    self_ips: tuple[str, ...]
    floating: tuple[str, ...]


@dataclass(frozen=True)
class RouteMove:
    """Point one route at an interface of this device."""

    table: str
    destination: str
    interface: str


@dataclass(frozen=True)
class ElasticMove:
    """Take an elastic IP from where it is and associate it with an address of this device."""

    public: str
    allocation: str
    association: str
    interface: str
    private: str


@dataclass(frozen=True)
class SecondaryMove:
    """Take a secondary private address from the peer's interface to this device's."""

    address: str
    peer_interface: str
    interface: str


@dataclass(frozen=True)
class Operations:
    """Everything one failover changes. `same`: routes that lead here already."""

    routes: tuple[RouteMove, ...] = ()
    elastic: tuple[ElasticMove, ...] = ()
    secondary: tuple[SecondaryMove, ...] = ()
    same: tuple[tuple[str, str], ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def empty(self) -> bool:
        return not (self.routes or self.elastic or self.secondary)


def discovery(declaration: Declaration, own: Own) -> dict[str, Call]:
    """The calls of the first round, by what their answer is called below."""
    calls: dict[str, Call] = {}
    addresses = declaration.failover_addresses
    if addresses is not None and addresses.enabled:
        if addresses.scoping_tags is not None:
            by_tags = {"Filters": filters(addresses.scoping_tags)}
            calls["addresses"] = Call("ec2", "DescribeAddresses", by_tags)
            calls["tagged"] = Call("ec2", "DescribeNetworkInterfaces", by_tags)
        named = [str(g.scoping_address) for g in _elastic_groups(declaration)]
        if named:
            narrowed = {"Filters": [{"Name": "public-ip", "Values": named}]}
            calls["named"] = Call("ec2", "DescribeAddresses", narrowed)
        own_only = [{"Name": "attachment.instance-id", "Values": [own.instance]}]
        calls["own"] = Call("ec2", "DescribeNetworkInterfaces", {"Filters": own_only})
        calls["subnets"] = Call("ec2", "DescribeSubnets")
    if declaration.failover_routes is not None and declaration.failover_routes.groups:
        calls["tables"] = Call("ec2", "DescribeRouteTables")
    return calls


def filters(tags: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Tags as the filters of a describing call."""
    return [{"Name": f"tag:{key}", "Values": [str(value)]} for key, value in tags.items()]


def look_ups(
    declaration: Declaration, own: Own, tables: Sequence[Row]
) -> tuple[dict[str, Call], tuple[str, ...]]:
    """Per next hop of this device the call that finds its interface, and the warnings.

    Raises PlanError. The interface needs the tags of failoverAddresses, even where only
    routes move ("Tagging the NICs is required for all deployments").
    """
    addresses = declaration.failover_addresses
    tags = addresses.scoping_tags if addresses is not None else None
    calls, warnings = {}, []
    for table, _, hops in _matches(declaration, tables):
        hop, listed = _own_hop(table, hops, own)
        if hop is None:
            warnings.append(f"Next hop address to use is empty: {','.join(listed)}")
            continue
        wanted = [{"Name": "private-ip-address", "Values": [hop]}, *filters(tags or {})]
        calls[hop] = Call("ec2", "DescribeNetworkInterfaces", {"Filters": wanted})
    return calls, tuple(dict.fromkeys(warnings))


def route_operations(
    declaration: Declaration, own: Own, tables: Sequence[Row], interfaces: Mapping[str, str]
) -> Operations:
    """`interfaces`: next hop -> interface id, as found. Raises PlanError."""
    moves: dict[tuple[str, str], RouteMove] = {}
    same: list[tuple[str, str]] = []
    for table, route, hops in _matches(declaration, tables):
        hop, _ = _own_hop(table, hops, own)
        if hop is None or not route.get("NetworkInterfaceId"):
            continue
        if hop not in interfaces:
            raise PlanError(
                f"no network interface has the next hop address {hop} and the scoping tags"
            )
        key = (str(table["RouteTableId"]), str(route["DestinationCidrBlock"]))
        if route["NetworkInterfaceId"] == interfaces[hop]:
            same.append(key)
        else:
            moves[key] = RouteMove(*key, interfaces[hop])
    return Operations(routes=tuple(moves.values()), same=tuple(dict.fromkeys(same)))


def address_operations(
    declaration: Declaration, own: Own, answers: Mapping[str, Sequence[Row]]
) -> Operations:
    """Elastic IPs and secondary addresses that are to come here."""
    mine = answers.get("own", ())
    elastic = []
    for row, pair in _pairs(declaration, answers):
        for interface, private in _addresses(mine):
            if private in pair and row.get("PrivateIpAddress") != private:
                elastic.append(
                    ElasticMove(
                        str(row["PublicIp"]), str(row["AllocationId"]),
                        str(row.get("AssociationId") or ""), interface, private,
                    )
                )  # fmt: skip
    identities = {str(row["NetworkInterfaceId"]) for row in mine}
    peers = [r for r in answers.get("tagged", ()) if r["NetworkInterfaceId"] not in identities]
    networks = {
        str(row["SubnetId"]): IPv4Network(row["CidrBlock"]) for row in answers.get("subnets", ())
    }
    secondary = [
        SecondaryMove(address, str(peer["NetworkInterfaceId"]), str(nic["NetworkInterfaceId"]))
        for nic in mine
        for peer in peers
        if _paired(nic, peer) and _same_network(nic, peer, networks)
        for address in _secondary(peer)
        if address in own.floating
    ]
    return Operations(elastic=tuple(elastic), secondary=tuple(secondary))


def joined(*parts: Operations) -> Operations:
    """Several as one."""
    return Operations(
        *(
            tuple(item for part in parts for item in getattr(part, name))
            for name in ("routes", "elastic", "secondary", "same", "warnings")
        )
    )


def tracks(operations: Operations) -> list[list[list[Call]]]:
    """The changing calls; tracks beside each other, stages in a row, calls at once."""
    addresses = [
        _per_interface("UnassignPrivateIpAddresses", operations.secondary),
        _per_interface("AssignPrivateIpAddresses", operations.secondary),
        [_disassociate(move) for move in operations.elastic if move.association],
        [_associate(move) for move in operations.elastic],
    ]
    routes = [[_replace(move) for move in operations.routes]]
    return [[s for s in track if s] for track in (addresses, routes) if any(track)]


def stored(operations: Operations) -> dict[str, Any]:
    """The operations as the state object keeps them."""
    return {
        "routes": {"operations": [asdict(move) for move in operations.routes]},
        "addresses": {
            "publicAddresses": [asdict(move) for move in operations.elastic],
            "interfaces": [asdict(move) for move in operations.secondary],
        },
    }


def recovered(state: Mapping[str, Any]) -> Operations | None:
    """What a failed failover left to be done: the next one replays it, whoever made it.

    None when the last one did not fail; raises PlanError when it left nothing.
    """
    if state.get("taskState") != "FAILED":
        return None
    kept = state.get("failoverOperations") or {}
    try:
        addresses = kept.get("addresses") or {}
        operations = Operations(
            tuple(RouteMove(**row) for row in (kept.get("routes") or {}).get("operations", ())),
            tuple(ElasticMove(**row) for row in addresses.get("publicAddresses", ())),
            tuple(SecondaryMove(**row) for row in addresses.get("interfaces", ())),
        )
    except (AttributeError, TypeError) as error:
        raise PlanError(f"the state object is not one of this extension's: {error}") from error
    if operations.empty:
        raise PlanError("Recovery operations are empty, advise reset via the API")
    return operations


def _matches(
    declaration: Declaration, tables: Sequence[Row]
) -> Iterator[tuple[Row, Row, NextHops | None]]:
    """Every (table, route, next hops) the declaration speaks of, in the tables' order."""
    routes = declaration.failover_routes
    for group in routes.groups if routes is not None else ():
        for table in tables:
            if not _in_group(table, group):
                continue
            ranges = {entry.range: entry for entry in reversed(group.scoping_address_ranges)}
            for route in table["Routes"]:
                entry: AddressRange | None = ranges.get(
                    route.get("DestinationCidrBlock", "")
                ) or ranges.get("all")
                if entry is not None:
                    hops = entry.next_hop_addresses or group.default_next_hop_addresses
                    yield table, route, hops


def _in_group(table: Row, group: RouteGroup) -> bool:
    tags = _tags(table)
    if group.scoping_name is not None:
        return group.scoping_name in (table["RouteTableId"], tags.get("Name"))
    wanted = group.scoping_tags
    return wanted is not None and all(tags.get(k) == str(v) for k, v in wanted.items())


def _own_hop(table: Row, hops: NextHops | None, own: Own) -> tuple[str | None, Sequence[str]]:
    """This device's next hop and all that are listed; an item with a mask never matches."""
    if hops is not None and hops.discovery_type == "static":
        listed: Sequence[str] = hops.items
    else:
        tag = _tags(table).get(SELF_IPS_TAG)
        if tag is None:
            raise PlanError(
                f"route table {table['RouteTableId']} has no tag {SELF_IPS_TAG}: "
                "Cannot read properties of undefined (reading 'split')"
            )
        listed = [item.strip() for item in tag.split(",")]
    return next((item for item in listed if item in own.self_ips), None), listed


def _elastic_groups(declaration: Declaration) -> list[Any]:
    addresses = declaration.failover_addresses
    groups = addresses.address_group_definitions if addresses is not None else None
    return [group for group in groups or () if group.type == "elasticIpAddress"]


def _pairs(
    declaration: Declaration, answers: Mapping[str, Sequence[Row]]
) -> Iterator[tuple[Row, Sequence[str]]]:
    """Elastic IPs and the private addresses each goes between."""
    for row in answers.get("addresses", ()):
        tags = _tags(row)
        pair = next((tags[tag] for tag in VIPS_TAGS if tag in tags), "")
        if pair:
            yield row, [item.strip() for item in pair.split(",")]
    for group in _elastic_groups(declaration):
        for row in answers.get("named", ()):
            if row["PublicIp"] == group.scoping_address:
                yield row, [str(address) for address in group.vip_addresses]


def _addresses(interfaces: Sequence[Row]) -> Iterator[tuple[str, str]]:
    for row in interfaces:
        for address in row["PrivateIpAddresses"]:
            yield str(row["NetworkInterfaceId"]), str(address["PrivateIpAddress"])


def _secondary(interface: Row) -> list[str]:
    rows = interface["PrivateIpAddresses"]
    return [str(row["PrivateIpAddress"]) for row in rows if not row.get("Primary")]


def _paired(nic: Row, peer: Row) -> bool:
    mapped = _tags(nic).get(NIC_MAP_TAG)
    return mapped is not None and mapped == _tags(peer).get(NIC_MAP_TAG)


def _same_network(nic: Row, peer: Row, networks: Mapping[str, IPv4Network]) -> bool:
    """Both primary addresses lie in each other's subnet."""
    here, there = networks.get(str(nic["SubnetId"])), networks.get(str(peer["SubnetId"]))
    if here is None or there is None:
        return False
    mine, theirs = IPv4Address(nic["PrivateIpAddress"]), IPv4Address(peer["PrivateIpAddress"])
    return theirs in here and mine in there


def _tags(row: Row) -> dict[str, str]:
    pairs = row.get("Tags") or row.get("TagSet") or ()
    return {str(pair["Key"]): str(pair["Value"]) for pair in pairs}


def _replace(move: RouteMove) -> Call:
    parameters = {
        "RouteTableId": move.table,
        "DestinationCidrBlock": move.destination,
        "NetworkInterfaceId": move.interface,
    }
    subject = {"table": move.table, "destination": move.destination}
    return Call("ec2", "ReplaceRoute", parameters, subject)


def _disassociate(move: ElasticMove) -> Call:
    subject = {"address": move.public, "target": ""}
    parameters = {"AssociationId": move.association}
    return Call("ec2", "DisassociateAddress", parameters, subject, optional=True)


def _associate(move: ElasticMove) -> Call:
    parameters = {
        "AllocationId": move.allocation,
        "NetworkInterfaceId": move.interface,
        "PrivateIpAddress": move.private,
        "AllowReassociation": True,
    }
    subject = {"address": move.public, "target": move.interface}
    return Call("ec2", "AssociateAddress", parameters, subject)


def _per_interface(action: str, moves: Sequence[SecondaryMove]) -> list[Call]:
    """One call for all addresses of an interface."""
    grouped: dict[str, list[str]] = {}
    for move in moves:
        taken = action == "UnassignPrivateIpAddresses"
        grouped.setdefault(move.peer_interface if taken else move.interface, []).append(
            move.address
        )
    return [
        Call(
            "ec2",
            action,
            {"NetworkInterfaceId": interface, "PrivateIpAddresses": addresses},
            {"address": ",".join(addresses), "target": interface},
        )
        for interface, addresses in grouped.items()
    ]
