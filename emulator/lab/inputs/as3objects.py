"""What an AS3 service uses: pools, SNAT pools, profiles, persistence, addresses. Pure."""

from __future__ import annotations

from ipaddress import IPv4Address

from emulator.lab.inputs import properties
from emulator.lab.inputs.as3words import bool_of, pointer, text_of
from emulator.lab.inputs.declared import (
    Declared,
    Item,
    L4Profile,
    Member,
    Persistence,
    Pool,
    SnatPool,
    address,
)
from emulator.lab.inputs.tree import Node


def pool(node: Node, name: str) -> Pool:
    pool = Pool(name, node)
    members = node.get("members")
    for entry in members.children if members is not None else ():
        port = entry.get("servicePort")
        number = port.value if port is not None and isinstance(port.value, int) else None
        hosts = entry.get("serverAddresses") or entry.get("servers")
        for child in hosts.children if hosts is not None else ():
            target = child.get("address") if child.kind == "object" else child
            pool.members.append(Member(address(target) if target else None, number, child))
        for child in entry.children:
            if child.key in ("ratio", "priorityGroup", "connectionLimit", "rateLimit", "monitors"):
                pool.not_emulated(child, "members are taken round robin, always up, no limits")
            elif child.key in ("adminState", "enable", "shareNodes", "serverAddresses", "servers",
                               "servicePort"):  # fmt: skip
                pool.understood(child, "a backend of the lab for each of the first two members")
            elif child.key in ("remark", "label", "metadata"):
                pool.ignored(child, "a remark")
            else:
                pool.not_emulated(child, "members are named by their addresses only")
    pool.understood(node.get("class"), "a pool")
    pool.understood(members, "a backend of the lab for each of the first two members")
    pool.by_table(properties.POOL)
    return pool


def snat_pool(node: Node, name: str, prefix: str) -> SnatPool:
    pool = SnatPool(name, node)
    given = node.get("snatAddresses")
    for child in given.children if given is not None else ():
        named = child.kind == "object"
        pool.members.append((pointer(child, prefix) if named else address(child), child))
    pool.understood(given, "virtual_server.snat_pool")
    pool.understood(node.get("class"), "a SNAT pool")
    pool.by_table(properties.REMARKS)
    return pool


def translation(node: Node, name: str) -> tuple[IPv4Address, Item]:
    item = Item(name, node)
    given = node.get("address")
    item.understood(node.get("class"), "a SNAT address")
    item.understood(given, "an address of virtual_server.snat_pool")
    item.by_table(properties.REMARKS)
    item.not_emulated(node, "a SNAT address has no settings of its own here")
    return address(given or node), item


def l4_profile(node: Node, name: str) -> L4Profile:
    profile = L4Profile(name, node)
    profile.understood(node.get("class"), "a fastL4 profile")
    for key, field in (("looseInitialization", "loose_initiation"), ("looseClose", "loose_close")):
        if (found := node.get(key)) is not None:
            setattr(profile, field, bool_of(found))
            profile.understood(found, f"virtual_server.{field} {found.text}")
    idle = node.get("idleTimeout")
    if idle is not None and isinstance(idle.value, int) and not isinstance(idle.value, bool):
        if idle.value == 0 or idle.value < -1:
            profile.not_emulated(idle, "the lab's idle time-out is a number of seconds, here 300")
        else:
            profile.idle_timeout_s = min(idle.value, 86400) if idle.value > 0 else 86400
            profile.understood(idle, f"virtual_server.idle_timeout_s {profile.idle_timeout_s}")
    profile.by_table(properties.FASTL4)
    return profile


def persist_profile(node: Node, name: str) -> Persistence:
    found = Persistence(name, node)
    found.kind = text_of(node.get("persistenceMethod")) or "source-address"
    if (mirror := node.get("mirror")) is not None:
        found.mirror = bool_of(mirror)
    found.by_table(properties.PERSISTENCE)
    return found


def service_address(node: Node, name: str, into: Declared) -> Item:
    item = Item(name, node)
    group = node.get("trafficGroup")
    if group is not None:
        into.address_groups[name] = text_of(group) or ""
        item.understood(group, "the traffic group: lint looks whether the address is in one")
    for key in ("class", "virtualAddress"):
        item.understood(node.get(key), "the virtual server's address")
    for key in ("arpEnabled", "icmpEcho", "routeAdvertisement", "spanningEnabled", "serverScope"):
        item.not_emulated(node.get(key), "a virtual address here is announced as its world needs")
    item.by_table(properties.REMARKS)
    return item
