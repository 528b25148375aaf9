"""tmsh objects as what they declare. Pure.

Names without a folder are in /Common, as tmsh has it. Defaults are those of a 14.1 unit
(docs/fidelity.md): no SNAT, mirroring off, addresses translated.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from emulator.lab.inputs import properties
from emulator.lab.inputs.bigipvirtual import virtual
from emulator.lab.inputs.declared import (
    Declared,
    Device,
    Item,
    L4Profile,
    Member,
    Persistence,
    Pool,
    SelfIp,
    Server,
    SnatPool,
    address,
    interface,
)
from emulator.lab.inputs.ledger import Category
from emulator.lab.inputs.tmshwords import bit, endpoint, full, number
from emulator.lab.inputs.tree import InputError, Node


def read(root: Node, into: Declared) -> None:
    """Add all objects of one file to what is declared; raises InputError."""
    for node in _merged(root).children:
        reader = _reader(node.key)
        if reader is not None and node.words:
            _guarded(reader, node, into)
            continue
        item = Item(node.path, node)
        known = properties.of_component(node.key)
        if known is not None:
            item.marks.append((node, *known))
        into.others.append(item)


def _guarded(reader: Callable[[Node, Declared], None], node: Node, into: Declared) -> None:
    """What cannot be read of one object is no reason to refuse the others."""
    try:
        reader(node, into)
    except InputError as error:
        name = full(node.words[0])
        if node.key == "ltm virtual":
            into.servers.append(Server(name, node, why_not=[error]))
        into.refuse(name, node, error)


def _merged(root: Node) -> Node:
    """Objects set up by several commands as one, later settings last."""
    found: dict[tuple[str, str], Node] = {}
    for node in root.children:
        key = (node.key, full(node.words[0]) if node.words else "")
        earlier = found.get(key)
        found[key] = (
            node if earlier is None else replace(earlier, children=earlier.children + node.children)
        )
    return replace(root, children=tuple(found.values()))


def _reader(component: str) -> Callable[[Node, Declared], None] | None:
    exact: dict[str, Callable[[Node, Declared], None]] = {
        "ltm virtual": virtual, "ltm pool": _pool, "ltm snatpool": _snat_pool,
        "ltm snat-translation": _translation,
        "ltm virtual-address": _virtual_address, "net self": _self_ip, "cm device": _device,
        "sys db": _db, "ltm persistence source-addr": _persistence, "cm traffic-group": _group,
    }  # fmt: skip
    if component.startswith("ltm profile "):
        return _profile
    return exact.get(component)


# -- what a virtual server uses -------------------------------------------------------------------


def _pool(node: Node, into: Declared) -> None:
    pool = Pool(full(node.words[0]), node)
    for child in node.all("members"):
        host, port = endpoint(child, child.key)
        given = child.get("address")
        try:
            found = address(given) if given is not None else address(child, host)
        except InputError:
            found = None  # a node's name, or an FQDN
        pool.members.append(Member(found, number(child, port), child))
        for name in ("session", "state"):
            pool.ignored(child.get(name), "members are always up")
        for name in ("priority-group", "ratio", "connection-limit"):
            pool.not_emulated(child.get(name), "members are taken round robin, without limits")
    for members in (c for c in node.children if c.key == "members"):
        pool.understood(members, "a backend of the lab for each of the first two members")
    pool.by_table(properties.POOL)
    into.pools[pool.name] = pool


def _snat_pool(node: Node, into: Declared) -> None:
    pool = SnatPool(full(node.words[0]), node)
    for child in node.all("members"):
        short = child.key.rsplit("/", 1)[-1]
        named = not (short[:1].isdigit() or ":" in short)
        pool.members.append((full(child.key) if named else address(child, short), child))
    for members in (c for c in node.children if c.key == "members"):
        pool.understood(members, "virtual_server.snat_pool")
    pool.by_table(properties.REMARKS)
    into.snat_pools[pool.name] = pool


def _translation(node: Node, into: Declared) -> None:
    item = Item(full(node.words[0]), node)
    given = node.get("address")
    text = str(given.value) if given is not None else item.name.rsplit("/", 1)[-1]
    found = address(given or node, text)
    item.understood(given, "an address of virtual_server.snat_pool")
    item.by_table(properties.REMARKS)
    item.not_emulated(node, "a SNAT address has no settings of its own here")
    into.translations[item.name] = (found, item)


def _profile(node: Node, into: Declared) -> None:
    kind = node.key.removeprefix("ltm profile ").lower()
    kind = (
        "fastL4"
        if kind == "fastl4"
        else {"client-ssl": "clientssl", "server-ssl": "serverssl"}.get(kind, kind)
    )
    profile = L4Profile(full(node.words[0]), node, kind=kind)
    into.profiles[profile.name] = profile
    parent = node.get("defaults-from")
    if parent is not None and str(parent.value) != "none":
        profile.parent = full(str(parent.value))
        profile.understood(parent, "what is not set here is the parent's")
    if kind not in ("fastL4", "tcp", "udp"):
        text = (
            "TLS is not emulated: bytes pass as they are"
            if "ssl" in kind
            else ("the profile does nothing here: bytes pass as they are")
        )
        profile.not_emulated(node, text)
        return
    _idle(profile, node.get("idle-timeout"))
    for key, name in (("loose-initialization", "loose_initiation"), ("loose-close", "loose_close")):
        found = node.get(key)
        if kind == "fastL4" and found is not None:
            setattr(profile, name, bit(found))
            profile.understood(found, f"virtual_server.{name} {found.value!s}")
    if kind == "fastL4":
        profile.by_table(properties.FASTL4)
    else:
        profile.by_table(properties.REMARKS)
        profile.not_emulated(node, properties.TCP_PROFILE)


def _idle(profile: L4Profile, node: Node | None) -> None:
    if node is None:
        return
    given = str(node.value)
    if given == "indefinite":
        profile.idle_timeout_s = 86400
        profile.understood(node, "virtual_server.idle_timeout_s 86400, the longest there is here")
    elif given.isdecimal() and len(given) < 10 and int(given) > 0:
        profile.idle_timeout_s = min(int(given), 86400)
        profile.understood(node, f"virtual_server.idle_timeout_s {profile.idle_timeout_s}")
    else:
        profile.not_emulated(node, "the lab's idle time-out is a number of seconds, here 300")


def _persistence(node: Node, into: Declared) -> None:
    found = Persistence(full(node.words[0]), node)
    mirror, parent = node.get("mirror"), node.get("defaults-from")
    if mirror is not None:
        found.mirror = bit(mirror)
    if parent is not None:
        found.parent = full(str(parent.value))
    found.by_table(properties.PERSISTENCE)
    into.persistences[found.name] = found


def _virtual_address(node: Node, into: Declared) -> None:
    item = Item(full(node.words[0]), node)
    group, given = node.get("traffic-group"), node.get("address")
    if group is not None:
        into.address_groups[item.name] = full(str(group.value))
        item.understood(group, "the traffic group: lint looks whether the address is in one")
    item.understood(given, "the virtual server's address")
    item.understood(node.get("mask"), "one address, or the network of a forwarding virtual server")
    for key in ("arp", "icmp-echo", "route-advertisement", "spanning", "floating", "server-scope"):
        item.not_emulated(node.get(key), "a virtual address here is announced as its world needs")
    item.by_table(properties.REMARKS)
    into.addresses[item.name] = item


# -- the device -----------------------------------------------------------------------------------


def _self_ip(node: Node, into: Declared) -> None:
    found = SelfIp(full(node.words[0]), node)
    given, vlan, group = node.get("address"), node.get("vlan"), node.get("traffic-group")
    if given is not None:
        found.address = interface(given)
        found.understood(given, "an address of the device: see the mapping")
    if vlan is not None:
        found.vlan = str(vlan.value)
        found.understood(vlan, "which side of the device it is on")
    if group is not None:
        found.floating = not str(group.value).endswith("traffic-group-local-only")
        found.understood(group, "floating" if found.floating else "the device's own")
    allow = node.get("allow-service")
    if allow is not None:
        words = [w for c in allow.children for w in (c.key, *c.words)] or list(allow.words)
        found.allow, found.allow_node = tuple(words), allow
        found.not_emulated(allow, LOCKDOWN)
    found.by_table(properties.REMARKS)
    into.self_ips.append(found)
    into.others.append(found)


LOCKDOWN = (
    "the lab's data self IPs allow nothing, and the peer's mirroring ports pass (K13250); lint "
    "looks at what is said here"
)


def _device(node: Node, into: Declared) -> None:
    device = Device(full(node.words[0]), node)
    given = node.get("mirror-ip")
    device.mirror_ip = str(given.value) if given is not None else "any6"
    device.mirror_place = (given or node).place
    device.understood(given, "mirroring runs between the lab's HA interfaces: see the mapping")
    device.not_emulated(node.get("mirror-secondary-ip"), "one mirroring channel, no secondary one")
    device.understood(node.get("unicast-address"), "heartbeats: UDP 1026, on the HA interfaces")
    device.understood(node.get("hostname"), "one of the two devices")
    device.ignored(node, "which machine it is, no behaviour of a connection")
    into.devices.append(device)
    into.others.append(device)


def _group(node: Node, into: Declared) -> None:
    item = Item(full(node.words[0]), node)
    mac = node.get("mac")
    if mac is not None and str(mac.value) != "none":
        into.masquerade = mac
        item.understood(mac, "on-premises: devices.mac_masquerade; in a cloud there is none")
    item.not_emulated(node.get("auto-failback-enabled"), "no automatic failback")
    item.by_table(properties.REMARKS)
    item.not_emulated(node, "one traffic group here, whose order is the lab's")
    into.others.append(item)


def _db(node: Node, into: Declared) -> None:
    name, value = node.words[0].lower(), node.get("value")
    item = Item(f"sys db {name}", node)
    into.others.append(item)
    if value is not None:
        set_db(name, str(value.value), value, item, into)
    item.ignored(node, "not what the variable is set to")


def set_db(name: str, text: str, node: Node, item: Item, into: Declared) -> None:
    """A database variable, from tmsh or Declarative Onboarding."""
    meaning = {
        "tm.rejectunmatched": "devices.reject_unmatched",
        "tm.fastl4_ack_mirror": "devices.ack_mirror",
        "statemirror.secure": "devices.statemirror_secure",
        "failover.secure": "devices.failover_secure",
        "failover.nettimeoutsec": "devices.failover_timeout_s",
        "statemirror.state": "virtual_server.mirroring, which is off where this is disabled",
    }
    into.db[name] = (text.lower(), node)
    if name in meaning:
        item.understood(node, meaning[name])
        return
    for prefix, why in properties.DB_NOT_EMULATED.items():
        if name.startswith(prefix):
            item.marks.append((node, Category.NOT_EMULATED, why))
            return
    item.ignored(node, "a variable with no bearing on a failover")
