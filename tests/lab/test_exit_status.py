"""`mirrorlab run`: the exit status says what kind of end it was."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from emulator import cli
from emulator.commands import experiments
from emulator.commands.terminal import unwritable
from emulator.lab import runner


def connection(**changes: Any) -> dict[str, Any]:
    return {
        "name": "ssh", "outcome": "SURVIVED", "expected": "SURVIVED", "program": None,
        "blackout_s": {"to_client": None, "to_server": None},
        "bytes": {"sent": 9, "delivered": 9, "missing": 0, "repeated": 0, "altered": 0},
        "cause": {"id": None, "text": "lived", "evidence": []}, **changes,
    }  # fmt: skip


def outcome(
    monkeypatch: pytest.MonkeyPatch, *connections: dict[str, Any], void: str = ""
) -> Result:
    """What the command makes of a run with these connections."""
    found = {
        "scenario": "s", "title": "t [x]", "void": void or None, "failover": None,
        "connections": list(connections),
    }  # fmt: skip
    run = runner.Run(Path("runs/x"), found)  # type: ignore[arg-type]
    monkeypatch.setattr(runner, "run_scenario", lambda *_, **__: run)
    monkeypatch.setattr(experiments, "need_host", lambda *_: None)
    return CliRunner().invoke(cli.cli, ["run", "article", "--format", "json"])


def test_as_expected_is_0(monkeypatch: pytest.MonkeyPatch) -> None:
    done = outcome(monkeypatch, connection())
    assert done.exit_code == 0
    assert json.loads(done.stdout)["connections"][0]["name"] == "ssh"


WRONG = {"sent": 9, "delivered": 9, "missing": 0, "repeated": 0, "altered": 1}
LOST = {"sent": 9, "delivered": 8, "missing": 1, "repeated": 0, "altered": 0}


@pytest.mark.parametrize(
    "changes",
    [
        {"outcome": "RESET"},
        {"bytes": WRONG},
        {"bytes": LOST},
        {"program": {"wrong_at": 7}},
    ],
)
def test_not_as_expected_is_1(changes: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Another outcome, or a survivor with a wrong byte."""
    assert outcome(monkeypatch, connection(**changes)).exit_code == 1


def test_no_expectation_is_met_by_anything(monkeypatch: pytest.MonkeyPatch) -> None:
    assert outcome(monkeypatch, connection(expected=None, outcome="STALLED")).exit_code == 0


def test_a_void_run_is_4_whatever_it_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    assert outcome(monkeypatch, connection(), void="NFQUEUE lost 3 packets").exit_code == 4


def test_a_place_that_cannot_be_written_to_is_2(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(experiments, "need_host", lambda *_: None)
    done = CliRunner().invoke(cli.cli, ["run", "article", "--output", "/etc/passwd"])
    assert done.exit_code == 2
    assert done.stderr.endswith("mirrorlab: /etc/passwd: File exists\n") or "Not a directory" in (
        done.stderr
    )
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("words", [["status"], ["down"], ["up"], ["failover"]])
def test_a_bad_lab_name_is_2(words: list[str]) -> None:
    done = CliRunner().invoke(cli.cli, [*words, "--name", "Bad-Name"])
    assert done.exit_code == 2
    assert "'Bad-Name' is no lab name" in done.stderr


def test_every_command_listed_is_there_and_helps() -> None:
    """A name in cli.COMMANDS whose module lacks it would fail only when typed."""
    for name in cli.COMMANDS:
        done = CliRunner().invoke(cli.cli, [name, "--help"])
        assert done.exit_code == 0, done.output
        assert f"{name} " in done.stdout


@pytest.mark.parametrize(("code", "status"), [(errno.ENOSPC, 3), (errno.EACCES, 2)])
def test_a_full_disk_is_the_host_s(code: int, status: int) -> None:
    failure = unwritable(OSError(code, os.strerror(code)), Path("runs"))
    assert (failure.exit_code, failure.message) == (status, f"runs: {os.strerror(code)}")
