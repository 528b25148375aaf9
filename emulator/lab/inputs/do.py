"""A Declarative Onboarding declaration as what it declares: one device. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from emulator.lab.inputs import properties
from emulator.lab.inputs.as3words import class_of, text_of
from emulator.lab.inputs.bigip import LOCKDOWN, set_db
from emulator.lab.inputs.declared import Declared, Device, Item, SelfIp, interface
from emulator.lab.inputs.tree import InputError, Node

WRAPPERS = ("DO", "Device")
_REQUEST = "how the extension is asked, no behaviour of a connection"


def read(root: Node, into: Declared) -> None:
    """Add a declaration's objects to what is declared; raises InputError."""
    request, declaration = Item("DO", root), root
    into.others.append(request)
    if class_of(root) == "DO":
        found = root.get("declaration")
        if found is None:
            raise InputError(root.place, "a Declarative Onboarding request without a declaration")
        for child in root.children:
            if child is not found:
                request.ignored(child, _REQUEST)
        declaration = found
    if class_of(declaration) != "Device":
        raise InputError(
            declaration.place, f"class is {class_of(declaration)!r}, not Device (or DO): no "
            "Declarative Onboarding declaration",
        )  # fmt: skip
    device = Device("device", declaration)
    device.mirror_ip, device.mirror_place = "any6", declaration.place
    into.devices.append(device)
    for child in declaration.children:
        if child.kind != "object":
            request.ignored(child, _REQUEST)
            continue
        for node in _objects(child, request):
            try:
                _object(node, device, into)
            except InputError as error:
                into.refuse(node.path, node, error)


def _objects(tenant: Node, request: Item) -> Iterator[Node]:
    for child in tenant.children:
        if child.kind == "object" and child.children:
            yield child
        elif child.key == "hostname":
            request.understood(child, "one of the two devices")
        else:
            request.ignored(child, "of the declaration, no behaviour of a connection")


def _object(node: Node, device: Device, into: Declared) -> None:
    kind = class_of(node)
    item = Item(node.path, node)
    if kind == "SelfIp":
        item = _self_ip(node, into)
    elif kind == "MirrorIp":
        _mirror_ip(node, device, item)
    elif kind == "DbVariables":
        for child in node.children:
            if child.key != "class":
                set_db(child.key.lower(), child.text, child, item, into)
        item.understood(node.get("class"), "database variables")
    elif kind == "MAC_Masquerade":
        into.masquerade = node
        item.understood(node, "on-premises: devices.mac_masquerade; in a cloud there is none")
    elif kind in properties.DO_CLASSES:
        item.marks.append((node, *properties.DO_CLASSES[kind]))
    if item not in into.others:
        into.others.append(item)


def _self_ip(node: Node, into: Declared) -> SelfIp:
    found = SelfIp(node.path, node)
    given, vlan, group = node.get("address"), node.get("vlan"), node.get("trafficGroup")
    if given is not None and text_of(given):
        found.address = interface(given)
    found.understood(given, "an address of the device: see the mapping")
    if vlan is not None:
        found.vlan = text_of(vlan) or ""
    found.understood(vlan, "which side of the device it is on")
    if group is not None:
        found.floating = not (text_of(group) or "").endswith("traffic-group-local-only")
    found.understood(group, "floating, or the device's own")
    allow = node.get("allowService")
    if allow is not None:
        found.allow = tuple(leaf.text for leaf in allow.leaves())
        found.allow_node = allow
        found.not_emulated(allow, LOCKDOWN)
    found.understood(node.get("class"), "an address of the device: see the mapping")
    found.by_table(properties.REMARKS)
    into.self_ips.append(found)
    return found


def _mirror_ip(node: Node, device: Device, item: Item) -> None:
    primary = node.get("primaryIp")
    device.mirror_ip = text_of(primary) or "any6"
    device.mirror_place = (primary or node).place
    item.understood(primary, "mirroring runs between the lab's HA interfaces: see the mapping")
    item.understood(node.get("class"), "the device's mirror address")
    item.not_emulated(node.get("secondaryIp"), "one mirroring channel, no secondary one")
