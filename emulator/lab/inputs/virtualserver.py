"""The virtual server taken as a scenario's `virtual_server`, but for its addresses. Pure."""

from __future__ import annotations

from typing import Any

from emulator.lab.inputs.addressing import Addressing
from emulator.lab.inputs.choose import PERSISTENCE, PROTOCOLS, TYPES, Chosen, kind_of_profile
from emulator.lab.inputs.declared import Declared, Server
from emulator.lab.inputs.ledger import Category, Ledger
from emulator.lab.inputs.tree import Place

NOT_SET = ("", "none", "any6", "any", "::", "0.0.0.0")  # mirror addresses that are none
_OWN = ("class", "persistenceMethod", "defaults-from")  # of a persistence profile: what it is


def settings_of(
    chosen: Chosen,
    declared: Declared,
    origins: dict[str, Place],
    ledger: Ledger,
    addressing: Addressing,
) -> dict[str, Any]:
    """`virtual_server`, but for what is an address; where each was said is added to `origins`."""
    server = chosen.server
    origins |= server.places
    _unknown_profiles(server, declared, addressing)
    off = declared.db.get("statemirror.state", ("enable", server.node))[0] == "disable"
    without = _no_mirror_address(declared)
    settings: dict[str, Any] = {
        "type": TYPES[server.type],
        "snat": server.snat,
        "mirroring": server.mirroring and not off and without is None,
        "pool": _backends(chosen, addressing, ledger),
    }
    if server.mirroring and not settings["mirroring"]:
        reason = "statemirror.state is disabled" if off else "a device has no mirror address"
        addressing.add("mirroring asked for", "mirroring off", reason, without)
    for name in ("loose_initiation", "loose_close", "idle_timeout_s"):
        value = chosen.setting(name)
        if value is not None and (server.type != "standard" or name == "idle_timeout_s"):
            settings[name] = value
            source = next(p for p in chosen.profiles if getattr(p, name) is not None)
            origins[f"virtual_server.{name}"] = source.node.place
    if server.change_port is not None and server.snat == "pool":
        settings["source_port"] = "change"
        ledger.mark(server.change_port, Category.UNDERSTOOD, "virtual_server.source_port change")
    elif server.change_port is not None:
        text = "the client's port is kept where it is free; changed with a SNAT pool only"
        ledger.mark(server.change_port, Category.NOT_EMULATED, text)
    _protocol_and_persistence(settings, chosen, declared, ledger)
    return settings


def _no_mirror_address(declared: Declared) -> Place | None:
    """Where a device is declared that has none: nothing can be mirrored from or to it."""
    for device in declared.devices:
        if (device.mirror_ip or "") in NOT_SET:
            return device.mirror_place or device.node.place
    return None


def _protocol_and_persistence(
    settings: dict[str, Any], chosen: Chosen, declared: Declared, ledger: Ledger
) -> None:
    server = chosen.server
    protocol = server.node.get("ip-protocol") or server.node.get("layer4")
    if server.type == "standard":
        if protocol is not None and server.protocol != "tcp":
            ledger.mark(protocol, Category.NOT_EMULATED, "of any protocol, TCP only")
    elif server.protocol != "tcp":
        settings["protocol"] = PROTOCOLS[server.protocol]
        udp, any_ = "UDP: the session is the lab's datagrams", "any protocol: TCP and UDP here"
        if protocol is not None:
            ledger.mark(protocol, Category.UNDERSTOOD, udp if server.protocol == "udp" else any_)
    profile = declared.persistences.get(server.persistence or "")
    mirror = profile.node.get("mirror") if profile is not None else None
    said = server.node.get("persist") or server.node.get("persistenceMethods")
    by_source = server.persistence is not None and (
        profile.kind if profile is not None else server.persistence.rsplit("/", 1)[-1]
    ).replace("_", "-") in ("source-address", "source-addr")
    if PERSISTENCE and by_source and server.type != "forwarding":
        settings["persistence"] = "source-address"
        settings["persistence_mirroring"] = profile is not None and profile.mirror
        category, text = Category.UNDERSTOOD, "virtual_server.persistence"
    else:
        category, text = Category.NOT_EMULATED, "no persistence: members are taken round robin"
    for node in (said, mirror, *(profile.node.children if profile is not None else ())):
        if node is not None and (node in (said, mirror) or node.key in _OWN):
            ledger.mark(node, category, text)


def _backends(chosen: Chosen, addressing: Addressing, ledger: Ledger) -> list[str]:
    if chosen.server.type == "forwarding":
        addressing.add("the servers behind it", "backend-1", "clients address it itself")
        return ["backend-1"]
    if chosen.pool is None or not chosen.pool.members:
        name = chosen.server.pool or "no pool"
        why = "it has no members in the inputs" if chosen.pool else "in none of the inputs"
        addressing.add(
            f"pool {name}", "backend-1", why, chosen.server.places.get("virtual_server.pool")
        )
        return ["backend-1"]
    names = []
    for number, member in enumerate(chosen.pool.members):
        lab = f"backend-{number + 1}" if number < 2 else "nothing"
        what = f"pool member {member.address or 'by name'}:{member.port or 'any'}"
        why = "the lab's own server, on its services' ports" if number < 2 else "two backends here"
        addressing.add(what, lab, why, member.node.place)
        if number > 1:
            ledger.mark(member.node, Category.NOT_EMULATED, "not taken: the lab has two backends")
        names += [lab] if number < 2 else []
    return names


def _unknown_profiles(server: Server, declared: Declared, addressing: Addressing) -> None:
    place = server.places.get("virtual_server.type", server.node.place)
    for name in server.profiles:
        if kind_of_profile(name, declared) == "other" and name not in declared.profiles:
            what = f"the defaults, and a {server.type} virtual server"
            addressing.add(f"profile {name}", what, "it is in none of the inputs", place)
