"""Causes planted behind the scenario's back: the file says SURVIVED, the packets say why not."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from emulator.lab.analysis import facts_of
from emulator.lab.instance import Lab, all_labs
from emulator.lab.judge.verdict import judge
from emulator.lab.runner import run_scenario
from emulator.lab.scenario_file import find, load
from emulator.lab.settings.scenario import Scenario
from emulator.lab.study.confusion import planted, right
from emulator.lab.study.plants import PLANTS, Plant
from netns.build import processes
from tests.e2e.conftest import Finished, run_cli

pytestmark = pytest.mark.e2e


def snat_pool(**changes: object) -> Scenario:
    """A scenario in which everything should live, with one session to be quick."""
    plain = load(find("article-snat-pool")).model_dump()
    plain |= {"sessions": ["telnet"], "expect": {"telnet": "SURVIVED"}, **changes}
    return Scenario.model_validate(plain)


BEHIND = {
    "source-dest-check": "STALLED", "api-cut-off": "STALLED", "standby-cleared": "RESET",
}  # fmt: skip


@pytest.fixture(scope="module")
def planted_runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Future[Finished]]:
    """What the confusion matrix does, for a few plants and at the same time."""
    pool = ThreadPoolExecutor(max_workers=3)

    def run(plant: Plant) -> Finished:
        folder = tmp_path_factory.mktemp(plant.id)
        file = folder / f"{plant.id}.yaml"
        scenario = planted(plant).model_copy(update={"expect": {"ssh": "SURVIVED"}})
        file.write_text(json.dumps(scenario.model_dump(mode="json")))
        (folder / "runs").mkdir()
        return run_cli(str(file), folder / "runs", "--behind", str(plant.behind))

    return {plant.id: pool.submit(run, plant) for plant in PLANTS if plant.id in BEHIND}


@pytest.mark.parametrize("name", BEHIND)
def test_a_planted_cause_is_named(name: str, planted_runs: dict[str, Future[Finished]]) -> None:
    """The file says that it survives; status 1, and the cause that nobody told the judge."""
    done = planted_runs[name].result()
    [plant] = [p for p in PLANTS if p.id == name]
    assert done.result["void"] is None
    assert right(plant, done.result), done.causes
    assert set(done.outcomes.values()) == {BEHIND[name]}
    assert done.status == 1


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
