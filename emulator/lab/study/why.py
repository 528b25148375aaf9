"""What would have to be true for the connections to live: one change at a time, then pairs.

The scenario is run as it is, then with each factor changed by itself, then with every two of
those that did not help alone. The answer is every smallest set of changes after which all
sessions of the run survived, every byte right. Nothing here knows what a factor does: each
set is run, and its verdict read.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from emulator.lab.settings.scenario import Scenario
from emulator.lab.study.batch import Batch, Done, Job
from emulator.lab.study.claims import lives
from emulator.lab.study.factors import Factor, NotPossible, applicable, changed, compatible

SCHEMA = "mirrorlab/why/1"

Progress = Callable[[str, Done, int, int], None]


@dataclass(frozen=True, slots=True)
class Trial:
    """One set of changes and what became of the sessions."""

    factors: tuple[Factor, ...]
    done: Done

    @property
    def saved(self) -> bool:
        return all_live(self.done.result)


@dataclass(frozen=True, slots=True)
class Answer:
    """`answers`: the smallest saving sets; `trials`: all that was run, the first unchanged."""

    scenario: Scenario
    trials: tuple[Trial, ...]
    answers: tuple[Trial, ...]


def all_live(result: dict[str, Any]) -> bool:
    """Whether every session survived, every byte right."""
    connections = result["connections"]
    return bool(connections) and all(map(lives, connections))


def ask(scenario: Scenario, batch: Batch, progress: Progress = lambda *_: None) -> Answer:
    """Run it all; raises LabFault."""
    trials = _try(scenario, [()], batch, "as it is", progress)
    if trials[0].saved:
        return Answer(scenario, tuple(trials), ())
    factors = applicable(scenario)
    singles = _try(scenario, [(f,) for f in factors], batch, "one change", progress)
    trials += singles
    answers = [t for t in singles if t.saved]
    if not answers:
        pairs = [p for p in combinations(factors, 2) if compatible(*p)]
        doubles = _try(scenario, pairs, batch, "two changes", progress)
        trials += doubles
        answers = [t for t in doubles if t.saved]
    return Answer(scenario, tuple(trials), tuple(answers))


def as_data(answer: Answer) -> dict[str, Any]:
    """The answer as JSON."""
    return {
        "schema": SCHEMA,
        "scenario": answer.scenario.name,
        "survives": answer.trials[0].saved,
        "answers": [
            [{"id": f.id, "change": f.title, "cost": f.cost} for f in trial.factors]
            for trial in answer.answers
        ],
        "trials": [
            {
                "changes": [f.id for f in trial.factors],
                "saved": trial.saved,
                "outcomes": outcomes(trial),
                "causes": causes(trial),
                "run": str(trial.done.folder),
            }
            for trial in answer.trials
        ],
    }


def outcomes(trial: Trial) -> dict[str, str]:
    return {c["name"]: c["outcome"] for c in trial.done.result["connections"]}


def causes(trial: Trial) -> list[str]:
    """The causes named, each once."""
    named = (c["cause"]["id"] for c in trial.done.result["connections"])
    return list(dict.fromkeys(cause for cause in named if cause))


def _try(
    scenario: Scenario, sets: Sequence[tuple[Factor, ...]], batch: Batch, what: str,
    progress: Progress,
) -> list[Trial]:  # fmt: skip
    jobs: dict[str, tuple[tuple[Factor, ...], Scenario]] = {}
    for factors in sets:
        key = "+".join(f.id for f in factors) or "as-it-is"
        try:
            jobs[key] = factors, changed(scenario, *(f.changes for f in factors))
        except NotPossible:
            continue
    listed = [Job(key, made) for key, (_, made) in jobs.items()]
    found = batch.run(listed, lambda done, at, of: progress(what, done, at, of))
    return [Trial(factors, found[key]) for key, (factors, _) in jobs.items()]
