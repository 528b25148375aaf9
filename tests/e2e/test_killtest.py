"""The kill test itself, a few rounds of it: what it counts and what it calls its losses."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from emulator.lab.settings.scenario import How
from tests.e2e.conftest import gone, lab_of

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


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("captures", [(), ("--captures",)])
def test_an_interrupt_gives_the_counts_so_far_and_leaves_nothing(
    number: int, captures: tuple[str, ...], tmp_path: Path
) -> None:
    argv = [sys.executable, "-m", "emulator.lab.campaign.killtest", "--count", "9", "--json"]
    argv += ["--keep", str(tmp_path), *captures]
    with subprocess.Popen(
        argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as program:
        assert program.stdout is not None
        assert program.stderr is not None
        while not program.stdout.readline().lstrip().startswith("1 "):  # the first round
            assert program.poll() is None
        lab = lab_of(tmp_path)
        os.killpg(program.pid, number)  # as from a terminal, somewhere in the second round
        rest, said = program.stdout.read(), program.stderr.read()
    assert program.returncode == 130, said
    assert json.loads(rest.splitlines()[-1])["failovers"] >= 1
    assert "Traceback" not in said
    gone(lab, tmp_path)
