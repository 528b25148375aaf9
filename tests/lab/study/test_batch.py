"""Many runs: what is finished is kept, what is void is made again, what breaks off says so."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from emulator.lab.settings.scenario import Scenario
from emulator.lab.study.batch import ATTEMPTS, VOID, Batch, Job
from emulator.lab.wait import LabFault

ONE = Job("one", Scenario(title="one"))


class Scripted(Batch):
    """Answers instead of running."""

    def __init__(self, folder: Path, *answers: tuple[int, dict[str, Any] | None, str]) -> None:
        super().__init__(folder, parallel=1)
        self.answers = list(answers)
        self.made = 0

    def _attempt(self, folder: Path, behind: str | None) -> tuple[int, dict[str, Any] | None, str]:
        self.made += 1
        run = folder / "runs" / "a-run"
        run.mkdir(parents=True, exist_ok=True)
        for name in ("run.pcapng", "client.pcapng"):
            (run / name).write_bytes(b"frames")
        return self.answers.pop(0)


GOOD = (0, {"void": None, "connections": []}, "")
DISTURBED = (VOID, {"void": "late", "connections": []}, "")


def test_a_finished_run_is_not_made_again(tmp_path: Path) -> None:
    first = Scripted(tmp_path, GOOD)
    assert not first.run([ONE])["one"].reused
    again = Scripted(tmp_path)
    done = again.run([ONE])["one"]
    assert done.reused
    assert done.result == GOOD[1]
    assert (first.made, again.made) == (1, 0)


def test_another_scenario_under_the_same_key_is(tmp_path: Path) -> None:
    Scripted(tmp_path, GOOD).run([ONE])
    other = Scripted(tmp_path, GOOD)
    other.run([Job("one", Scenario(title="another"))])
    assert other.made == 1


def test_so_is_one_with_something_else_done_behind_its_back(tmp_path: Path) -> None:
    Scripted(tmp_path, GOOD).run([ONE])
    other = Scripted(tmp_path, GOOD)
    other.run([Job("one", ONE.scenario, "api-cut-off")])
    assert other.made == 1


def test_an_unfinished_one_is(tmp_path: Path) -> None:
    Scripted(tmp_path, GOOD).run([ONE])
    (tmp_path / "one" / "result.json").unlink()
    again = Scripted(tmp_path, GOOD)
    again.run([ONE])
    assert again.made == 1


def test_a_void_run_is_made_again(tmp_path: Path) -> None:
    batch = Scripted(tmp_path, DISTURBED, GOOD)
    assert batch.run([ONE])["one"].result["void"] is None
    assert batch.made == 2


def test_one_that_stays_void_is_no_result(tmp_path: Path) -> None:
    batch = Scripted(tmp_path, *[DISTURBED] * ATTEMPTS)
    with pytest.raises(LabFault, match="one: late"):
        batch.run([ONE])
    assert not (tmp_path / "one" / "result.json").exists()


def test_one_that_breaks_off_says_its_last_words(tmp_path: Path) -> None:
    batch = Scripted(tmp_path, *[(3, None, "mirrorlab: this needs root")] * ATTEMPTS)
    with pytest.raises(LabFault, match="needs root"):
        batch.run([ONE])


def test_the_merged_capture_is_kept_and_the_nodes_are_not(tmp_path: Path) -> None:
    done = Scripted(tmp_path, GOOD).run([ONE])["one"]
    assert [p.name for p in done.folder.glob("*.pcapng")] == ["run.pcapng"]
    assert json.loads((tmp_path / "one" / "result.json").read_text()) == GOOD[1]
