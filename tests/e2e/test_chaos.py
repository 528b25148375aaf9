"""The chaos campaign by its command: what it prints, and that a pair stands what is promised."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import gone, lab_of

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1200)]

CHAOS = [sys.executable, "-m", "emulator.lab.campaign.chaos"]
VOID = 4
POWER_OFF = (
    '{"world":"onprem-sync","first":"bigip-b","traffic":["bulk","ssh"],'
    '"faults":[{"kind":"power-off","at_s":0.3,"for_s":2.5}]}'
)


def chaos(*options: str) -> tuple[int, dict[str, Any], str]:
    """Exit status, report, and what was printed beside it; what the host disturbed, once more."""
    argv = [*CHAOS, "--format", "json", *options]
    for _ in range(2):
        done = subprocess.run(argv, capture_output=True, text=True, timeout=1000)
        if done.returncode != VOID:
            break
    return done.returncode, json.loads(done.stdout), done.stderr


@pytest.mark.long
def test_a_power_off_under_sync_loses_nothing() -> None:
    status, report, printed = chaos("--replay", POWER_OFF, "--no-captures")
    assert status == 0, printed
    [made] = report["rounds"]
    assert (made["failures"], made["lost"], made["wrong_bytes"]) == ([], [], 0)
    assert made["bytes"] > 10_000


@pytest.mark.long
def test_rounds_of_every_world_hold_what_is_promised() -> None:
    status, report, printed = chaos("--count", "10", "--seed", "4")
    assert status == 0, printed
    assert report["table"]["all"]["wrong"] == 0
    assert report["failed"] == []


@pytest.mark.long
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_gives_the_table_so_far_and_leaves_nothing(
    number: int, tmp_path: Path
) -> None:
    argv = [*CHAOS, "--count", "9", "--seed", "1", "--worlds", "onprem-sync", "--no-captures"]
    argv += ["--keep", str(tmp_path)]
    with subprocess.Popen(
        argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as program:
        assert program.stdout is not None
        first = program.stdout.readline()
        assert first.split()[0] == "1"
        lab = lab_of(tmp_path)
        program.send_signal(number)  # somewhere in the second round
        rest = program.stdout.read()
    assert program.returncode == 130
    assert "rounds failed" in rest
    gone(lab, tmp_path)
