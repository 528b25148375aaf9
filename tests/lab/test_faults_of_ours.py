"""A program of the lab's own that dies is a fault of the lab: no network result follows."""

from __future__ import annotations

import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import pytest

from emulator.lab.experiment import Experiment
from emulator.lab.instance import Lab
from emulator.lab.settings.scenario import Scenario
from emulator.lab.wait import LabFault


@pytest.fixture
def lab() -> Lab:
    return Lab("x", Scenario.model_validate({"title": "t", "sessions": ["ssh"]}))


def test_a_server_that_ends_is_missed(lab: Lab) -> None:
    process = subprocess.Popen([sys.executable, "-c", "raise SystemExit(3)"])
    process.wait()
    lab._services.append(process)  # type: ignore[arg-type]
    with pytest.raises(LabFault, match="a server ended with status 3"):
        lab.check_processes()


def test_a_device_killed_on_purpose_is_not(lab: Lab) -> None:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    lab._unwatched.append(process)  # type: ignore[arg-type]
    lab.check_processes()


@pytest.mark.parametrize("failed", [[], ["ssh"]])
def test_a_session_s_program_that_fails_is_missed(failed: list[str]) -> None:
    """After the failover as well as before it."""
    experiment: Any = Experiment.__new__(Experiment)
    nothing = SimpleNamespace(check=lambda: None, check_processes=lambda: None)
    experiment._lab = experiment._capture = nothing
    experiment._traffic = SimpleNamespace(failed_to_open=lambda: failed)
    if not failed:
        experiment._check()
        return
    with pytest.raises(LabFault, match="the program of ssh failed"):
        experiment._check()
