"""Each lint rule: where it speaks, where it is silent, and what a run was seen to show."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from emulator.lab.inputs.tree import Place
from emulator.lab.lint.rules import OF_INPUTS, RULES, lint
from emulator.lab.lint.subject import Finding, Subject
from emulator.lab.scenario_file import find, load, names
from emulator.lab.settings.scenario import Scenario
from tests.support.inputs import failover, findings, of_files, of_texts, service

POOL = {"snat": "pool"}
MANY = ("Service_TCP", {"mirroring": "L4"})


def of(**settings: Any) -> list[Finding]:
    """What lint says of a scenario whose SNAT address moves, with other settings."""
    server = {**POOL, **settings.pop("virtual_server", {})}
    scenario = Scenario.model_validate({"title": "x", "virtual_server": server, **settings})
    return lint(Subject(scenario))


def ids(found: list[Finding]) -> list[str]:
    return [f.rule for f in found]


def group(**more: Any) -> dict[str, Any]:
    return {"security_groups": {"sg": {"interfaces": ["bigip-b:ha"], **more}}}


CFE: Callable[..., dict[str, Any]] = failover
TAGGED = {"scopingTags": {"a": "b"}}


def test_the_tables_are_complete() -> None:
    assert len({rule.id for rule in RULES}) == len(RULES)
    assert set(OF_INPUTS) <= {rule.id for rule in RULES}
    assert all(rule.source and rule.shows for rule in RULES)
    assert {rule.claim for rule in RULES} <= {f"C{n}" for n in range(1, 18)}
    assert {rule.id for rule in RULES} == {*SCENARIOS, *INPUTS}


def test_what_is_in_order_has_no_findings() -> None:
    assert of() == []


RIGHT_PORTS = [{"protocol": "tcp", "ports": [1029, 1055], "cidr": "10.0.0.0/16"}]
OTHER_PORTS = [{"protocol": "tcp", "ports": [1030, 1055]}]
STAYS = [
    {"table": "rtb-client", "destination": "10.99.0.0/24", "interface": "ext", "move": False},
    {"table": "rtb-backend", "destination": "10.88.0.0/24", "interface": "int"},
]
BEHIND = {"routes": STAYS}
# rule -> settings on which it speaks, settings on which it is silent
SCENARIOS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "automap-across-zones": (
        {"virtual_server": {"snat": "automap"}},
        {"virtual_server": {"snat": "automap"}, "world": "onprem"},
    ),
    "elastic-ip": (
        {"cloud": {"failover_via": "elastic-ip", "elastic_ips": [
            {"public": "198.51.100.10", "private": ["10.0.10.100", "10.0.20.100"]}]}},
        {"cloud": {"failover_via": "route"}},
    ),
    "nlb-in-front": (
        {"cloud": {**BEHIND, "load_balancer": {"type": "nlb"}}},
        {"cloud": {**BEHIND, "load_balancer": {"type": "azure"}}},
    ),
    "load-balancer-pins": (
        {"cloud": {**BEHIND, "load_balancer": {"type": "gwlb"}}},
        {"cloud": {**BEHIND, "load_balancer": {"type": "gwlb", "target_failover": "rebalance"}}},
    ),
    "mirror-ports-filtered": (
        {"cloud": group(ingress=OTHER_PORTS)}, {"cloud": group(ingress=RIGHT_PORTS)},
    ),
    "mirrored-standard": (
        {"virtual_server": {"type": "standard"}},
        {"virtual_server": {"type": "standard", "commit": "sync"}},
    ),
    "idle-timeout-short": (
        {"virtual_server": {"idle_timeout_s": 4}}, {"virtual_server": {"idle_timeout_s": 5}},
    ),
    "filter-forgets-first": (
        {"cloud": group(ingress=RIGHT_PORTS, tcp_established_timeout_s=60)},
        {"cloud": group(ingress=RIGHT_PORTS, tcp_established_timeout_s=350)},
    ),
    "filter-lost-state": (
        {"cloud": {"firewall": {}}}, {"cloud": {"firewall": {"lost_state": "loose"}}},
    ),
    "not-mirrored": (
        {"virtual_server": {"mirroring": False}},
        {"virtual_server": {"mirroring": False, "loose_initiation": True}},
    ),
    "loose-initiation": (
        {"virtual_server": {"mirroring": False, "loose_initiation": True, "snat": "automap"}},
        {"virtual_server": {"loose_initiation": True, "snat": "automap"}, "world": "onprem"},
    ),
    "reject-unmatched-off": (
        {"devices": {"reject_unmatched": False}}, {"devices": {"reject_unmatched": True}},
    ),
    "route-does-not-move": ({"cloud": {"routes": STAYS}}, {"failover": None, "cloud": BEHIND}),
    "snat-range-does-not-move": (
        {"cloud": {"secondary_ips": ["10.0.11.7"]}, "virtual_server": {"snat_pool": ["10.0.11.7"]}},
        {"virtual_server": {"snat_pool": ["10.88.0.7"]}},
    ),
    "no-way-back": (
        {"virtual_server": {"snat": "none"}},
        {"virtual_server": {"snat": "none"}, "cloud": {"routes": [
            {"table": "rtb-client", "destination": "10.99.0.0/24", "interface": "ext"},
            {"table": "rtb-backend", "destination": "10.0.0.0/16", "interface": "int"}]}},
    ),
    "channel-fault": ({"mirror_channel": {"fault": "cut"}}, {}),
}  # fmt: skip


@pytest.mark.parametrize("moves", [True, False])
def test_clients_of_a_forwarding_server_are_led_to_the_backend(moves: bool) -> None:
    way = {"table": "rtb-client", "destination": "10.0.31.0/24", "interface": "ext", "move": moves}
    server = {"type": "forwarding", "snat": "automap"}
    found = ids(of(virtual_server=server, cloud={"routes": [way]}))
    assert ("route-does-not-move" in found) is not moves


@pytest.mark.parametrize("rule", SCENARIOS)
def test_a_rule_on_scenarios_speaks_and_is_silent(rule: str) -> None:
    speaks, silent = SCENARIOS[rule]
    assert rule in ids(of(**speaks))
    assert rule not in ids(of(**silent))


def masked(*hops: str) -> dict[str, Any]:
    found = failover()
    entry = found["failoverRoutes"]["scopingAddressRanges"][0]
    entry["nextHopAddresses"] = {"discoveryType": "static", "items": list(hops)}
    return found


def unmoving(enabled: bool) -> dict[str, Any]:
    found = failover()
    found["failoverRoutes"]["enabled"] = enabled
    return found


def onboarding(allow: Any, **more: Any) -> dict[str, Any]:
    self_ip = {"class": "SelfIp", "address": "10.1.12.11/24", "vlan": "ha", "allowService": allow}
    mirror = {"class": "MirrorIp", "primaryIp": "10.1.12.11"}
    return {"class": "Device", "Common": {"s": self_ip, "m": mirror, **more}}


MIRRORED = service(mirroring="L4")
PERSIST = {
    "many": {"class": "Pool", "members": [
        {"servicePort": 22, "serverAddresses": ["10.2.0.1", "10.2.0.2"]}]},
    "kept": {"class": "Persist", "persistenceMethod": "source-address", "mirror": True},
}  # fmt: skip
ADDRESS = {
    "a": {"class": "Service_Address", "virtualAddress": "203.0.113.9", "trafficGroup": "none"}
}
FLOATS = {"a": {"class": "Service_Address", "virtualAddress": "203.0.113.9"}}
NAMED = [{"use": "a"}]
DB: Callable[..., dict[str, Any]] = lambda **v: {"db": {"class": "DbVariables", **v}}  # noqa: E731
OFF, SECURE = DB(**{"statemirror.state": "disable"}), DB(**{"statemirror.secure": "enable"})
INPUTS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "port-lockdown": (
        {"as3": MIRRORED, "do": onboarding("default")},
        {"as3": MIRRORED, "do": onboarding(["tcp:1029"])},
    ),
    "port-lockdown-1028": (
        {"as3": MIRRORED, "do": onboarding(["tcp:1028"])},
        {"as3": MIRRORED, "do": onboarding(["tcp:1029"])},
    ),
    "no-mirror-address": (
        {"as3": MIRRORED, "do": {"class": "Device", "Common": {"class": "Tenant"}}},
        {"as3": MIRRORED, "do": onboarding("all")},
    ),
    "statemirror-disabled": (
        {"as3": MIRRORED, "do": onboarding("all", **OFF)},
        {"as3": service(), "do": onboarding("all", **OFF)},
    ),
    "tls-without-secure": (
        {"as3": service("Service_HTTPS", mirroring="L4")},
        {"as3": service("Service_HTTPS", mirroring="L4"), "do": onboarding("all", **SECURE)},
    ),
    "mirrored-http": (
        {"as3": service("Service_HTTP", mirroring="L4")},
        {"as3": service("Service_TCP", mirroring="L4")},
    ),
    "mirrored-udp": (
        {"as3": service("Service_UDP", mirroring="L4")}, {"as3": service("Service_UDP")},
    ),
    "persistence-not-mirrored": (
        {"as3": service(mirroring="L4", pool="many", objects=PERSIST)},
        {"as3": service(mirroring="L4", pool="many", objects=PERSIST,
                        persistenceMethods=[{"use": "kept"}])},
    ),
    "next-hop": (
        {"as3": service(), "cfe": masked("10.1.10.11/24", "10.1.20.11/24")},
        {"as3": service(), "cfe": masked("10.1.10.11", "10.1.20.11")},
    ),
    "failover-moves-nothing": (
        {"as3": service(), "cfe": unmoving(False)}, {"as3": service(), "cfe": unmoving(True)},
    ),
    "no-traffic-group": (
        {"as3": service(mirroring="L4", virtualAddresses=NAMED, objects=ADDRESS)},
        {"as3": service(mirroring="L4", virtualAddresses=NAMED, objects=FLOATS)},
    ),
}  # fmt: skip


@pytest.mark.parametrize("rule", INPUTS)
def test_a_rule_on_inputs_speaks_with_the_place_and_is_silent(rule: str) -> None:
    speaks, silent = INPUTS[rule]
    found = [f for f in findings(of_texts(**speaks)) if f.rule == rule]
    assert len(found) == 1
    assert found[0].place.file in speaks
    assert rule not in ids(findings(of_texts(**silent)))


# What the built-in scenarios' own runs show (tests/e2e), and the warning that goes before it.
SEEN = {
    "article": "automap-across-zones", "elastic-ip": "elastic-ip",
    "load-balancer-nlb": "nlb-in-front", "load-balancer-azure": "load-balancer-pins",
    "load-balancer-gwlb": "load-balancer-pins", "load-balancer-gcp": "load-balancer-pins",
    "security-group-no-mirror-ports": "mirror-ports-filtered", "mirror-lag": "mirrored-standard",
    "firewall-lost-state": "filter-lost-state", "security-group-strict": "filter-lost-state",
    "security-group-lost-state": "filter-lost-state", "trigger-lost": "route-does-not-move",
    "half-done-server-side": "snat-range-does-not-move",
    "security-group-idle": "filter-forgets-first",
}  # fmt: skip


@pytest.mark.parametrize("name", names())
def test_built_in_scenarios_that_go_wrong_by_their_settings_are_warned_of(name: str) -> None:
    """And those that survive are not."""
    warned = {f.rule for f in lint(Subject(load(find(name)))) if f.severity == "warning"}
    if name in SEEN:
        assert SEEN[name] in warned
    elif set(load(find(name)).expect.values()) == {"SURVIVED"}:
        assert warned == set()


def test_the_articles_files_predict_the_reset_by_the_changed_snat_address() -> None:
    found = [f for f in findings(of_files("article/as3.json", "article/cfe.json"))
             if f.severity == "warning"]  # fmt: skip
    assert [(f.rule, f.claim, f.place) for f in found] == [
        ("automap-across-zones", "C5", Place("as3.json", 15, 9))
    ]
    assert "snat-address-changed" in found[0].shows


def test_the_variant_with_a_snat_pool_is_clean() -> None:
    names_ = ("as3-snat-pool.json", "cfe-snat-pool.json", "bigip_base-a.conf", "bigip_base-b.conf")
    assert findings(of_files(*(f"article/{n}" for n in names_))) == []


def test_a_pool_whose_range_does_not_move_is_named() -> None:
    found = findings(of_files("article/as3-snat-pool.json", "article/cfe.json"))
    assert ids(found) == ["snat-range-does-not-move"]
    assert found[0].place == Place("as3-snat-pool.json", 19, 7)
