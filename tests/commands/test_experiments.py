"""`run`: what it refuses before anything is built."""

from __future__ import annotations

import pytest

from emulator.commands.experiments import _check_behind
from emulator.commands.terminal import USAGE, Fail
from emulator.lab.scenario_file import find, load


@pytest.mark.parametrize(
    ("behind", "scenario", "words"),
    [
        ("api-cut-off", "healthy", "has no failover"),
        ("source-dest-check-on", "onprem", "is done to a cloud"),
        ("return-route-reverted", "onprem", "is done to a cloud"),
    ],
)
def test_what_cannot_be_done_behind_a_scenario(behind: str, scenario: str, words: str) -> None:
    with pytest.raises(Fail, match=words) as caught:
        _check_behind(behind, load(find(scenario)))
    assert caught.value.exit_code == USAGE


@pytest.mark.parametrize(
    ("behind", "scenario"),
    [(None, "healthy"), ("mirror-ports-closed", "onprem"), ("api-cut-off", "article")],
)
def test_what_can(behind: str | None, scenario: str) -> None:
    _check_behind(behind, load(find(scenario)))
