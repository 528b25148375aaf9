"""`mirrorlab replay`: recordings between real ends."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import MIRRORLAB, VOID

pytestmark = pytest.mark.e2e
REFERENCE = Path(__file__).resolve().parents[2] / "captures" / "reference"


def replay(path: Path, output: Path, *options: str) -> dict[str, Any]:
    """A run the host disturbed is void and is made once more."""
    argv = [*MIRRORLAB, "replay", str(path), "--format", "json", "--output", str(output), *options]
    for _ in range(2):
        done = subprocess.run(argv, capture_output=True, text=True, timeout=200)
        if done.returncode != VOID:
            break
    assert done.returncode == 0, done.stderr
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def test_a_session_recorded_when_it_died_lives_when_the_snat_address_moves(tmp_path: Path) -> None:
    """The telnet session of a run of `article`, byte for byte, under article-snat-pool."""
    path = REFERENCE / "article-telnet.pcapng"
    result = replay(path, tmp_path, "--scenario", "article-snat-pool", "--at", "1.06")
    (connection,) = result["connections"]
    assert (connection["recording"]["end"], connection["outcome"]) == ("reset", "SURVIVED")
    assert connection["replay"]["complete"]
    assert connection["replay"]["right"] == {"to_server": 983, "to_client": 815}
    assert connection["replay"]["probes"]["to_client"] > 0
    assert connection["bytes"]["missing"] == connection["bytes"]["altered"] == 0
    assert connection["blackout_s"]["to_server"] > 1


@pytest.mark.long
def test_and_dies_again_under_the_scenario_it_was_recorded_under(tmp_path: Path) -> None:
    path = REFERENCE / "article-telnet.pcapng"
    result = replay(path, tmp_path, "--scenario", "article", "--at", "1.06")
    (connection,) = result["connections"]
    assert (connection["outcome"], connection["cause"]["id"]) == ("RESET", "snat-address-changed")
    assert not connection["replay"]["complete"]


@pytest.mark.long
def test_without_a_failover_every_byte_arrives(tmp_path: Path) -> None:
    """A recording of several capture points and of one, with another kind of virtual server."""
    path = REFERENCE / "onprem-telnet.pcapng"
    result = replay(path, tmp_path, "--scenario", "healthy", "--virtual-server", "standard")
    (connection,) = result["connections"]
    assert connection["outcome"] == "SURVIVED"
    assert connection["replay"]["complete"]
    assert connection["replay"]["right"] == connection["recording"]["bytes"]
