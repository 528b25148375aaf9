"""Settings of the fabric's parts: what they become, and what is refused with which words."""

from __future__ import annotations

from ipaddress import IPv4Address
from typing import Any

import pytest
from pydantic import ValidationError

from emulator.lab.deployment import (
    DEVICES,
    dataplane_config,
    destination_on,
    device_config,
    entry_address,
    world,
)
from emulator.lab.scenario_file import find, load, names
from emulator.lab.settings.scenario import Scenario
from netns.cloud.balancer import OnUnhealthy
from netns.cloud.dataplane import read_filters
from netns.cloud.profiles import BALANCERS, PROFILES
from netns.cloud.spreader import read

MOVES_NOT = {
    "table": "rtb-client", "destination": "10.99.0.0/24", "interface": "ext", "move": False,
}  # fmt: skip


HA = {"interfaces": ["bigip-a:ha"]}


def scenario(**settings: Any) -> Scenario:
    return Scenario.model_validate({"title": "t", **settings})


def cloud(**settings: Any) -> Scenario:
    return scenario(cloud=settings)


def balanced(**settings: Any) -> Scenario:
    return cloud(routes=[MOVES_NOT], load_balancer=settings)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"security_groups": {"x": HA, "y": HA}}, "bigip-a:ha is in x and in y"),
        ({"security_groups": {"x": {"interfaces": ["bigip-a:nosuch"]}}}, "bigip-a:ext"),
        ({"security_groups": {"x": HA | {"ingress": [{"ports": [9, 1]}]}}}, "ports 9 to 1: none"),
        ({"links": {"bigip-a:nosuch": {}}}, "bigip-a:ext"),
        ({"links": {"bigip-a:ha": {"loss": 2}}}, "less than or equal to 1"),
        ({"load_balancer": {"type": "nlb"}}, "no route of rtb-client may move"),
        ({"load_balancer": {"type": "elb"}}, "'nlb', 'gwlb', 'azure' or 'gcp'"),
        ({"provider": "ibm"}, "'aws', 'azure' or 'gcp'"),
        ({"firewall": {"lost_state": "maybe"}}, "'loose' or 'strict'"),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_refused(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        cloud(**settings)


def test_behind_an_elastic_ip_the_address_is_not_the_virtual_servers_to_set() -> None:
    elastic = [{"public": "198.51.100.10", "private": ["10.0.10.100", "10.0.20.100"]}]
    found = cloud(elastic_ips=elastic)
    assert str(entry_address(found)) == "198.51.100.10"
    assert [str(destination_on(found, d)) for d in DEVICES] == ["10.0.10.100", "10.0.20.100"]
    with pytest.raises(ValidationError, match="each device has its own"):
        scenario(cloud={"elastic_ips": elastic}, virtual_server={"destination": "10.99.0.11"})


def test_a_scenario_can_be_stored_and_read_again() -> None:
    """The lab does so between commands."""
    for name in names():
        given = load(find(name))
        assert Scenario.model_validate(given.model_dump(mode="json")) == given


def test_a_provider_gives_defaults_and_takes_nothing_away() -> None:
    assert cloud(provider="azure").cloud.propagation_delay_s == PROFILES["azure"].failover_s.value
    assert cloud(provider="azure", propagation_delay_s=1).cloud.propagation_delay_s == 1
    group = {"x": {"interfaces": ["bigip-a:ext"]}}

    def idle_s(**settings: Any) -> float:
        found = cloud(security_groups=group, **settings)
        config = dataplane_config(found, world(found, "x"))
        assert config is not None
        [filter_] = read_filters(config["filters"])["a-ext"]  # type: ignore[arg-type]
        return filter_.policy.idle_timeout_s

    assert idle_s() == 432000
    assert idle_s(provider="aws") == 350
    assert idle_s(provider="gcp") == 600


def test_without_anything_in_the_fabric_there_is_no_data_plane() -> None:
    plain = scenario()
    assert dataplane_config(plain, world(plain, "x")) is None
    servers = device_config(plain, world(plain, "x"), "bigip-a").virtual_servers
    assert [v.name for v in servers] == ["vs_alien"]


@pytest.mark.parametrize(
    ("settings", "fate"),
    [
        ({"type": "nlb"}, OnUnhealthy.RESET),
        ({"type": "nlb", "connection_termination": False}, OnUnhealthy.KEEP),
        ({"type": "gwlb"}, OnUnhealthy.KEEP),
        ({"type": "gwlb", "target_failover": "rebalance"}, OnUnhealthy.DIVERT),
        ({"type": "azure"}, OnUnhealthy.KEEP),
        ({"type": "gcp"}, OnUnhealthy.KEEP),
        ({"type": "gcp", "persistence": "ALWAYS_PERSIST"}, OnUnhealthy.KEEP),
        ({"type": "gcp", "persistence": "NEVER_PERSIST"}, OnUnhealthy.DIVERT),
    ],
)
def test_a_load_balancer_reaches_the_data_plane_as_it_was_set(
    settings: dict[str, Any], fate: OnUnhealthy
) -> None:
    found = balanced(**settings)
    config = dataplane_config(found, world(found, "x"))
    assert config is not None
    place, policy = read(config["balancer"])  # type: ignore[arg-type]
    assert policy.on_unhealthy is fate
    assert policy.interval_s == BALANCERS[settings["type"]].interval_s
    assert [t.name for t in place.targets] == list(DEVICES)
    assert place.frontend == IPv4Address("10.99.0.10")


def test_each_device_answers_probes_on_its_own_address_and_mirrors_none() -> None:
    found = balanced(type="gcp")
    for device, address in zip(DEVICES, ("10.0.10.11", "10.0.20.11"), strict=True):
        [_, health] = device_config(found, world(found, "x"), device).virtual_servers
        assert (str(health.destination), health.mirroring) == (f"{address}:8080", False)
