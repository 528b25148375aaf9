"""Inputs as one scenario, with the reading list and the list of what stands for what. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network
from typing import Any

from pydantic import ValidationError

from emulator.lab.inputs import as3, bigip, cfe, do, jsontext, tmsh
from emulator.lab.inputs.addressing import (
    SERVERS,
    Addressing,
    Mapped,
    arrange,
    list_self_ips,
    literal,
    on_segments,
)
from emulator.lab.inputs.choose import Chosen, choose, resolve
from emulator.lab.inputs.declared import Declared, Server
from emulator.lab.inputs.ledger import Category, Ledger, Reading
from emulator.lab.inputs.routing import Ways, lead, lead_through
from emulator.lab.inputs.tree import InputError, Node, Place
from emulator.lab.inputs.virtualserver import settings_of
from emulator.lab.settings.devices import VirtualServer
from emulator.lab.settings.scenario import Scenario
from netns.onprem import onprem

KINDS: dict[str, tuple[Callable[[str, str], Node], Callable[[Node, Declared], None]]] = {
    "bigip-conf": (tmsh.parse, bigip.read),
    "as3": (jsontext.parse, as3.read),
    "cfe": (jsontext.parse, cfe.read),
    "do": (jsontext.parse, do.read),
}


@dataclass(frozen=True)
class Source:
    """One input: its kind (a key of KINDS), its name for messages, its text."""

    kind: str
    file: str
    text: str


@dataclass
class Translation:
    """What became of the inputs.

    `scenario` is None where they are refused; `refusal` says why, `readings` and `mapping` go
    as far as it went. `settings`: what the inputs set, as a scenario file would. `origins`:
    setting -> the place that says so.
    """

    declared: Declared
    readings: list[Reading] = field(default_factory=list)
    mapping: list[Mapped] = field(default_factory=list)
    settings: dict[str, Any] = field(default_factory=dict)
    origins: dict[str, Place] = field(default_factory=dict)
    server: Server | None = None
    scenario: Scenario | None = None
    refusal: InputError | None = None


def translate(
    sources: Sequence[Source],
    *,
    virtual: str | None = None,
    world: str | None = None,
    base: dict[str, Any] | None = None,
) -> Translation:
    """Read all inputs together; raises InputError where one cannot be read at all.

    `base`: settings of a scenario that the inputs' own replace. `world`: cloud or onprem; None:
    cloud with a Cloud Failover declaration or without floating self IPs, else onprem.
    """
    declared, ledger, roots = Declared(), Ledger(), list[Node]()
    for source in sources:
        parse, read = KINDS[source.kind]
        root = parse(source.text, source.file)
        roots.append(root)
        read(root, declared)
    found = Translation(declared)
    try:
        _fill(found, ledger, sources, virtual, world, base or {})
    except InputError as refusal:
        found.refusal, found.scenario = refusal, None
        _mark_refused(roots, refusal, ledger)
    _mark_objects(found, ledger)
    found.readings = ledger.readings(roots)
    return found


def _fill(
    found: Translation,
    ledger: Ledger,
    sources: Sequence[Source],
    virtual: str | None,
    world: str | None,
    base: dict[str, Any],
) -> None:
    declared = found.declared
    files = ", ".join(source.file for source in sources)
    found.origins["name"] = Place(sources[0].file)
    found.server = choose(declared, virtual, Place(sources[0].file))
    floats = any(s.floating for s in declared.self_ips)
    chosen_world = world or ("onprem" if declared.failover is None and floats else "cloud")
    chosen = resolve(found.server, declared) if found.server is not None else None
    members = (
        [m.address for m in chosen.pool.members if m.address] if chosen and chosen.pool else []
    )
    addressing = arrange(declared, members)
    found.mapping = addressing.mapping
    _elsewhere(declared, ledger, chosen_world)
    list_self_ips(addressing, onprem("x") if chosen_world == "onprem" else None)
    settings: dict[str, Any] = {"world": chosen_world, "title": f"As declared in {files}"}
    found.settings = settings
    server: dict[str, Any] = {}
    if chosen is not None:
        name = chosen.server.name.rsplit("/", 1)[-1]
        settings["title"] = f"{chosen.server.name} as declared in {files}"
        settings["name"] = _name(name)
        server = settings_of(chosen, declared, found.origins, ledger, addressing)
        settings["virtual_server"] = server
        if server.get("protocol") == "udp" and "sessions" not in base:
            settings["sessions"] = ["udp"]
        _places(found, chosen, server, chosen_world, addressing, ledger)
    else:
        _without_server(found, chosen_world, addressing, ledger, base)
    _devices(settings, declared, found.origins, chosen_world)
    own = {k: v for k, v in settings.items() if k not in ("title", "name") or k not in base}
    found.scenario = _validated(_merged(base, own), found)


def _elsewhere(declared: Declared, ledger: Ledger, world: str) -> None:
    """What belongs to the other world."""
    if world == "onprem":
        if declared.failover is not None:
            text = "on-premises no cloud has to be asked: addresses move by gratuitous ARP"
            ledger.mark(declared.failover.node, Category.IGNORED, text)
        return
    for self_ip in declared.self_ips:
        if self_ip.floating:
            text = "a floating self IP: none is in the lab's cloud, automap takes the device's own"
            ledger.mark(self_ip.node, Category.NOT_EMULATED, text)
    if declared.masquerade is not None:
        text = "MAC masquerade: a cloud has no shared segment to use it on"
        ledger.mark(declared.masquerade, Category.NOT_EMULATED, text)


def _name(text: str) -> str:
    plain = "".join(c if c.isascii() and (c.isalnum() or c in "._-") else "-" for c in text)
    return f"inputs-{plain}"[:64]


def _places(
    found: Translation,
    chosen: Chosen,
    server: dict[str, Any],
    world: str,
    addressing: Addressing,
    ledger: Ledger,
) -> None:
    """Addresses of the virtual server and of SNAT, and what leads to them."""
    place = chosen.server.places.get("virtual_server.destination", chosen.server.node.place)
    through = chosen.server.network if server["type"] == "forwarding" else None
    if not chosen.addresses and through is None:
        raise InputError(place, f"{chosen.server.name}: its address is in none of the inputs")
    pool: list[IPv4Address] = []
    if server["snat"] == "pool":
        if chosen.snat_pool is None or not chosen.snat_addresses:
            raise InputError(
                chosen.server.places["virtual_server.snat"],
                f"SNAT pool {chosen.server.snat_pool or '?'} is in none of the inputs, or empty",
            )
        pool = chosen.snat_addresses
        found.origins["virtual_server.snat_pool"] = chosen.snat_pool.node.place
    if world == "onprem" and through is not None:
        where = chosen.server.places.get("virtual_server.type", place)
        text = "a forwarding virtual server on-premises is not emulated"
        raise InputError(where, f"{chosen.server.name}: {text}")
    if world == "onprem":
        vip, pool = on_segments(chosen.addresses[0], pool)
        addressing.add(f"virtual server {chosen.addresses[0]}", vip, "the lab's segment", place)
        server["destination"] = str(vip)
        if pool:
            server["snat_pool"] = [str(a) for a in pool]
            addressing.add("SNAT pool", ", ".join(map(str, pool)), "the lab's segment", place)
        return
    snat_place = found.origins.get("virtual_server.snat_pool", place)
    rest = (server["snat"], pool, found.declared, addressing, place, snat_place)
    if through is not None:
        _enter(lead_through(through, *rest), server, found, ledger)
        server["network"] = str(through if SERVERS.subnet_of(through) else SERVERS)
        return
    ways = lead(chosen.addresses, *rest)
    _enter(ways, server, found, ledger)
    listed = chosen.server.node.get("virtualAddresses")
    if listed is not None and "elastic_ips" not in ways.cloud:
        for other in listed.children[1:]:
            text = "a further address of the virtual server: only the first is taken"
            ledger.mark(other, Category.NOT_EMULATED, text)


def _without_server(
    found: Translation,
    world: str,
    addressing: Addressing,
    ledger: Ledger,
    base: dict[str, Any],
) -> None:
    """No input has a virtual server: the lab's own, in the first range that moves."""
    failover, own = found.declared.failover, VirtualServer()
    given = base.get("virtual_server") or {}
    addressing.add("no virtual server in the inputs", "the lab's own", "as in `article`")
    if world == "onprem" or failover is None or "destination" in given:
        return
    networks = [IPv4Network(r.range, strict=False) for r in failover.ranges if r.range != "all"]
    alien = [n for n in networks if literal(n) and n.num_addresses > 4]
    vip = alien[0].network_address + 2 if alien else own.destination
    place = failover.node.place
    snat = str(given.get("snat", own.snat))
    pool = [IPv4Address(str(a)) for a in given.get("snat_pool", own.snat_pool)]
    addresses = pool if snat == "pool" else []
    ways = lead([vip], snat, addresses, found.declared, addressing, place, place)
    server: dict[str, Any] = {}
    _enter(ways, server, found, ledger)
    found.settings["virtual_server"] = server


def _enter(ways: Ways, server: dict[str, Any], found: Translation, ledger: Ledger) -> None:
    if ways.destination is not None:
        server["destination"] = str(ways.destination)
    if ways.snat_pool:
        server["snat_pool"] = [str(a) for a in ways.snat_pool]
    found.settings["cloud"] = ways.cloud
    found.origins |= ways.places
    for group in ways.unused:
        text = "this virtual server's address, and its SNAT addresses, are not in this range"
        ledger.mark(group.node, Category.IGNORED, text)


def _devices(
    settings: dict[str, Any], declared: Declared, origins: dict[str, Place], world: str
) -> None:
    devices: dict[str, Any] = {}
    for name, field_, false in (
        ("tm.rejectunmatched", "reject_unmatched", ("false", "disable")),
        ("tm.fastl4_ack_mirror", "ack_mirror", ("disable", "false")),
        ("statemirror.secure", "statemirror_secure", ("disable", "false")),
        ("failover.secure", "failover_secure", ("disable", "false")),
    ):
        if name in declared.db:
            text, node = declared.db[name]
            devices[field_] = text not in false
            origins[f"devices.{field_}"] = node.place
    if "failover.nettimeoutsec" in declared.db:
        text, node = declared.db["failover.nettimeoutsec"]
        if not text.isdecimal() or len(text) > 4:
            raise InputError(node.place, f"failover.nettimeoutsec: {text!r} is not in seconds")
        devices["failover_timeout_s"] = int(text)
        origins["devices.failover_timeout_s"] = node.place
    if world == "onprem":
        if declared.masquerade is not None:
            devices["mac_masquerade"] = True
        if declared.self_ips and not any(s.floating for s in declared.self_ips):
            settings["onprem"] = {"floating_self_ips": False}
    elif declared.failover is not None:
        environment = declared.failover.raw.get("environment")
        if environment in ("azure", "gcp"):
            settings.setdefault("cloud", {})["provider"] = environment
    if devices:
        settings["devices"] = devices


def _merged(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    out = dict(base)
    for key, value in over.items():
        inner = out.get(key)
        both = isinstance(value, dict) and isinstance(inner, dict)
        out[key] = _merged(inner or {}, value) if both else value
    return out


def _validated(settings: dict[str, Any], found: Translation) -> Scenario:
    try:
        return Scenario.model_validate(settings)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        place = found.origins.get(where) or found.origins.get("name") or Place("inputs")
        text = str(first["msg"]).removeprefix("Value error, ")
        raise InputError(place, f"{where or 'what this makes'}: {text}") from error


# -- the reading list -----------------------------------------------------------------------------


def _mark_refused(roots: list[Node], refusal: InputError, ledger: Ledger) -> None:
    """The leaves that stand where the refusal points."""
    for root in roots:
        for leaf in root.leaves():
            if leaf.place == refusal.place:
                ledger.mark(leaf, Category.REFUSED, str(refusal).split(": ", 1)[1])


def _mark_objects(found: Translation, ledger: Ledger) -> None:
    declared, used = found.declared, set[int]()
    if found.server is not None:
        try:
            chosen = resolve(found.server, declared)
            used = {id(item) for item in (chosen.server, *chosen.items)}
        except InputError:
            used = {id(found.server)}
    for item in declared.objects():
        if id(item) in used:
            for node, category, text in item.marks:
                ledger.mark(node, category, text)
            continue
        taken = found.server.name if found.server is not None else "none"
        what = "another virtual server" if isinstance(item, Server) else "not used by the one"
        ledger.mark(item.node, Category.IGNORED, f"{what}; the virtual server taken: {taken}")
    for item in declared.others:
        for node, category, text in item.marks:
            ledger.mark(node, category, text)
