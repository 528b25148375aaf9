"""`ltm virtual` as what it declares. Pure.

Defaults are those of a 14.1 unit (docs/fidelity.md): no SNAT, mirroring off, addresses
translated.
"""

from __future__ import annotations

from emulator.lab.inputs import properties
from emulator.lab.inputs.declared import ANY, Declared, Server, address, network
from emulator.lab.inputs.tmshwords import bit, endpoint, full, number
from emulator.lab.inputs.tree import InputError, Node


def virtual(node: Node, into: Declared) -> None:
    server = Server(full(node.words[0]), node)
    server.places["name"] = node.place
    readers = {
        "destination": _destination, "mask": _mask, "ip-protocol": _protocol, "pool": _its_pool,
        "profiles": _profiles, "source-address-translation": _snat, "snat": _old_snat,
        "snatpool": _old_snat_pool, "mirror": _mirror, "persist": _persist,
        "translate-address": _translate, "translate-port": _translate_port, "source": _source,
        "source-port": _source_port, "ip-forward": _forward, "l2-forward": _forward,
        "disabled": _disabled, "enabled": _enabled,
    }  # fmt: skip
    for child in node.children:
        if child.key in readers:
            readers[child.key](server, child)
    _destination_left(server, node)
    server.by_table(properties.VIRTUAL)
    into.servers.append(server)


def _destination(server: Server, node: Node) -> None:
    host, port = endpoint(node, str(node.value))
    server.port = number(node, port)
    server.places["virtual_server.destination"] = node.place
    if host.partition("%")[0] in ("any", "0.0.0.0"):
        server.network = ANY
    else:
        try:
            server.destinations = [address(node, host)]
        except InputError:
            server.address = full(str(node.value).rsplit(":", 1)[0])  # a virtual-address's name
    text = f"the virtual server's address; the lab's listens on every port, not on {port or 'one'}"
    server.understood(node, text)


def _mask(server: Server, node: Node) -> None:
    if str(node.value) in ("255.255.255.255", "32"):
        server.understood(node, "one address")
        return
    host = str(server.destinations[0]) if server.destinations else "0.0.0.0"
    server.network = network(node, host, str(node.value))
    server.destinations = []


def _protocol(server: Server, node: Node) -> None:
    server.protocol = str(node.value)
    server.places["virtual_server.protocol"] = node.place
    if server.protocol == "tcp":
        server.understood(node, "TCP")


def _its_pool(server: Server, node: Node) -> None:
    server.pool = full(str(node.value))
    server.places["virtual_server.pool"] = node.place
    server.understood(node, "the pool, whose members are the lab's backends")


def _profiles(server: Server, node: Node) -> None:
    server.profiles = [full(child.key) for child in node.children] or [
        full(word) for word in node.words
    ]
    server.places.setdefault("virtual_server.type", node.place)
    server.understood(node, "decide on the type of the virtual server: see the profiles")


def _snat(server: Server, node: Node) -> None:
    kind, pool = node.get("type"), node.get("pool")
    value = str(kind.value) if kind is not None else "none"
    server.places["virtual_server.snat"] = (kind or node).place
    if value not in ("automap", "none", "snat", "lsn"):
        raise InputError((kind or node).place, f"{node.path}.type: unknown {value!r}")
    if value == "lsn":
        server.cannot(kind or node, "carrier-grade NAT (LSN pools) is not emulated")
        return
    server.snat = {"automap": "automap", "none": "none", "snat": "pool"}[value]
    if pool is not None and value == "snat":
        server.snat_pool = full(str(pool.value))
        server.places["virtual_server.snat"] = pool.place
    server.understood(node, f"virtual_server.snat {server.snat}")


def _old_snat(server: Server, node: Node) -> None:
    server.snat = str(node.value) if str(node.value) in ("automap", "none") else server.snat
    server.places["virtual_server.snat"] = node.place
    server.understood(node, f"virtual_server.snat {server.snat} (as written before 11.3)")


def _old_snat_pool(server: Server, node: Node) -> None:
    server.snat, server.snat_pool = "pool", full(str(node.value))
    server.places["virtual_server.snat"] = node.place
    server.understood(node, "virtual_server.snat pool (as written before 11.3)")


def _mirror(server: Server, node: Node) -> None:
    server.mirroring = bit(node)
    server.places["virtual_server.mirroring"] = node.place
    server.understood(node, f"virtual_server.mirroring {str(server.mirroring).lower()}")


def _persist(server: Server, node: Node) -> None:
    names = [child.key for child in node.children] or list(node.words)
    if names and names != ["none"]:
        server.persistence = full(names[0])
        server.places["virtual_server.persistence"] = node.place


def _translate(server: Server, node: Node) -> None:
    server.translate_address = bit(node)
    server.places["translate-address"] = node.place
    if server.translate_address:
        server.understood(node, "as by default")


def _translate_port(server: Server, node: Node) -> None:
    server.ignored(node, "the lab's sessions use one port on both sides")


def _source(server: Server, node: Node) -> None:
    if str(node.value) in ("0.0.0.0/0", "0.0.0.0"):
        server.understood(node, "from any client")
    else:
        server.not_emulated(node, "the lab's virtual server takes any client, and there is one")


def _source_port(server: Server, node: Node) -> None:
    if str(node.value) == "preserve":
        server.understood(node, "the client's port is kept where it is free")
    elif str(node.value) == "change":
        server.change_port = node  # `virtualserver` says what becomes of it
    else:
        server.not_emulated(node, "the client's port is kept where it is free, as with preserve")


def _forward(server: Server, node: Node) -> None:
    server.places["virtual_server.type"] = node.place
    server.type = "forwarding"
    if node.key == "ip-forward":
        server.understood(node, "virtual_server.type forwarding")
    else:
        server.cannot(node, "forwarding of layer 2 is not emulated")


def _destination_left(server: Server, node: Node) -> None:
    """What a forwarding virtual server is, and no other here."""
    mask, translate = node.get("mask"), node.get("translate-address")
    if server.type == "forwarding":
        server.understood(mask, "the network it is for: see the mapping")
        server.understood(translate, "a forwarding virtual server translates no destination")
        return
    if server.network is not None:
        server.refused(mask, "a network as destination: only of forwarding virtual servers")
    if not server.translate_address:
        server.refused(translate, "a virtual server that leaves the destination address")


def _disabled(server: Server, node: Node) -> None:
    server.cannot(node, "a disabled virtual server answers nobody")


def _enabled(server: Server, node: Node) -> None:
    server.understood(node, "as by default")
