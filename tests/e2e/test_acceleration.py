"""`pva-acceleration full` by the user's command: sessions outlive a power-off whose devices never
saw most of their segments. What passed unseen the kernel counts, per direction of a flow."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from emulator.lab.deployment import DEVICES
from netns.execute import NamespaceError, run
from netns.topology import NAMESPACE_PREFIX
from tests.e2e.conftest import MIRRORLAB, VOID

pytestmark = [pytest.mark.e2e, pytest.mark.long]
SCENARIO = """
title: Segments that the devices do not see
virtual_server:
  snat: pool
  snat_pool: [10.88.0.10]
  mirroring: true
  pva_acceleration: {acceleration}
failover: {{how: power-off}}
expect: {{ssh: SURVIVED, telnet: SURVIVED, echo: SURVIVED}}
"""
LIST = ["nft", "--json", "list", "set", "ip", "mirrorlab", "accelerated"]
MANY = 20  # segments one way; a flow's set-up and close are fewer


def passed_unseen(namespace: str) -> int:
    """Packets of the busiest direction of a flow in the kernel's set; 0 where there is none."""
    try:
        listed = json.loads(run(namespace, LIST))["nftables"]
    except (NamespaceError, OSError):
        return 0
    elements = [e for part in listed for e in part.get("set", {}).get("elem", ())]
    return max((e["elem"]["counter"]["packets"] for e in elements), default=0)


def watched_run(path: Path, output: Path) -> tuple[int, dict[str, Any], dict[str, int]]:
    """Exit status, result, and the most that passed each device unseen while it ran."""
    argv = [*MIRRORLAB, "run", str(path), "--format", "json", "--output", str(output)]
    most = dict.fromkeys(DEVICES, 0)
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        while True:
            try:
                out, _ = process.communicate(timeout=0.5)
                break
            except subprocess.TimeoutExpired:
                for folder in output.glob("*-seen-*"):
                    lab = folder.name.rpartition("-")[2]
                    for node in DEVICES:
                        found = passed_unseen(f"{NAMESPACE_PREFIX}-{lab}-{node}")
                        most[node] = max(most[node], found)
    return process.returncode, json.loads(out), most


@pytest.mark.parametrize("acceleration", ["full", "none"])
def test_sessions_outlive_a_power_off_unseen(acceleration: str, tmp_path: Path) -> None:
    path = tmp_path / "seen.yaml"
    path.write_text(SCENARIO.format(acceleration=acceleration))
    for attempt in ("first", "again"):
        status, result, most = watched_run(path, tmp_path / attempt)
        if status != VOID:
            break
    outcomes = {c["name"]: c["outcome"] for c in result["connections"]}
    assert outcomes == dict.fromkeys(("ssh", "telnet", "echo"), "SURVIVED"), result
    assert all(c["bytes"]["missing"] == c["bytes"]["altered"] == 0 for c in result["connections"])
    for node in DEVICES:
        assert (most[node] >= MANY) == (acceleration == "full"), most
