"""Nothing is done to a device before the cloud has carried out what it asked for at the start."""

from __future__ import annotations

from itertools import chain, repeat
from typing import Any

import pytest

from emulator.lab import instance
from emulator.lab.instance import Lab
from emulator.lab.settings.scenario import Scenario
from emulator.lab.wait import LabFault

READY = [{"what": "api-ready"}]


class Told(Lab):
    """A lab whose device answers by a list; the last answer again and again."""

    def __init__(
        self, *states: str | None, log: list[dict[str, object]] = READY, **api: Any
    ) -> None:
        super().__init__("x", Scenario.model_validate({"title": "t", "cloud": {"api": api}}))
        self.states, self.log = chain(states, repeat(states[-1])), log
        self.asked = 0

    def status(self, node: str) -> dict[str, object]:
        self.asked += 1
        state = next(self.states)
        return {} if state is None else {"cloud_failover": state}

    def fabric_log(self) -> list[dict[str, object]]:
        return self.log


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(instance, "API_READY_S", 0.2)


@pytest.mark.parametrize("until", ["running", "retrying", None])
def test_it_waits_for_the_failover_of_the_start(until: str | None) -> None:
    """A call that timed out on a busy host, or a device too busy to answer, is not the end."""
    lab = Told(until, until, "idle")
    lab.wait_control_plane()
    assert lab.asked == 3
    with pytest.raises(LabFault, match="the cloud's API"):
        Told(until).wait_control_plane()


@pytest.mark.parametrize(
    "api",
    [
        {"outage": {}},
        {"denied_actions": ["ec2:*"]},
        {"credentials": "wrong-secret"},
        {"device_region": "eu-west-1"},
        {"errors": [{"action": "ReplaceRoute", "rate": 1.0}]},
    ],
)
def test_a_device_that_is_refused_by_design_is_not_waited_for(api: dict[str, Any]) -> None:
    Told("retrying", **api).wait_control_plane()


def test_an_outage_that_begins_with_the_failover_refuses_nothing_before() -> None:
    with pytest.raises(LabFault):
        Told("retrying", outage={"from_s": 0}).wait_control_plane()


def test_an_api_that_is_not_ready_is_waited_for() -> None:
    with pytest.raises(LabFault):
        Told("idle", log=[]).wait_control_plane()
