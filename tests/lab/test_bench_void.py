"""A reading during which the mirroring channel was lost is none (bench/worlds.py)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bench.worlds import ATTEMPTS, BenchLab, channel_story, scenario
from emulator.lab.wait import LabFault

UP, LOST = "mirror-channel-established", "mirror-channel-lost"


def test_the_journal_says_whether_the_channel_is_up_and_how_often_it_was_lost():
    assert channel_story([]) == (False, 0)
    assert channel_story(["active", UP, "flow-created"]) == (True, 0)
    assert channel_story([UP, LOST, "flow-closed"]) == (False, 1)
    assert channel_story([UP, LOST, UP, LOST, UP]) == (True, 2)


class Measured(BenchLab):
    """`mirrored` alone: a journal, and readings that write to it."""

    def __init__(self, folder: Path, **server: object) -> None:
        self.scenario = scenario({"type": "standard", "mirroring": True, **server})
        self.evidence = folder
        self.write(UP)

    def write(self, *told: str) -> None:
        with (self.evidence / "bigip-a.jsonl").open("a") as journal:
            journal.writelines(json.dumps({"what": what}) + "\n" for what in told)

    def readings(self, *losses: bool) -> Any:
        """The n-th reading is n; whether the channel is lost in it, and comes back."""
        numbered = iter(enumerate(losses))

        def measure() -> dict[str, float]:
            number, lost = next(numbered)
            self.write(*((LOST, UP) if lost else ("flow-created",)))
            return {"n": number}

        return measure


def test_a_reading_with_a_lost_channel_is_made_again(tmp_path: Path) -> None:
    lab = Measured(tmp_path)
    assert lab.mirrored(lab.readings(False)) == {"n": 0}
    assert lab.mirrored(lab.readings(True, False)) == {"n": 1}


def test_one_that_never_succeeds_is_void(tmp_path: Path) -> None:
    lab = Measured(tmp_path)
    with pytest.raises(LabFault, match="the mirroring channel was lost"):
        lab.mirrored(lab.readings(*[True] * ATTEMPTS))


def test_without_mirroring_there_is_no_channel_to_lose(tmp_path: Path) -> None:
    lab = Measured(tmp_path, mirroring=False)
    assert lab.mirrored(lab.readings(True)) == {"n": 0}
