"""The kill test itself, a few rounds of it: what it counts and what it calls its losses."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from emulator.lab.settings.scenario import How

pytestmark = [pytest.mark.e2e, pytest.mark.long, pytest.mark.timeout(900)]


def killtest(*options: str) -> tuple[int, dict[str, int], str]:
    """Exit status, counts, and what was printed."""
    argv = [sys.executable, "-m", "emulator.lab.campaign.killtest", "--json", *options]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=800)
    return done.returncode, json.loads(done.stdout.splitlines()[-1]), done.stdout + done.stderr


@pytest.mark.parametrize("how", [how.value for how in How])
def test_sync_loses_nothing_however_the_device_fails(how: str) -> None:
    status, counts, text = killtest("--count", "4", "--commit", "sync", "--how", how)
    assert status == 0, text
    assert counts["failovers"] == 4
    assert counts["lost conversations"] == counts["wrong bytes"] == counts["wrong bytes ssh"] == 0
    assert counts["bulk bytes"] > 100_000


def test_async_over_a_slow_channel_loses_and_each_loss_is_named_mirror_lag() -> None:
    status, counts, text = killtest(
        "--count", "3", "--commit", "async", "--captures", "--slow", "4000000", "--patience", "10"
    )
    assert status == 1, text
    assert counts["wrong bytes"] == 0
    verdicts = {key: n for key, n in counts.items() if key.startswith("verdict ")}
    assert sum(verdicts.values()) == counts["lost conversations"] > 0
    named = {key for key in verdicts if "void" not in key}
    assert named <= {"verdict STALLED mirror-lag", "verdict RESET mirror-lag"}, text
