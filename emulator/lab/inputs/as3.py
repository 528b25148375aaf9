"""AS3 declarations as what they declare. Pure.

Source of names and defaults: the schema of F5's AS3 3.56.0. A virtual server's name is
/Tenant/Application/service; omitted `snat` means automap, omitted `mirroring` none.
"""

from __future__ import annotations

from collections.abc import Iterator

from emulator.lab.inputs import as3objects as objects
from emulator.lab.inputs import properties
from emulator.lab.inputs.as3words import bool_of, class_of, pointer, reference, text_of
from emulator.lab.inputs.declared import (
    Declared,
    Item,
    Server,
    network,
)
from emulator.lab.inputs.tree import InputError, Node

SERVICES = {  # class -> type, protocol, the schema's default port
    "Service_L4": ("fastL4", "tcp", None), "Service_TCP": ("standard", "tcp", None),
    "Service_HTTP": ("standard", "tcp", 80), "Service_HTTPS": ("standard", "tcp", 443),
    "Service_Generic": ("standard", "tcp", None), "Service_UDP": ("standard", "udp", None),
    "Service_SCTP": ("standard", "sctp", None), "Service_Forwarding": ("forwarding", "any", None),
}  # fmt: skip
PERSIST_DEFAULT = {"Service_HTTP": None, "Service_HTTPS": None, "Service_Forwarding": None}
SECTIONS = ("Tenant", "Application")
_TEMPLATES = "which objects the extension makes; they are read as they stand"


def read(root: Node, into: Declared) -> None:
    """Add a declaration's objects to what is declared; raises InputError."""
    adc = root
    if class_of(root) == "AS3":
        found = root.get("declaration")
        if found is None:
            raise InputError(root.place, "an AS3 request without a declaration")
        request = Item("AS3", root)
        for child in root.children:
            if child is not found:
                request.ignored(child, "how the extension is asked, no behaviour of a connection")
        into.others.append(request)
        adc = found
    if class_of(adc) != "ADC":
        raise InputError(
            adc.place, f"class is {class_of(adc)!r}, not ADC (or AS3): no AS3 declaration"
        )
    top = Item("ADC", adc)
    into.others.append(top)
    _section(adc, top)
    for tenant in _having(adc, "Tenant", top):
        for application in _having(tenant, "Application", top):
            prefix = f"/{tenant.key}/{application.key}"
            for node in application.children:
                if node.kind == "object":
                    _guarded(node, prefix, into)


def _section(node: Node, item: Item) -> None:
    """What a declaration, tenant or application says of itself."""
    for child in node.children:
        if child.kind == "leaf" or child.key in ("constants", "controls"):
            known = properties.REMARKS.get(child.key)
            if child.key in ("class", "template"):
                item.understood(child, _TEMPLATES)
            elif known is not None:
                item.marks.append((child, *known))
            elif child.key == "enable" and child.value is not False:
                item.understood(child, "as by default")
            else:
                item.ignored(child, "of the declaration, no behaviour of a connection")


def _having(node: Node, name: str, item: Item) -> Iterator[Node]:
    for child in node.children:
        if child.kind == "object" and class_of(child) == name:
            _section(child, item)
            yield child


def _guarded(node: Node, prefix: str, into: Declared) -> None:
    """What cannot be read of one object is no reason to refuse the others."""
    try:
        _object(node, prefix, into)
    except InputError as error:
        name = f"{prefix}/{node.key}"
        if class_of(node) in SERVICES:
            into.servers.append(Server(name, node, why_not=[error]))
        into.refuse(name, node, error)


def _object(node: Node, prefix: str, into: Declared) -> None:
    kind, name = class_of(node), f"{prefix}/{node.key}"
    if kind in SERVICES:
        into.servers.append(_service(node, name, prefix))
    elif kind == "Pool":
        into.pools[name] = objects.pool(node, name)
    elif kind == "SNAT_Pool":
        into.snat_pools[name] = objects.snat_pool(node, name, prefix)
    elif kind == "SNAT_Translation":
        into.translations[name] = objects.translation(node, name)
    elif kind == "L4_Profile":
        into.profiles[name] = objects.l4_profile(node, name)
    elif kind == "Persist":
        into.persistences[name] = objects.persist_profile(node, name)
    elif kind == "Service_Address":
        into.addresses[name] = objects.service_address(node, name, into)
    else:
        item = Item(name, node)
        known = properties.AS3_CLASSES.get(kind)
        if known is None and kind.startswith("Service_"):
            known = (properties._N, f"virtual servers of class {kind} are not emulated")
        if known is not None:
            item.marks.append((node, *known))
        into.others.append(item)


# -- services -------------------------------------------------------------------------------------


def _service(node: Node, name: str, prefix: str) -> Server:
    kind = class_of(node)
    server = Server(name, node)
    server.type, server.protocol, server.port = SERVICES[kind]
    server.http, server.tls = kind in ("Service_HTTP", "Service_HTTPS"), kind == "Service_HTTPS"
    server.snat = "none" if kind == "Service_Forwarding" else "automap"
    server.persistence = None if kind in PERSIST_DEFAULT else "source-address"
    class_node = node.get("class")
    assert class_node is not None
    server.places |= {"name": node.place, "virtual_server.type": class_node.place}
    server.places["virtual_server.snat"] = node.place
    readers = {
        "virtualAddresses": _addresses, "virtualPort": _port, "pool": _its_pool, "snat": _snat,
        "mirroring": _mirroring, "persistenceMethods": _persistence, "profileL4": _profile,
        "layer4": _layer4, "translateServerAddress": _translate, "enable": _enable,
        "translateServerPort": _same_port, "translateClientPort": _client_port,
        "forwardingType": _forwarding,
    }  # fmt: skip
    for child in node.children:
        if child.key in readers:
            readers[child.key](server, child, prefix)
    _rest(server, node, kind)
    return server


def _rest(server: Server, node: Node, kind: str) -> None:
    server.understood(node.get("class"), f"virtual_server.type {server.type}")
    server.by_table(properties.REMARKS)
    for key in ("iRules", "policyEndpoint", "policyNAT", "policyWAF", "policyBandwidthControl",
                "policyFirewallEnforced", "policyIAM", "policyPerRequestAccess"):  # fmt: skip
        server.not_emulated(node.get(key), "policies and iRules do not run")
    for key in ("profileTCP", "profileHTTP", "serverTLS", "clientTLS", "profileMultiplex",
                "profileHTTPCompression", "profileHTTPAcceleration", "profileUDP"):  # fmt: skip
        server.not_emulated(node.get(key), "such profiles do nothing here: bytes pass as they are, "
                            "by the kernel's own TCP")  # fmt: skip
    server.not_emulated(node.get("lastHop"), "a device here routes by its routing table")
    server.not_emulated(node.get("maxConnections"), "no limit of connections here")
    server.not_emulated(node.get("clonePools"), "no copies of the traffic are made")
    server.ignored(node.get("redirect80"), "a second virtual server, on port 80")
    for key in ("allowVlans", "rejectVlans"):
        server.ignored(node.get(key), "traffic comes in by the external VLAN, there is no other")
    for key in (
        "profileAnalytics",
        "profileAnalyticsTcp",
        "securityLogProfiles",
        "profileTrafficLog",
    ):
        server.ignored(node.get(key), "statistics and logs change nothing of a connection")


def _addresses(server: Server, node: Node, prefix: str) -> None:
    server.places["virtual_server.destination"] = node.place
    for child in node.children:
        target = child
        if child.kind == "list":
            if not child.children:
                raise InputError(child.place, f"{child.path}: an address is expected")
            target = child.children[0]
            for source in child.children[1:]:
                if source.value not in ("0.0.0.0/0", "0.0.0.0"):
                    server.not_emulated(source, "the lab's virtual server takes any client")
        if target.kind == "object":
            named = target.get("use") or target.get("bigip")
            server.address = reference(text_of(named) or "", prefix)
            continue
        whole = network(target, text_of(target) or "")
        if server.type != "forwarding" and whole.prefixlen == 32:
            server.destinations.append(whole.network_address)
            continue
        if server.type != "forwarding":
            server.refused(target, "a network as destination: wildcard virtual servers")
        elif server.network is not None:
            server.not_emulated(target, "a further network: only the first is taken")
        server.network = server.network or whole
    server.understood(node, "the virtual server's address: see the mapping")


def _port(server: Server, node: Node, _: str) -> None:
    if not isinstance(node.value, int) or isinstance(node.value, bool):
        raise InputError(node.place, f"{node.path}: a port number is expected")
    server.port = node.value
    server.ignored(node, "the lab's virtual server listens on every port")


def _its_pool(server: Server, node: Node, prefix: str) -> None:
    server.pool = pointer(node, prefix)
    server.places["virtual_server.pool"] = node.place
    server.understood(node, "the pool, whose members are the lab's backends")


def _snat(server: Server, node: Node, prefix: str) -> None:
    server.places["virtual_server.snat"] = node.place
    if node.kind == "object":
        server.snat, server.snat_pool = "pool", pointer(node, prefix)
        server.understood(node, "virtual_server.snat pool")
        return
    value = text_of(node)
    if value == "self":
        server.cannot(node, "SNAT to the virtual server's own address is not emulated")
        return
    if value not in ("auto", "none"):
        raise InputError(
            node.place, f"{node.path}: {value!r} is not none, self, auto or a reference"
        )
    server.snat = {"auto": "automap", "none": "none"}[value]
    server.understood(node, f"virtual_server.snat {server.snat}")


def _mirroring(server: Server, node: Node, _: str) -> None:
    if node.value not in ("L4", "none"):
        raise InputError(node.place, f"{node.path}: {node.text!r} is neither none nor L4")
    server.mirroring = node.value == "L4"
    server.places["virtual_server.mirroring"] = node.place
    server.understood(node, f"virtual_server.mirroring {str(server.mirroring).lower()}")


def _persistence(server: Server, node: Node, prefix: str) -> None:
    server.places["virtual_server.persistence"] = node.place
    first = node.children[0] if node.children else None
    server.persistence = pointer(first, prefix) if first is not None else None
    if first is not None and first.kind == "leaf":
        server.persistence = text_of(first)


def _profile(server: Server, node: Node, prefix: str) -> None:
    if node.kind == "object":
        server.profiles.append(pointer(node, prefix))
    server.understood(node, "the fastL4 profile" if node.kind == "object" else "the built-in one")


def _layer4(server: Server, node: Node, _: str) -> None:
    server.protocol = text_of(node) or server.protocol
    server.places["virtual_server.protocol"] = node.place
    if server.protocol == "tcp":
        server.understood(node, "TCP")


def _translate(server: Server, node: Node, _: str) -> None:
    server.translate_address = bool_of(node)
    server.places["translate-address"] = node.place
    if server.translate_address:
        server.understood(node, "as by default")
    elif server.type == "forwarding":
        server.understood(node, "a forwarding virtual server translates no destination")
    else:
        server.refused(node, "a virtual server that leaves the destination address")


def _same_port(server: Server, node: Node, _: str) -> None:
    server.ignored(node, "the lab's sessions use one port on both sides")


def _client_port(server: Server, node: Node, _: str) -> None:
    if node.value in (False, "preserve"):
        server.understood(node, "the client's port is kept where it is free")
    elif node.value in (True, "change"):
        server.change_port = node  # `virtualserver` says what becomes of it
    else:
        server.not_emulated(node, "the client's port is kept where it is free, as with preserve")


def _forwarding(server: Server, node: Node, _: str) -> None:
    server.places["virtual_server.type"] = node.place
    if text_of(node) == "ip":
        server.understood(node, "virtual_server.type forwarding")
    else:
        server.cannot(node, "forwarding of layer 2 is not emulated")


def _enable(server: Server, node: Node, _: str) -> None:
    if bool_of(node):
        server.understood(node, "as by default")
    else:
        server.cannot(node, "a disabled virtual server answers nobody")
