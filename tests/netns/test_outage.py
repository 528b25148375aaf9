"""When the API is out: counted from the moment the lab fails the device over."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from netns.cloud.front import Outage

BEFORE, AT_ONCE, LATER = None, 1.0, 100.0  # seconds since the failover


@pytest.mark.parametrize(
    ("begins", "ends", "since", "out"),
    [
        (None, None, BEFORE, True),
        (None, None, LATER, True),
        (None, 50.0, BEFORE, True),
        (None, 50.0, AT_ONCE, True),
        (None, 50.0, LATER, False),
        (0.0, None, BEFORE, False),
        (0.0, None, AT_ONCE, True),
        (0.0, 50.0, LATER, False),
        (50.0, None, AT_ONCE, False),
        (50.0, None, LATER, True),
    ],
)
def test_an_outage_from_and_to(
    begins: float | None, ends: float | None, since: float | None, out: bool, tmp_path: Path
) -> None:
    moment = tmp_path / "moment"
    if since is not None:
        moment.touch()
        os.utime(moment, (time.time() - since,) * 2)
    assert Outage({"from_s": begins, "to_s": ends}, moment).now() is out


def test_no_outage_is_no_outage(tmp_path: Path) -> None:
    assert Outage(None, tmp_path / "moment").now() is False
