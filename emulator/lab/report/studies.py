"""The pages of `matrix` and `why`, from their JSON. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from emulator.lab.judge.causes import CAUSES
from emulator.lab.report.numbers import Numbers
from emulator.lab.report.words import Outcome, listed, outcome, rank
from emulator.lab.study.factors import FACTORS

Link = Callable[[str | None], str | None]
_FACTORS = {factor.id: factor for factor in FACTORS}


@dataclass(frozen=True, slots=True)
class Ended:
    """What became of a run's sessions: `tone` and `word` of the worst; `parts` in words."""

    tone: str
    word: str
    glyph: str
    parts: tuple[tuple[str, Outcome, str, str | None], ...]


@dataclass(frozen=True, slots=True)
class Cell:
    """One place of the table."""

    ended: Ended | None
    why_not: str
    blackout: Any
    link: str | None


@dataclass(frozen=True, slots=True)
class Trial:
    """One set of changes of `why`."""

    changes: tuple[str, ...]
    saved: bool
    ended: Ended
    causes: tuple[str, ...]
    link: str | None


def ended(outcomes: Mapping[str, str], causes: Mapping[str, str]) -> Ended:
    """Sessions that ended alike together, the worst first."""
    alike: dict[tuple[str, str | None], list[str]] = {}
    for name, how in outcomes.items():
        alike.setdefault((how, causes.get(name)), []).append(name)
    kinds = sorted(alike, key=lambda kind: rank(kind[0]))
    worst = outcome(kinds[0][0] if kinds else "")
    some = len({how for how, _ in kinds}) > 1
    word = f"some {worst.word}" if some else worst.word
    return Ended(
        worst.tone, word, worst.glyph,
        tuple((how, outcome(how), listed(alike[how, cause]), cause) for how, cause in kinds),
    )  # fmt: skip


def matrix(data: Mapping[str, Any], link: Link) -> dict[str, Any]:
    """The table: the last axis but those that vary least across, the others down."""
    axes: dict[str, list[str]] = data["axes"]
    names = [name for name in axes if len(axes[name]) > 1] or list(axes)
    fixed = {name: axes[name][0] for name in axes if name not in names}
    half = max(1, len(names) - 1) if len(names) < 4 else len(names) - 2
    down, across = names[:half], names[half:]
    numbers = Numbers(data)
    cells: dict[tuple[tuple[str, ...], tuple[str, ...]], Cell] = {}
    for index, cell in enumerate(data["cells"]):
        at = cell["at"]
        place = tuple(at[n] for n in down), tuple(at[n] for n in across)
        made = ended(cell["outcomes"], cell["causes"]) if cell["outcomes"] else None
        known = cell["blackout_s"] is not None
        blackout = numbers.show(f"cells.{index}.blackout_s", "s") if known else None
        cells[place] = Cell(made, cell["not_possible"] or "", blackout, link(cell["run"]))
    run = [c for c in cells.values() if c.ended is not None]
    used = {cause for c in data["cells"] for cause in c["causes"].values()}
    return {
        "down": down,
        "across": across,
        "fixed": fixed,
        "rows": list(dict.fromkeys(row for row, _ in cells)),
        "columns": list(dict.fromkeys(column for _, column in cells)),
        "cells": cells,
        "counts": Counter(c.ended.word for c in run if c.ended),
        "tones": {c.ended.word: c.ended for c in run if c.ended},
        "total": len(run),
        "kept": sum(all(w.tone == "good" for _, w, _, _ in c.ended.parts) for c in run if c.ended),
        "causes": [(c, text) for c, text in CAUSES.items() if c in used],
    }


def why(data: Mapping[str, Any], link: Link) -> dict[str, Any]:
    """What was tried, and the smallest sets of changes that save every session."""
    trials = [_trial(trial, link) for trial in data["trials"]]
    as_it_is = data["trials"][0]
    return {
        "scenario": data["scenario"],
        "survives": data["survives"],
        "answers": data["answers"],
        "trials": trials,
        "factors": _FACTORS,
        "causes": [(cause, CAUSES.get(cause, "")) for cause in as_it_is["causes"]],
    }


def _trial(trial: Mapping[str, Any], link: Link) -> Trial:
    made = ended(trial["outcomes"], {})
    return Trial(
        tuple(trial["changes"]), trial["saved"], made, tuple(trial["causes"]), link(trial["run"])
    )
