"""The claims, answered: every case run, `results.json` made of it, and of that the page.

cases -> batch (a run each, the same run once) -> as_data -> markdown (pure)
"""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from emulator import __version__
from emulator.lab.scenario_file import find, load
from emulator.lab.settings.scenario import Scenario
from emulator.lab.study.batch import Batch, Done, Job, Progress
from emulator.lab.study.claims import Case, Claim, ask, asked_about, took_s, verdict
from emulator.lab.study.claimtable import CLAIMS
from emulator.lab.study.dispute import CELLS, Cell
from emulator.lab.study.factors import changed

SCHEMA = "mirrorlab/claims/1"


def scenario_of(case: Case | Cell) -> Scenario:
    """A case's scenario as it is run."""
    return changed(load(find(case.scenario)), case.changes, name=case.scenario)


def key_of(case: Case | Cell) -> str:
    """Names the run; cases that are the same run share it."""
    if not case.changes:
        return case.scenario
    text = json.dumps(case.changes, sort_keys=True, default=str)
    return f"{case.scenario}~{hashlib.sha256(text.encode()).hexdigest()[:6]}"


def answer_all(
    batch: Batch,
    progress: Progress = lambda *_: None,
    *,
    claims: Sequence[Claim] = CLAIMS,
    cells: Sequence[Cell] = CELLS,
) -> dict[str, Any]:
    """Run every case once and answer; raises LabFault. The data of docs/results.json."""
    wanted: list[Case | Cell] = [case for claim in claims for case in claim.cases]
    wanted += cells
    jobs = {key_of(case): Job(key_of(case), scenario_of(case)) for case in wanted}
    found = batch.run([*jobs.values()], progress)
    return {
        "schema": SCHEMA,
        "version": __version__,
        "kernel": platform.release(),
        "runs": len(jobs),
        "claims": [_claim(claim, found) for claim in claims],
        "dispute": [_cell(cell, found[key_of(cell)]) for cell in cells],
    }


def _claim(claim: Claim, found: Mapping[str, Done]) -> dict[str, Any]:
    results = [found[key_of(case)].result for case in claim.cases]
    answers = [ask(claim, case, result) for case, result in zip(claim.cases, results, strict=True)]
    return {
        "id": claim.id,
        "text": claim.text,
        "question": claim.question.value,
        "verdict": verdict(claim, answers),
        "cases": [
            {
                "label": case.label,
                "scenario": case.scenario,
                "changes": case.changes,
                "contrast": case.contrast,
                "says": case.says.value,
                "answer": said.value,
                "run": key_of(case),
                "took_s": _rounded(took_s(result)),
                "sessions": sessions(asked_about(case, result)),
            }
            for case, said, result in zip(claim.cases, answers, results, strict=True)
        ],
    }


def _cell(cell: Cell, done: Done) -> dict[str, Any]:
    return {
        "deployment": cell.deployment,
        "endpoint": cell.endpoint,
        "outage_s": cell.outage_s,
        "took_s": _rounded(took_s(done.result)),
        "run": key_of(cell),
        "sessions": sessions(done.result["connections"]),
    }


def sessions(connections: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Sessions of the same fate in one entry: who, outcome, cause, the longest blackout."""
    groups: dict[tuple[str, str | None], list[Mapping[str, Any]]] = {}
    for connection in connections:
        fate = connection["outcome"], connection["cause"]["id"]
        groups.setdefault(fate, []).append(connection)
    return [
        {
            "names": [m["name"] for m in members],
            "outcome": outcome,
            "cause": cause,
            "blackout_s": _rounded(_longest(members)),
            "missing": sum(m["bytes"]["missing"] for m in members),
        }
        for (outcome, cause), members in groups.items()
    ]


def _longest(connections: Iterable[Mapping[str, Any]]) -> float | None:
    both = (v for c in connections for v in c["blackout_s"].values())
    return max((v for v in both if v is not None), default=None)


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 1)
