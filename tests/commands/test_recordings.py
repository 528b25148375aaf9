"""Which scenarios a recording can be replayed under."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from emulator.commands.recordings import _for_replay
from emulator.commands.terminal import USAGE, Fail
from emulator.lab.scenario_file import find, load
from emulator.lab.settings.scenario import How, Scenario


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"virtual_server": {"protocol": "udp"}, "sessions": ["udp"]}, "replays are of TCP"),
        ({"devices": {"data_plane": "conntrackd"}}, "through the lab's own"),
        (
            {"mirror_channel": {"fault": "cut", "before_failover_s": 1}},
            "at a place in the recording",
        ),
    ],
)
def test_what_a_replay_cannot_do_is_a_usage_error(settings: dict[str, object], words: str) -> None:
    scenario = Scenario.model_validate({"title": "t", **settings})
    with pytest.raises(Fail, match=words) as caught:
        _for_replay(scenario, None, None)
    assert caught.value.exit_code == USAGE


def test_another_kind_of_failover_has_nothing_of_the_scenarios_own() -> None:
    """As with `run`: heartbeats that were not lost do not come back."""
    healing = load(find("split-brain-onprem"))
    assert healing.failover is not None
    assert healing.failover.heals_after_s is not None
    told = _for_replay(healing, "power-off", None)
    assert told.failover is not None
    assert (told.failover.how, told.failover.heals_after_s) == (How.POWER_OFF, None)
    try:
        Scenario.model_validate(told.model_dump())
    except ValidationError as error:
        pytest.fail(str(error))


def test_nothing_is_expected_of_sessions_that_are_not_opened() -> None:
    told = _for_replay(load(find("persistence-mirrored")), None, None)
    assert (told.expect, told.expect_member) == ({}, None)
