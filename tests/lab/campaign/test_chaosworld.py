"""When the pair counts as in sync, by both devices' tables."""

from __future__ import annotations

from pathlib import Path

import pytest

from emulator.lab.campaign.chaosplan import WORLDS
from emulator.lab.campaign.chaosworld import ChaosWorld


def in_sync(
    world: str, active: list[int], standby: list[int], dead: frozenset[int], folder: Path
) -> bool:
    pair = ChaosWorld(WORLDS[world], folder)
    tables = {
        node: {f"10.0.1.10:{port} 10.99.0.10:22": {"state": "open"} for port in ports}
        for node, ports in (("bigip-a", active), ("bigip-b", standby))
    }
    pair._flows = tables.get  # type: ignore[method-assign,assignment]
    return not pair._out_of_sync("bigip-a", "bigip-b", dead)


@pytest.mark.parametrize(
    ("active", "standby", "dead", "whole"),
    [
        ([], [], (), True),
        ([1, 2], [1, 2], (), True),
        ([1, 2], [1], (), False),
        ([1, 2], [1], (2,), True),  # lost: bytes that lie beyond a gap for ever
        ([1, 2], [1], (22,), True),  # ssh, by its server's port
        ([1, 2], [1], (1,), False),
        ([1], [1, 2], (2,), False),  # the standby holds what is gone
    ],
)
def test_what_a_lost_conversation_leaves_is_owed_to_nobody(
    active: list[int], standby: list[int], dead: tuple[int, ...], whole: bool, tmp_path: Path
) -> None:
    assert in_sync("cloud-sync", active, standby, frozenset(dead), tmp_path) is whole


def test_asynchronous_mirroring_owes_nothing_that_is_older_than_the_channel(tmp_path: Path) -> None:
    assert in_sync("cloud-async", [1], [], frozenset(), tmp_path)
