"""What counts as named right, and that the planted table can be run at all."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from emulator.lab.behind import BEHIND
from emulator.lab.judge.causes import CAUSES
from emulator.lab.scenario_file import find, load
from emulator.lab.study.batch import Done, Job
from emulator.lab.study.confusion import as_data, measure, planted, right
from emulator.lab.study.factors import changed
from emulator.lab.study.plants import BEHIND_NAMES, HEALTHY, PLANTS, Plant


def connection(name: str, cause: str | None, outcome: str = "RESET") -> dict[str, Any]:
    return {
        "name": name, "outcome": outcome, "cause": {"id": cause},
        "bytes": {"missing": 0, "repeated": 0, "altered": 0},
    }  # fmt: skip


def run(*connections: dict[str, Any]) -> dict[str, Any]:
    return {"connections": list(connections)}


LIVING = connection("ssh", None, "SURVIVED")


class Fake:
    """Stands in for the batch; `said`: a result for each key, or what lives."""

    def __init__(self, said: dict[str, dict[str, Any]]) -> None:
        self.said, self.jobs = said, list[Job]()

    def run(self, jobs: Sequence[Job], progress: Any = None) -> dict[str, Done]:
        self.jobs = list(jobs)
        return {j.key: Done(j, self.said.get(j.key, run(LIVING)), Path(j.key)) for j in jobs}


@pytest.mark.parametrize("plant", PLANTS, ids=lambda p: p.id)
def test_every_plant_can_be_run(plant: Plant) -> None:
    """A scenario that is valid, sessions that exist, a cause of the closed list."""
    scenario = planted(plant)
    assert set(plant.dies) <= set(scenario.sessions)
    assert plant.cause in CAUSES
    assert scenario.expect == {}
    assert plant.behind is None or plant.behind in BEHIND


def test_the_names_of_what_is_done_behind_are_the_functions() -> None:
    assert sorted(BEHIND_NAMES) == sorted(BEHIND)


def test_every_healthy_run_can_be_run() -> None:
    for name, changes in HEALTHY:
        changed(load(find(name)), changes)


def test_enough_causes_are_planted_and_no_plant_is_there_twice() -> None:
    assert len({plant.cause for plant in PLANTS}) >= 15
    assert len({plant.id for plant in PLANTS}) == len(PLANTS)


ALL = Plant("x", "no-flow-reset", "article")
SOME = Plant("x", "no-flow-reset", "article", dies=("feed",))


@pytest.mark.parametrize(
    ("plant", "result", "expected"),
    [
        (ALL, run(connection("ssh", "no-flow-reset")), True),
        (ALL, run(connection("ssh", "unknown")), False),
        (ALL, run(connection("ssh", "no-flow-reset"), LIVING), False),
        (SOME, run(connection("feed", "no-flow-reset"), LIVING), True),
        (SOME, run(connection("feed", "no-flow-reset"), connection("ssh", "unknown")), False),
        (ALL, run(), False),
    ],
)
def test_right_means_named_where_it_should_and_nowhere_else(
    plant: Plant, result: dict[str, Any], expected: bool
) -> None:
    assert right(plant, result) is expected


def test_a_wrong_name_and_a_false_alarm_are_counted() -> None:
    alarm = run(connection("ssh", "mirror-lag"))
    fake = Fake({
        "x.0": run(connection("ssh", "no-flow-reset")), "x.1": run(connection("ssh", "unknown")),
        "healthy-01-healthy": alarm,
    })  # fmt: skip
    found = measure(fake, repeat=2, healthy=2, plants=[ALL])  # type: ignore[arg-type]
    data = as_data(found)
    assert not found.perfect
    assert data["planted"][0]["named"] == {"no-flow-reset": 1, "unknown": 1}
    assert data["planted"][0]["right"] == 1
    assert data["healthy"] == {"runs": 2, "false_alarms": ["healthy-01-healthy"]}


def test_lost_bytes_without_a_cause_are_an_alarm_too() -> None:
    lossy = connection("ssh", None, "SURVIVED")
    lossy["bytes"]["missing"] = 1
    fake = Fake({"healthy-00-healthy": run(lossy)})
    assert len(measure(fake, repeat=0, healthy=1, plants=[]).alarms) == 1  # type: ignore[arg-type]


def test_all_right_is_perfect() -> None:
    fake = Fake({"x.0": run(connection("ssh", "no-flow-reset"))})
    found = measure(fake, repeat=1, healthy=20, plants=[ALL])  # type: ignore[arg-type]
    assert found.perfect
    assert len(found.healthy) == 20
