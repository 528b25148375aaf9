"""The survival table: mirroring x SNAT x virtual server x failover x delay, every cell a run.

An axis is a list of labelled changes to a base scenario; a cell takes one of each. Cells that
make no valid deployment are left out and say why.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

from emulator.lab.settings.scenario import Scenario
from emulator.lab.study.batch import Batch, Done, Job, Progress
from emulator.lab.study.factors import FACTORS, Changes, NotPossible, changed

SCHEMA = "mirrorlab/matrix/1"


@dataclass(frozen=True, slots=True)
class Axis:
    """A dimension of the table."""

    name: str
    values: dict[str, Changes]


_BY_ID = {f.id: f.changes for f in FACTORS}
MIRRORING = Axis(
    "mirroring",
    {
        "off": {"virtual_server": {"mirroring": False}},
        "on": {"virtual_server": {"mirroring": True}},
    },
)
SNAT = Axis(
    "SNAT",
    {
        "automap": {"virtual_server": {"snat": "automap"}},
        "pool": _BY_ID["snat-pool"],
        "none": _BY_ID["snat-none"],
    },
)
KIND = Axis(
    "virtual server",
    {
        "fastL4": {"virtual_server": {"type": "fastL4"}},
        "standard": {"virtual_server": {"type": "standard", "commit": "async"}},
    },
)
KIND_FULL = Axis(
    "virtual server",
    {
        **KIND.values,
        "standard sync": {"virtual_server": {"type": "standard", "commit": "sync"}},
        "fastL4 loose": {
            "virtual_server": {"type": "fastL4", "loose_initiation": True, "loose_close": True}
        },
    },
)
HOW = Axis(
    "failover",
    {
        "force-standby": {"failover": {"how": "force-standby", "after_s": 2.0}},
        "power-off": {"failover": {"how": "power-off", "after_s": 2.0}},
    },
)
DELAY = Axis(
    "delay",
    {f"{d} s": {"cloud": {"propagation_delay_s": d, "table_delay_s": {}}} for d in (1, 8, 30)},
)
SHORT = Axis("delay", {"1 s": DELAY.values["1 s"]})
PRESETS: dict[str, tuple[Axis, ...]] = {
    "quick": (SNAT, MIRRORING, KIND, SHORT),
    "full": (SNAT, MIRRORING, KIND_FULL, HOW, DELAY),
}


@dataclass(frozen=True, slots=True)
class Cell:
    """One combination; without `done` it is not possible, and `why_not` says so."""

    labels: tuple[str, ...]
    done: Done | None
    why_not: str = ""


@dataclass(frozen=True, slots=True)
class Matrix:
    """A finished table."""

    axes: tuple[Axis, ...]
    cells: tuple[Cell, ...]


def fill(
    base: Scenario, axes: Sequence[Axis], batch: Batch, progress: Progress = lambda *_: None
) -> Matrix:
    """Run every cell; raises LabFault."""
    jobs: list[Job] = []
    refused: dict[tuple[str, ...], str] = {}
    combos = list(product(*(axis.values for axis in axes)))
    for labels in combos:
        changes = [axis.values[label] for axis, label in zip(axes, labels, strict=True)]
        try:
            jobs.append(Job(_key(labels), changed(base, *changes)))
        except NotPossible as error:
            refused[labels] = str(error)
    found = batch.run(jobs, progress)
    cells = (Cell(c, found.get(_key(c)), refused.get(c, "")) for c in combos)
    return Matrix(tuple(axes), tuple(cells))


def summary(done: Done) -> str:
    """A cell in a few words: "live", or who died of what."""
    groups: dict[str, list[str]] = {}
    for connection in done.result["connections"]:
        cause = connection["cause"]["id"]
        text = connection["outcome"] + (f" {cause}" if cause else "")
        groups.setdefault(text, []).append(connection["name"])
    if len(groups) == 1:
        return next(iter(groups))
    return "; ".join(f"{', '.join(names)}: {text}" for text, names in groups.items())


def as_data(matrix: Matrix) -> dict[str, Any]:
    """The table as JSON."""
    return {
        "schema": SCHEMA,
        "axes": {axis.name: list(axis.values) for axis in matrix.axes},
        "cells": [
            {
                "at": dict(zip((a.name for a in matrix.axes), cell.labels, strict=True)),
                "outcomes": _column(cell, "outcome"),
                "causes": {k: v for k, v in _column(cell, "cause").items() if v},
                "blackout_s": _blackout(cell),
                "run": str(cell.done.folder) if cell.done else None,
                "not_possible": cell.why_not or None,
            }
            for cell in matrix.cells
        ],
    }


def _blackout(cell: Cell) -> float | None:
    """The longest of the cell's sessions, either way."""
    if cell.done is None:
        return None
    both = (v for c in cell.done.result["connections"] for v in c["blackout_s"].values())
    return max((v for v in both if v is not None), default=None)


def _column(cell: Cell, key: str) -> dict[str, Any]:
    if cell.done is None:
        return {}
    connections = cell.done.result["connections"]
    if key == "cause":
        return {c["name"]: c["cause"]["id"] for c in connections}
    return {c["name"]: c[key] for c in connections}


def _key(labels: Sequence[str]) -> str:
    return "_".join(label.replace(" ", "-") for label in labels)
