from __future__ import annotations

import pytest

from emulator.lab.campaign.cleanstages import misbehaved
from emulator.lab.campaign.stages import STAGES

FIRST, *_, LAST = STAGES
SAID = ["mirrorlab: interrupted"]


@pytest.mark.parametrize("stage", [FIRST, LAST])
@pytest.mark.parametrize("moment", ["before", "in", "after", "twice"])
def test_an_interrupted_run_says_so_and_ends_with_130(stage: str, moment: str) -> None:
    assert misbehaved(stage, moment, 130, SAID) == []
    assert misbehaved(stage, moment, 130, ["Traceback", "KeyboardInterrupt"]) != []
    assert misbehaved(stage, moment, -14, SAID) == ["exit status -14"]


def test_only_the_last_stage_may_be_over_before_the_signal_comes() -> None:
    assert misbehaved(LAST, "in", 0, []) == []
    assert misbehaved(FIRST, "in", 0, []) == ["exit status 0"]
    assert misbehaved(LAST, "before", 0, []) == ["exit status 0"]
