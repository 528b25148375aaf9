"""The router's rules and queues for each fault of the channel, as text."""

from __future__ import annotations

import pytest

from emulator.lab.channelfaults import queues, ruleset
from emulator.lab.settings.mirror_channel import MirrorChannel

NAMES = {"bigip-a": "a-ha", "bigip-b": "b-ha"}


@pytest.mark.parametrize(
    ("fault", "out"),
    [
        ("cut", '{ "b-ha", "a-ha" }'),
        ("to-standby-lost", '"b-ha"'),
        ("to-active-lost", '"a-ha"'),
    ],
)
def test_losses_are_of_the_channels_port_and_direction_alone(fault: str, out: str) -> None:
    names = dict(reversed(NAMES.items()))  # whatever their order
    rules = ruleset(MirrorChannel.model_validate({"fault": fault}), names)
    drops = [line.strip() for line in rules.splitlines() if "drop" in line]
    expected = {f"oifname {out} tcp {end} 1029 drop" for end in ("sport", "dport")}
    if fault == "cut":
        expected = {line.replace('"b-ha", "a-ha"', '"a-ha", "b-ha"') for line in expected}
    assert set(drops) == expected


def test_a_slow_channel_loses_nothing_by_rule_and_leaves_heartbeats_alone() -> None:
    slow = MirrorChannel(fault="slow", bits_per_s=2_000_000)
    rules = ruleset(slow, NAMES)
    assert "drop" not in rules
    assert rules.count("1029 meta priority set 1:10") == 2
    commands = queues("b-ha", 2_000_000)
    [limit] = [c for c in commands if "tbf" in c]
    assert limit[limit.index("parent") + 1] == "1:10"
    assert limit[limit.index("rate") + 1] == "2000000bit"
    [root] = [c for c in commands if "root" in c]
    assert root[root.index("default") + 1] == "20"  # heartbeats, and all that is not the channel
