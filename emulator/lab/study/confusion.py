"""The confusion matrix: causes planted on purpose against the causes that were named.

Every plant is run several times, and beside them runs in which nothing may be named. A run
counts as right when every session that was to die is given the planted cause, and every
other one none; a healthy run when all sessions live, byte for byte, with no cause.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from emulator.lab.scenario_file import find, load
from emulator.lab.settings.scenario import Scenario
from emulator.lab.study.batch import Batch, Done, Job, Progress
from emulator.lab.study.factors import changed
from emulator.lab.study.plants import HEALTHY, PLANTS, Plant
from emulator.lab.study.why import all_live

SCHEMA = "mirrorlab/confusion/1"
NONE = "none"  # named: no cause


@dataclass(frozen=True, slots=True)
class Row:
    """One plant: how often which cause was named for the sessions it should kill, and in how
    many of its runs everything was right."""

    plant: Plant
    named: Counter[str]
    right: int
    runs: tuple[Done, ...]


@dataclass(frozen=True, slots=True)
class Confusion:
    """All of it; `alarms`: healthy runs in which something was named or lost."""

    rows: tuple[Row, ...]
    healthy: tuple[Done, ...]
    alarms: tuple[Done, ...]

    @property
    def perfect(self) -> bool:
        return not self.alarms and all(row.right == len(row.runs) for row in self.rows)


def planted(plant: Plant) -> Scenario:
    """The scenario as it is run, without expectations."""
    return changed(load(find(plant.scenario)), plant.changes, name=plant.id)


def measure(
    batch: Batch,
    progress: Progress = lambda *_: None,
    *,
    repeat: int = 3,
    healthy: int = 20,
    plants: Sequence[Plant] = PLANTS,
) -> Confusion:
    """Run it all; raises LabFault. `repeat`: runs of each plant; `healthy`: of the others."""
    jobs = [
        Job(f"{plant.id}.{number}", planted(plant), plant.behind)
        for number in range(repeat)
        for plant in plants
    ]
    for number in range(healthy):
        name, changes = HEALTHY[number % len(HEALTHY)]
        jobs.append(Job(f"healthy-{number:02}-{name}", changed(load(find(name)), changes)))
    found = batch.run(jobs, progress)
    rows = [_row(p, [found[f"{p.id}.{number}"] for number in range(repeat)]) for p in plants]
    calm = [done for key, done in found.items() if key.startswith("healthy-")]
    return Confusion(tuple(rows), tuple(calm), tuple(d for d in calm if not _calm(d.result)))


def right(plant: Plant, result: dict[str, Any]) -> bool:
    """Whether a run of the plant was judged as it should be."""
    connections = result["connections"]
    return bool(connections) and all(
        c["cause"]["id"] == (plant.cause if _doomed(plant, c) else None) for c in connections
    )


def as_data(found: Confusion) -> dict[str, Any]:
    """The matrix as JSON."""
    return {
        "schema": SCHEMA,
        "perfect": found.perfect,
        "planted": [
            {
                "plant": row.plant.id,
                "cause": row.plant.cause,
                "scenario": row.plant.scenario,
                "behind": row.plant.behind,
                "runs": len(row.runs),
                "right": row.right,
                "named": dict(row.named),
                "folders": [str(done.folder) for done in row.runs],
            }
            for row in found.rows
        ],
        "healthy": {
            "runs": len(found.healthy),
            "false_alarms": [str(done.folder) for done in found.alarms],
        },
    }


def _row(plant: Plant, runs: Sequence[Done]) -> Row:
    named: Counter[str] = Counter()
    for done in runs:
        doomed = [c for c in done.result["connections"] if _doomed(plant, c)]
        named.update(c["cause"]["id"] or NONE for c in doomed)
    return Row(plant, named, sum(right(plant, done.result) for done in runs), tuple(runs))


def _doomed(plant: Plant, connection: dict[str, Any]) -> bool:
    return not plant.dies or connection["name"] in plant.dies


def _calm(result: dict[str, Any]) -> bool:
    return all_live(result) and not any(c["cause"]["id"] for c in result["connections"])
