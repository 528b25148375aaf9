"""When a failover's changes took effect, and what kind they were, by the fabric's log."""

from __future__ import annotations

from typing import Any

import pytest

from emulator.lab.judge.facts import Record, gather
from emulator.lab.judge.tracing import trace
from emulator.lab.result import failover_times
from emulator.lab.story import story

ROUTE = {"table": "rtb-client", "destination": "10.99.0.0/24", "target": "eni-b"}
TAKEN = {"address": "10.0.10.100", "taken_from": "eni-a"}
GIVEN = {"address": "10.0.10.100", "target": "eni-b"}
ELASTIC = {"public": "203.0.113.10", "target": "eni-b", "private": "10.0.20.100"}


def times(*changes: tuple[float, str, dict[str, str]]) -> Any:
    records: list[Record] = [
        {"time": 10.0, "node": "lab", "what": "failover-triggered", "how": "power-off",
         "device": "bigip-a"},
        *({"time": t, "node": "fabric", "what": what, **change} for t, what, change in changes),
    ]  # fmt: skip
    return failover_times(gather(trace([]), records), [])


@pytest.mark.parametrize(
    ("change", "mechanism"),
    [(ROUTE, "route"), (GIVEN, "secondary-ip"), (TAKEN, "secondary-ip"), (ELASTIC, "elastic-ip")],
)
def test_the_mechanism_is_what_the_cloud_was_asked_to_move(
    change: dict[str, str], mechanism: str
) -> None:
    assert times((11.0, "accepted", change))["mechanism"] == mechanism
    assert times((9.0, "accepted", change))["mechanism"] == "route"  # before it: an operator's


def test_an_address_that_came_and_went_is_effective_when_it_was_given_last() -> None:
    found = times(
        (11.0, "accepted", TAKEN), (11.1, "accepted", GIVEN),
        (15.0, "effective", TAKEN), (15.1, "effective", GIVEN),
    )  # fmt: skip
    assert (found["api_accepted"], found["effective"]) == (11.1, 15.1)


def test_the_story_speaks_of_addresses_where_no_route_moved() -> None:
    result = {"title": "t", "scenario": "s", "void": None, "connections": []}
    for change, text in ((ROUTE, "last route change"), (GIVEN, "last address change")):
        told = story({**result, "failover": times((11.0, "accepted", change))}, "folder")
        assert f"the cloud accepted the {text}" in told
