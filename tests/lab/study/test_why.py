"""Which sets of changes are tried, and which are the answer; the runs are made up."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from emulator.lab.scenario_file import find, load
from emulator.lab.settings.scenario import Scenario
from emulator.lab.study.batch import Done, Job
from emulator.lab.study.factors import FACTORS, NotPossible, applicable, changed, compatible
from emulator.lab.study.matrix import PRESETS, Axis, as_data, fill, summary
from emulator.lab.study.why import ask

ARTICLE = load(find("article"))
BY_ID = {f.id: f for f in FACTORS}


def result(outcome: str, cause: str | None = None, missing: int = 0) -> dict[str, Any]:
    return {
        "connections": [
            {
                "name": "ssh", "outcome": outcome, "cause": {"id": cause},
                "bytes": {"missing": missing, "repeated": 0, "altered": 0},
                "blackout_s": {"to_client": 4.5, "to_server": None},
            }
        ]
    }  # fmt: skip


class Fake:
    """Stands in for the runs: `lives` says of which scenarios the sessions survive."""

    def __init__(self, lives: Callable[[Scenario], bool]) -> None:
        self.lives = lives
        self.keys: list[str] = []

    def run(self, jobs: Sequence[Job], progress: Any = None) -> dict[str, Done]:
        self.keys += [job.key for job in jobs]
        return {j.key: Done(j, self._result(j.scenario), Path(j.key)) for j in jobs}

    def _result(self, scenario: Scenario) -> dict[str, Any]:
        return result("SURVIVED") if self.lives(scenario) else result("RESET", "unknown")


def answers(scenario: Scenario, fake: Fake) -> list[set[str]]:
    found = ask(scenario, fake)  # type: ignore[arg-type]
    return [{f.id for f in trial.factors} for trial in found.answers]


def test_one_change_that_helps_is_the_answer_and_no_pair_is_tried() -> None:
    fake = Fake(lambda s: s.virtual_server.snat == "pool")
    assert answers(ARTICLE, fake) == [{"snat-pool"}]
    assert not [key for key in fake.keys if "+" in key]


def test_two_faults_take_a_pair() -> None:
    two = changed(ARTICLE, {"virtual_server": {"mirroring": False}})
    fake = Fake(lambda s: s.virtual_server.snat == "pool" and s.virtual_server.mirroring)
    assert answers(two, fake) == [{"mirroring", "snat-pool"}]


def test_nothing_is_changed_where_nothing_is_wrong() -> None:
    fake = Fake(lambda _: True)
    assert answers(ARTICLE, fake) == []
    assert fake.keys == ["as-it-is"]


def test_no_answer_is_an_answer() -> None:
    fake = Fake(lambda _: False)
    assert answers(ARTICLE, fake) == []
    assert any("+" in key for key in fake.keys)


def test_a_survivor_that_lost_bytes_is_not_saved() -> None:
    fake = Fake(lambda _: False)
    fake._result = lambda _: result("SURVIVED", missing=3)  # type: ignore[method-assign]
    assert answers(ARTICLE, fake) == []
    assert len(fake.keys) > 1


def test_a_factor_that_is_true_already_is_not_tried() -> None:
    ids = {f.id for f in applicable(ARTICLE)}
    assert "mirroring" not in ids  # it is on
    assert "fastL4" not in ids
    assert "sync" not in ids  # fastL4 has no stream to commit
    assert {"snat-pool", "snat-none", "loose-initiation", "standard"} <= ids


def test_factors_that_contradict_each_other_make_no_pair() -> None:
    assert not compatible(BY_ID["snat-pool"], BY_ID["snat-none"])
    assert compatible(BY_ID["snat-pool"], BY_ID["mirroring"])


def test_changes_leave_the_rest_and_drop_the_expectation() -> None:
    after = changed(ARTICLE, BY_ID["snat-pool"].changes)
    assert after.virtual_server.snat == "pool"
    assert after.virtual_server.mirroring is ARTICLE.virtual_server.mirroring
    assert after.expect == {}


def test_impossible_changes_say_why() -> None:
    with pytest.raises(NotPossible, match="is in no route"):
        changed(ARTICLE, {"virtual_server": {"destination": "192.0.2.1"}})


@pytest.mark.parametrize("preset", PRESETS)
def test_every_cell_of_a_preset_has_a_place_of_its_own(preset: str) -> None:
    fake = Fake(lambda _: True)
    made = fill(ARTICLE, PRESETS[preset], fake)  # type: ignore[arg-type]
    count = 1
    for axis in PRESETS[preset]:
        count *= len(axis.values)
    assert len(made.cells) == count
    assert len(set(fake.keys)) == len(fake.keys)
    assert all(cell.done or cell.why_not for cell in made.cells)


def test_an_impossible_cell_says_why() -> None:
    axis = Axis("vip", {"far": {"virtual_server": {"destination": "192.0.2.1"}}, "near": {}})
    made = fill(ARTICLE, [axis], Fake(lambda _: True))  # type: ignore[arg-type]
    far, near = as_data(made)["cells"]
    assert "is in no route" in far["not_possible"]
    assert far["run"] is None
    assert near["outcomes"] == {"ssh": "SURVIVED"}
    assert near["blackout_s"] == 4.5


def test_a_cell_in_a_few_words() -> None:
    mixed = result("RESET", "mirror-lag")
    mixed["connections"].append({**mixed["connections"][0], "name": "echo", "outcome": "SURVIVED"})
    mixed["connections"][1]["cause"] = {"id": None}
    done = Done(Job("x", ARTICLE), mixed, Path("x"))
    assert summary(done) == "ssh: RESET mirror-lag; echo: SURVIVED"
