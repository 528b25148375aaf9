"""What a lab leaves, whatever happened to it: a few of `make cleanup-proof`'s hundred."""

from __future__ import annotations

from pathlib import Path

import pytest

from emulator.lab.campaign import cleanstages, cleanup, fulldisk

pytestmark = [pytest.mark.e2e, pytest.mark.long]


@pytest.mark.parametrize("moment", ["before", "in", "twice"])
@pytest.mark.parametrize(
    "stage", ["build: a namespace", "start: a device", "failover", "down: a namespace", "report"]
)
def test_a_signal_at_a_stage_leaves_nothing(stage: str, moment: str) -> None:
    assert cleanstages.hit(stage, moment, "SIGINT", "cloud") == []


@pytest.mark.parametrize(("kind", "size"), [("output", 64), ("state", 64)])
def test_a_full_disk_is_said_in_one_line(kind: str, size: int) -> None:
    status, said, wrong = fulldisk.squeeze(kind, size)
    assert (status, wrong) == ({"output": 3, "state": 4}[kind], [])
    assert "space" in said


@pytest.mark.parametrize("number", range(1, 6))
def test_a_lab_killed_at_random_leaves_nothing(number: int, tmp_path: Path) -> None:
    trial = cleanup.Attack(f"test/{number}", tmp_path).run(number)
    assert trial.left == [], str(trial)
