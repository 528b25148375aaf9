"""Beside the peers: the lab's verdicts on worlds in which conntrackd or HAProxy serves packets."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from emulator.lab.peers.dataplane import absent
from emulator.lab.study.comparison import SESSIONS
from tests.e2e.conftest import MIRRORLAB

pytestmark = [pytest.mark.e2e, pytest.mark.long, pytest.mark.timeout(900)]


def compared(cell: str, peer: str, output: Path) -> dict[str, Any]:
    """The one cell of that name, run by the user's command."""
    if lacking := absent(peer):
        pytest.skip(f"{' and '.join(lacking)} not installed: make differential does it")
    argv = [*MIRRORLAB, "differential", "--only", cell, "--format", "json", "--output", str(output)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=800)
    assert done.returncode == 0, done.stderr
    [found] = json.loads(done.stdout)["cells"]
    assert list(found["sessions"]) == list(SESSIONS)
    return dict(found)


def journal(run: str, name: str) -> str:
    return (Path(run) / name).read_text()


def test_conntrackd_saves_what_our_mirroring_saves(tmp_path: Path) -> None:
    found = compared("cloud_fastL4_pool_mirrored_force-standby", "conntrackd", tmp_path)
    for session in found["sessions"].values():
        assert session["agrees"]
        assert session["peer"]["outcome"] == "SURVIVED"
    # It was conntrackd that did it, and our own process that left the packets alone.
    assert f"Committed {len(SESSIONS)} new entries" in journal(
        found["runs"]["peer"], "logs/bigip-b-conntrackd.log"
    )
    assert "flow-created" not in journal(found["runs"]["peer"], "bigip-a.jsonl")
    assert "flow-restored" in journal(found["runs"]["ours"], "bigip-b.jsonl")


@pytest.mark.parametrize(
    ("cell", "peer"),
    [
        ("cloud_fastL4_pool_not-mirrored_power-off", "conntrackd"),
        ("cloud_standard_pool_not-mirrored_power-off", "haproxy"),
    ],
)
def test_without_mirroring_the_peer_resets_what_we_reset(
    cell: str, peer: str, tmp_path: Path
) -> None:
    found = compared(cell, peer, tmp_path)
    for name, session in found["sessions"].items():
        assert session["peer"] == {"outcome": "RESET", "cause": "no-flow-reset"}
        assert session["agrees"] or (name, session["explanation"]) == ("feed", "own-address")
