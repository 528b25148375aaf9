"""A Cloud Failover declaration as what it declares. Pure.

What it may say is judged by `emulator.core.declaration`, as by the extension on the device;
what it means for the scenario is decided in `mapping`.
"""

from __future__ import annotations

import re
from ipaddress import IPv4Address
from typing import Any

from emulator.core.declaration import Declaration, DeclarationError
from emulator.core.declaration import read as judge
from emulator.lab.inputs.declared import Declared, ElasticPair, Failover, RouteGroup
from emulator.lab.inputs.tree import InputError, Node

_OTHERS = {
    "controls": "logging of the extension", "$schema": "a remark",
    "schemaVersion": "which keys the declaration may have",
    "trustedCertBundle": "the lab's API is plain HTTP", "customEnvironment": "the lab's own API",
}  # fmt: skip


def plain(node: Node) -> Any:
    """The node as the values JSON has."""
    if node.kind == "object":
        return {child.key: plain(child) for child in node.children}
    if node.kind == "list":
        return [plain(child) for child in node.children]
    return node.value


def at(root: Node, path: str) -> Node:
    """The deepest node on a way like failoverRoutes.routeGroupDefinitions.0.range."""
    node = root
    for part in re.split(r"[.]", path):
        found = node.get(part)
        if found is None:
            break
        node = found
    return node


def read(root: Node, into: Declared) -> None:
    """Take a declaration in; raises InputError where the extension would refuse it."""
    raw = plain(root)
    if not isinstance(raw, dict):
        raise InputError(root.place, "a Cloud Failover declaration is a JSON object")
    if into.failover is not None:
        raise InputError(root.place, "a second Cloud Failover declaration; a pair has one")
    judged = _judged(root, raw)
    found = Failover("Cloud_Failover", root, raw=raw)
    into.failover = found
    into.others.append(found)
    for key, text in _OTHERS.items():
        found.ignored(root.get(key), text)
    found.understood(root.get("class"), "a Cloud Failover declaration")
    found.understood(root.get("environment"), "whose API and published times there are")
    found.understood(root.get("externalStorage"), "the state object, in the lab's own bucket")
    found.not_emulated(root.get("retryFailover"), "a failover that failed is not tried again")
    _routes(judged, root, found)
    _addresses(judged, root, found)


def _judged(root: Node, raw: dict[str, Any]) -> Declaration:
    """As the extension judges it; on azure and gcp as it would on AWS."""
    environment = root.get("environment")
    elsewhere = environment is not None and environment.value in ("azure", "gcp")
    try:
        return judge({**raw, "environment": "aws"} if elsewhere else raw)
    except DeclarationError as error:
        field, _, text = str(error).partition(": ")
        raise InputError(at(root, field).place, f"{field}: {text}") from error
    except (ValueError, TypeError, RecursionError) as error:
        raise InputError(root.place, f"not a Cloud Failover declaration: {error}") from error


def _routes(judged: Declaration, root: Node, found: Failover) -> None:
    routes, node = judged.failover_routes, root.get("failoverRoutes")
    if routes is None or node is None:
        return
    found.routes_enabled = routes.enabled
    definitions = node.get("routeGroupDefinitions")
    for number, group in enumerate(routes.groups):
        at_group = definitions.children[number] if definitions is not None else node
        tags = ",".join(f"{k}={v}" for k, v in (group.scoping_tags or {}).items())
        table = group.scoping_name or tags
        ranges = at_group.get("scopingAddressRanges")
        for index, entry in enumerate(group.scoping_address_ranges):
            at_entry = ranges.children[index] if ranges is not None else at_group
            hops = entry.next_hop_addresses or group.default_next_hop_addresses
            items = list(hops.items) if hops is not None else []
            named = at_entry.get("range") or at_entry
            found.ranges.append(RouteGroup(entry.range, table, items, named.place, at_entry))
    text = (
        "routes that a failover moves: see the mapping"
        if routes.enabled
        else ("not enabled: the extension moves no route")
    )
    found.understood(node, text)


def _addresses(judged: Declaration, root: Node, found: Failover) -> None:
    addresses, node = judged.failover_addresses, root.get("failoverAddresses")
    if addresses is None or node is None:
        return
    found.addresses_enabled = addresses.enabled
    groups = node.get("addressGroupDefinitions")
    for number, group in enumerate(addresses.address_group_definitions or ()):
        at_group = groups.children[number] if groups is not None else node
        if group.type != "elasticIpAddress":
            found.not_emulated(at_group, f"{group.type}: of another provider than AWS")
            continue
        try:
            public = IPv4Address(group.scoping_address or "")
        except ValueError as error:
            where = at_group.get("scopingAddress") or at_group
            raise InputError(where.place, f"{where.path}: not an IPv4 address") from error
        first, second = group.vip_addresses
        if addresses.enabled:
            found.elastic.append(ElasticPair(public, (first, second), at_group.place))
    found.understood(node.get("enabled"), "whether addresses move")
    found.not_emulated(node.get("requireScopingTags"), "the lab's interfaces have the tags")
    found.understood(node, "addresses that a failover moves: see the mapping")
