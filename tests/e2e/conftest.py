"""Runs of the built-in scenarios, each made once, by the command a user types."""

from __future__ import annotations

import json
import subprocess
import sys
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from emulator.lab.instance import ROOT
from emulator.lab.scenario_file import names
from netns.build import labs
from tests.support.slots import slot

MIRRORLAB = [sys.executable, "-m", "emulator.cli"]
VOID = 4
# Built-in scenarios with tests of their own: of the control plane, of the fabric's
# parts, and of what devices do.
APART = (
    "throttled-", "security-group-", "firewall-", "elastic-ip", "load-balancer-", "half-done-",
    "trigger-lost", "flapping", "secondary-ip", "two-faults", "wildcard", "cgnat-", "udp",
    "persistence-", "split-brain",
    "workloads", "ftp-", "ssh-keepalive", "fleet-", "endpoint-", "application-timer", "long-delay",
)  # fmt: skip
ALONG = ("workloads", "application-timer")  # of these, made along with the others
TIMEOUT_S = 150


def short() -> list[str]:
    """The built-in scenarios that take seconds and have no tests of their own."""
    return [name for name in names() if not name.startswith(APART)]


@dataclass(frozen=True)
class Finished:
    """One run as the user sees it."""

    status: int
    result: dict[str, Any]
    folder: Path
    stderr: str

    @property
    def outcomes(self) -> dict[str, str]:
        return {c["name"]: c["outcome"] for c in self.result["connections"]}

    @property
    def causes(self) -> dict[str, str | None]:
        return {c["name"]: c["cause"]["id"] for c in self.result["connections"]}


def run_cli(scenario: str, output: Path, *options: str, timeout_s: float = TIMEOUT_S) -> Finished:
    """`mirrorlab run`; a run the host disturbed is void and is made once more."""
    name = Path(scenario).stem
    argv = [*MIRRORLAB, "run", scenario, "--format", "json", "--output", str(output), *options]
    for _ in range(2):
        with slot():
            done = subprocess.run(argv, capture_output=True, text=True, timeout=timeout_s)
        if done.returncode != VOID:
            break
    assert done.stdout, f"{scenario}: exit {done.returncode}, {done.stderr}"
    result = json.loads(done.stdout)
    folders = [
        p for p in output.iterdir() if p.is_dir() and p.name.split("-", 1)[1].startswith(name + "-")
    ]
    return Finished(done.returncode, result, max(folders), done.stderr)


@pytest.fixture(scope="session")
def scenario_runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Future[Finished]]:
    """Every built-in scenario, three at a time: a run mostly waits."""
    pool = ThreadPoolExecutor(max_workers=3)
    wanted = [*short(), *ALONG]
    return {name: pool.submit(run_cli, name, tmp_path_factory.mktemp(name)) for name in wanted}


@pytest.fixture
def finished(
    request: pytest.FixtureRequest, scenario_runs: dict[str, Future[Finished]]
) -> Finished:
    """The run of the scenario named by the test's parameter."""
    return scenario_runs[request.param].result()


def lab_of(output: Path) -> Path:
    """The state folder of the one lab whose evidence goes there."""
    [lab] = [lab for lab in ROOT.iterdir() if str(output) in _told(lab)]
    return lab


def gone(lab: Path, output: Path) -> None:
    """Asserts that nothing of it is left."""
    assert not lab.exists()
    assert lab.name not in labs()
    left = subprocess.run(["pgrep", "-f", str(output)], capture_output=True, check=False)
    assert left.stdout == b""


def _told(lab: Path) -> str:
    path = lab / "lab.json"
    return path.read_text() if path.exists() else ""
