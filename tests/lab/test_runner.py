"""What a run leaves when its evidence cannot be read."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from emulator.lab import analysis
from emulator.lab.result import Disturbance, MirrorState
from emulator.lab.runner import _judged
from emulator.lab.scenario_file import find, load


@pytest.mark.parametrize("error", [KeyError("seq"), OSError(28, "No space left on device")])
def test_a_fault_of_the_analysis_is_a_void_run(
    error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(analysis, "analyse", fail)
    found = _judged(tmp_path, load(find("article")), Disturbance(), MirrorState(), [])
    assert type(error).__name__ in str(found["void"]) or "captures: " in str(found["void"])
    assert json.loads((tmp_path / "result.json").read_text()) == found
