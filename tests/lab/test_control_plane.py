"""From a scenario to the declaration, the tags, the keys and the seeded world."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from emulator.core import declaration
from emulator.device.extension import identity
from emulator.lab.control_plane import (
    BUCKET,
    OPERATOR,
    access,
    aws_files,
    expected_changes,
    fabric_config,
    tags,
)
from emulator.lab.control_plane import declaration as declaration_of
from emulator.lab.deployment import DEVICES, device_config, world
from emulator.lab.scenario_file import ScenarioError, load
from emulator.lab.settings.scenario import Scenario
from netns.cloud.line import read_world

ELASTIC = {"public": "203.0.113.10", "private": ["10.0.10.101", "10.0.20.101"]}


def scenario(**cloud: Any) -> Scenario:
    return Scenario.model_validate({"title": "t", "cloud": cloud})


def test_the_declaration_made_for_a_scenario_is_one() -> None:
    for made in (
        scenario(),
        scenario(extra_routes=3),
        scenario(failover_via="elastic-ip", elastic_ips=[ELASTIC]),
    ):
        read = declaration.read(declaration_of(made, world(made, "x"), DEVICES))
        assert read.failover_routes is not None
        ranges = [r.range for g in read.failover_routes.groups for r in g.scoping_address_ranges]
        assert len(ranges) == 2 + made.cloud.extra_routes
        hops = read.failover_routes.groups[0].scoping_address_ranges[0].next_hop_addresses
        assert hops is not None
        assert hops.items == ("10.0.10.11", "10.0.20.11")


@pytest.mark.parametrize("via", ["route", "elastic-ip", "secondary-ip"])
def test_what_is_to_move_is_tagged_and_nothing_else(via: str) -> None:
    made = scenario(label="mine", elastic_ips=[ELASTIC], failover_via=via)
    found = tags(made, world(made, "x"), DEVICES)
    assert found[BUCKET] == {"f5_cloud_failover_label": "mine"}
    assert found["rtb-backend"]["f5_self_ips"] == "10.0.11.11,10.0.21.11"
    interface, elastic = found["eni-bigip-b-int"], found["eipalloc-203-0-113-10"]
    assert interface["f5_cloud_failover_label"] == elastic["f5_cloud_failover_label"] == "mine"
    paired = interface.get("f5_cloud_failover_nic_map")
    assert paired == ("internal" if via == "secondary-ip" else None)
    pair = elastic.get("f5_cloud_failover_vips")
    assert pair == ("10.0.10.101,10.0.20.101" if via == "elastic-ip" else None)


@pytest.mark.parametrize("zones", ["two", "one"])
def test_the_provider_gets_the_world_the_lab_has(zones: str) -> None:
    second = {"two": "10.0.20.101", "one": "10.0.10.103"}[zones]
    elastic = ELASTIC | {"private": ["10.0.10.101", second]}
    made = scenario(
        zones=zones, elastic_ips=[elastic], secondary_ips=["10.0.10.102"], extra_routes=2
    )
    built = world(made, "x")
    config = json.loads(json.dumps(fabric_config(made, built, DEVICES)))
    assert read_world(config) == built
    assert len(built.routes) == 4
    assert list(built.routes)[-1][0] == "rtb-backend"  # the extra ones come first


def test_each_device_signs_with_a_key_the_api_knows() -> None:
    made = scenario()
    built = world(made, "x")
    known = {
        key: (who, secret) for key, who, secret, _ in fabric_config(made, built, DEVICES)["keys"]
    }
    for device in DEVICES:
        own = access(made, built, device, DEVICES)
        assert known[own.access_key] == (device, own.secret_key)
    assert known[OPERATOR[0]] == ("operator", OPERATOR[1])
    assert OPERATOR[1] in aws_files(made, built)["credentials"]


@pytest.mark.parametrize("wrong", ["unknown-key", "wrong-secret"])
def test_wrong_credentials_are_the_devices_only(wrong: str) -> None:
    made = scenario(api={"credentials": wrong})
    built = world(made, "x")
    known = {key: secret for key, _, secret, _ in fabric_config(made, built, DEVICES)["keys"]}
    own = access(made, built, "bigip-a", DEVICES)
    assert known.get(own.access_key) != own.secret_key
    assert known[OPERATOR[0]] == OPERATOR[1]


@pytest.mark.parametrize(
    ("cloud", "changes"),
    [
        ({}, 2),
        ({"extra_routes": 198}, 200),
        ({"failover_via": "elastic-ip", "elastic_ips": [ELASTIC]}, 4),
        ({"failover_via": "secondary-ip", "secondary_ips": ["10.0.10.102"]}, 4),
    ],
)
def test_how_many_changes_a_whole_failover_makes(cloud: dict[str, Any], changes: int) -> None:
    assert expected_changes(scenario(**cloud)) == changes


def test_a_secondary_address_is_on_the_interface_in_whose_subnet_it_is() -> None:
    made = scenario(zones="one", secondary_ips=["10.0.10.100", "10.0.11.100"])
    found = {str(a): target for a, target in world(made, "x").secondary.items()}
    assert found == {"10.0.10.100": "eni-bigip-a-ext", "10.0.11.100": "eni-bigip-a-int"}


ONE_ZONE = """title: t
virtual_server: {destination: 10.0.10.100, snat: pool, snat_pool: [10.0.11.100]}
cloud: {zones: %s, routes: [], secondary_ips: [%s]}
"""


def test_both_devices_serve_what_moves_and_the_declaration_moves_no_route(tmp_path: Path) -> None:
    """The failover extension moves only addresses its own device serves."""
    path = tmp_path / "s.yaml"
    path.write_text(ONE_ZONE % ("one", "10.0.10.100, 10.0.11.100"))
    made = load(path)
    built = world(made, "x")
    for device in DEVICES:
        config = device_config(made, built, device)
        assert config.cloud_failover is not None
        own = identity(config, config.cloud_failover)
        assert own.floating == ("10.0.10.100", "10.0.11.100")
    read = declaration.read(declaration_of(made, built, DEVICES))
    assert read.failover_routes is None or not read.failover_routes.groups


@pytest.mark.parametrize(
    ("zones", "addresses", "text"),
    [
        ("one", "10.0.10.100", "snat_pool address 10.0.11.100 is in no route of rtb-backend and"),
        ("one", "10.0.11.100", "destination 10.0.10.100 is in no route of rtb-client and no"),
        ("one", "10.0.20.100", "cloud.secondary_ips: 10.0.20.100 is not in the subnet of bigip-a"),
        ("two", "10.0.20.100", "cloud.secondary_ips: 10.0.20.100 is not in the subnet of bigip-a"),
        ("one", "10.0.10.12", "10.0.10.12 is the primary address of bigip-b"),
        ("two", "10.0.10.3", "10.0.10.3 is one of those the provider keeps to itself"),
        ("two", "10.0.11.255", "10.0.11.255 is one of those the provider keeps to itself"),
        ("three", "10.0.10.100", "cloud.zones: Input should be 'two' or 'one'"),
    ],
)
def test_an_address_nobody_could_have_is_refused(
    tmp_path: Path, zones: str, addresses: str, text: str
) -> None:
    path = tmp_path / "s.yaml"
    path.write_text(ONE_ZONE % (zones, addresses))
    with pytest.raises(ScenarioError, match=re.escape(text)):
        load(path)


@pytest.mark.parametrize(
    "cloud",
    [
        {"elastic_ips": [ELASTIC]},
        {"load_balancer": {"type": "nlb"}, "routes": [], "secondary_ips": ["10.0.10.100"]},
    ],
)
def test_in_one_zone_an_address_of_the_other_zones_subnet_is_refused(cloud: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="is not in the subnet of bigip-b's ext"):
        scenario(zones="one", **cloud)


def test_a_declaration_of_the_users_own_goes_to_the_device_as_it_is(tmp_path: Path) -> None:
    """From a file beside the scenario; the device judges it, not the lab."""
    (tmp_path / "mine.json").write_text('{"class": "nonsense"}')
    (tmp_path / "s.yaml").write_text("title: t\ncloud:\n  declaration: mine.json\n")
    made = load(tmp_path / "s.yaml")
    config = device_config(made, world(made, "x"), "bigip-b")
    assert config.cloud_failover is not None
    assert config.cloud_failover.declaration == {"class": "nonsense"}


@pytest.mark.parametrize(
    ("content", "text"),
    [(None, "No such file"), ("{", "not JSON"), ("[]", "a declaration is a JSON object")],
)
def test_a_declaration_that_cannot_be_read_is_the_scenarios_mistake(
    tmp_path: Path, content: str | None, text: str
) -> None:
    if content is not None:
        (tmp_path / "mine.json").write_text(content)
    path = tmp_path / "s.yaml"
    path.write_text("title: t\ncloud:\n  declaration: mine.json\n")
    with pytest.raises(ScenarioError) as caught:
        load(path)
    assert str(caught.value).startswith(f"{path}:3:3: cloud.declaration: mine.json: {text}")


@pytest.mark.parametrize(
    ("api", "field"),
    [
        ({"errors": [{"action": "ReplaceRoute"}]}, "neither rate nor next"),
        ({"buckets": {"nosuch": {"size": 1, "refill_per_s": 1}}}, "cloud.api.buckets"),
        ({"credentials": "none"}, "cloud.api.credentials"),
    ],
)
def test_settings_of_the_api_are_checked(tmp_path: Path, api: dict[str, Any], field: str) -> None:
    path = tmp_path / "s.yaml"
    path.write_text(json.dumps({"title": "t", "cloud": {"api": api}}))
    with pytest.raises(ScenarioError, match=field.replace(".", r"\.")):
        load(path)
