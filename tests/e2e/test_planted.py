"""Causes planted behind the scenario's back: the file says SURVIVED, the packets say why not."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from emulator.lab import behind
from emulator.lab.analysis import facts_of
from emulator.lab.instance import Lab, all_labs
from emulator.lab.judge.verdict import judge
from emulator.lab.runner import run_scenario
from emulator.lab.scenario_file import find, load
from emulator.lab.settings.scenario import Scenario
from netns.build import processes

pytestmark = pytest.mark.e2e


def snat_pool(**changes: object) -> Scenario:
    """A scenario in which everything should live, with one session to be quick."""
    plain = load(find("article-snat-pool")).model_dump()
    plain |= {"sessions": ["telnet"], "expect": {"telnet": "SURVIVED"}, **changes}
    return Scenario.model_validate(plain)


@pytest.mark.parametrize(
    ("plant", "outcome", "cause"),
    [
        (behind.source_dest_check_on, "STALLED", "source-dest-check"),
        (behind.api_cut_off, "STALLED", "route-never-moved"),
        (behind.standby_restarted, "RESET", "no-flow-reset"),
    ],
)
def test_a_planted_cause_is_named(
    plant: Callable[[Lab], None], outcome: str, cause: str, tmp_path: Path
) -> None:
    done = run_scenario(snat_pool(), tmp_path, behind=plant)
    [connection] = done.result["connections"]  # type: ignore[misc]
    assert done.result["void"] is None
    assert (connection["outcome"], connection["cause"]["id"]) == (outcome, cause)


def test_a_lying_scenario_does_not_sway_the_verdict(tmp_path: Path) -> None:
    """`expect` and the title claim the opposite of what the causes bring about."""
    lying = snat_pool(
        title="survives for certain",
        virtual_server={"snat": "automap", "mirroring": True},
        devices={"rebuild_automap": False},
    )
    done = run_scenario(lying, tmp_path)
    [verdict] = judge(facts_of(done.folder / "run.pcapng"))
    assert (verdict.outcome, verdict.cause.id) == ("STALLED", "snat-address-changed")
    assert done.result["connections"][0]["expected"] == "SURVIVED"  # type: ignore[index]


def kill_a_capture(lab: Lab) -> None:
    """The backend's dumpcap dies: what it would have seen is not known."""
    for pid in processes([lab.world.namespace("backend-1")]):
        if Path(f"/proc/{pid}/comm").read_text().strip() == "dumpcap":
            os.kill(pid, signal.SIGKILL)


def kill_the_fabric(lab: Lab) -> None:
    os.kill(int((lab.folder / "fabric.pid").read_text()), signal.SIGKILL)


@pytest.mark.parametrize(
    ("fault", "words"),
    [(kill_a_capture, "the capture of backend-1"), (kill_the_fabric, "fabric ended")],
)
def test_a_lab_fault_voids_the_run(
    fault: Callable[[Lab], None], words: str, tmp_path: Path
) -> None:
    """Never a network result, always a result.json that says why, and nothing left behind."""
    done = run_scenario(snat_pool(), tmp_path, behind=fault)
    assert words in str(done.result["void"])
    assert json.loads((done.folder / "result.json").read_text()) == done.result
    assert done.folder.name.rsplit("-", 1)[1] not in all_labs()
