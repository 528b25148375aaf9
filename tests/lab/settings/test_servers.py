"""Virtual servers of a scenario: what devices are told of them, and what is refused."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network
from typing import Any

import pytest
from pydantic import ValidationError

from emulator.core import config as device
from emulator.lab.deployment import device_config, entry_address, world
from emulator.lab.heartbeats import ruleset
from emulator.lab.scenario_file import find, load
from emulator.lab.settings.scenario import Scenario
from netns.plan import AddAddress, plan

ROUTES = [
    {"table": "rtb-client", "destination": "10.0.31.0/24", "interface": "ext"},
    {"table": "rtb-backend", "destination": "10.0.1.0/24", "interface": "int"},
]
FORWARDING = {"type": "forwarding", "snat": "none"}


def scenario(server: dict[str, Any], **settings: Any) -> Scenario:
    return Scenario.model_validate({"title": "t", "virtual_server": server, **settings})


def told(chosen: Scenario) -> device.VirtualServer:
    [server] = device_config(chosen, world(chosen, "x"), "bigip-a").virtual_servers
    return server


def test_a_forwarding_server_matches_a_network_and_clients_address_the_backend() -> None:
    chosen = scenario(FORWARDING, cloud={"routes": ROUTES})
    server = told(chosen)
    assert server.forwarding
    assert server.network == IPv4Network("0.0.0.0/0")
    assert entry_address(chosen) == IPv4Address("10.0.31.100")


def test_persistence_is_told_with_its_time_out() -> None:
    server = told(scenario({"persistence": "source-address", "persistence_mirroring": True}))
    assert (server.persistence_s, server.persistence_mirroring) == (180, True)
    assert told(scenario({})).persistence_s == 0


def test_a_client_that_comes_again_has_a_second_address() -> None:
    chosen = scenario({}, sessions=["reconnect"])
    added = [str(s.address) for s in plan(world(chosen, "x")) if isinstance(s, AddAddress)]
    assert "10.0.1.11/32" in added
    added = [str(s.address) for s in plan(world(scenario({}), "x")) if isinstance(s, AddAddress)]
    assert "10.0.1.11/32" not in added


@pytest.mark.parametrize(
    ("server", "settings", "words"),
    [
        ({"persistence_mirroring": True}, {}, "no persistence"),
        ({"protocol": "any", "type": "standard"}, {}, "standard one is for tcp"),
        ({"source_port": "change"}, {}, "for snat pool"),
        ({"protocol": "udp"}, {}, "needs virtual_server.protocol tcp or any"),
        ({}, {"sessions": ["udp"]}, "needs virtual_server.protocol udp or any"),
        (FORWARDING, {}, "no route of rtb-client to 10.0.31.0/24"),
        (FORWARDING, {"world": "onprem"}, "for world cloud"),
        (
            FORWARDING | {"network": "10.0.32.0/24"}, {"cloud": {"routes": ROUTES}},
            "has no backend-1 in it",
        ),
        (FORWARDING | {"persistence": "source-address"}, {}, "chooses no member"),
        ({"snat": "deterministic", "subscribers": "10.0.0.0/12"}, {}, "less than 64 ports"),
        ({"snat": "deterministic", "subscribers": "10.9.9.0/24"}, {}, "leaves out the client"),
        ({"snat": "deterministic", "snat_pool": ["8.8.8.8"]}, {}, "in no route of rtb-backend"),
        ({}, {"expect_member": "same"}, "about the session reconnect"),
        ({}, {"failover": {"heals_after_s": 3}}, "for heartbeats-lost"),
        ({}, {"sessions": ["reconnect"], "world": "onprem"}, "two addresses"),
    ],
)  # fmt: skip
def test_what_is_refused(server: dict[str, Any], settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        scenario(server, **settings)


@pytest.mark.parametrize(
    "name",
    [
        "wildcard", "wildcard-no-mirroring", "wildcard-loose-initiation", "cgnat-deterministic",
        "cgnat-dynamic", "cgnat-mirrored", "udp", "udp-no-mirroring", "persistence-mirrored",
        "persistence-not-mirrored", "split-brain", "split-brain-onprem",
    ],
)  # fmt: skip
def test_the_built_in_ones_differ_in_what_their_titles_say(name: str) -> None:
    server = told(load(find(name)))
    mirrored = "no-mirroring" not in name and name in (
        "wildcard", "cgnat-mirrored", "udp", "split-brain-onprem",
    )  # fmt: skip
    assert server.mirroring is mirrored
    assert server.forwarding is name.startswith(("wildcard", "cgnat"))
    assert (server.snat is device.Snat.DETERMINISTIC) is (name == "cgnat-deterministic")


def test_heartbeats_alone_are_lost_at_both_links() -> None:
    rules = ruleset(["a-ha", "b-ha"])
    assert rules.count("udp dport 1026 drop") == 2
    assert 'device "a-ha"' in rules
    assert "tcp" not in rules
