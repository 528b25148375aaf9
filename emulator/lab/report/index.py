"""The index: what a run's line says, to compare runs by. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from emulator.lab.report.groups import groups
from emulator.lab.report.numbers import Numbers
from emulator.lab.report.words import Outcome, headline
from emulator.lab.result import as_expected


@dataclass(frozen=True, slots=True)
class Row:
    """One run. `ended`: (outcome, its words, the sessions, the cause); `search`: what a filter
    looks in."""

    folder: str
    when: str
    scenario: str
    title: str
    void: str | None
    line: str
    tone: str
    how: str
    ended: tuple[tuple[str, Outcome, str, str | None], ...]
    blackout: Any
    expected: bool
    link: str | None
    search: str


def row(folder: str, result: Mapping[str, Any], *, has_report: bool) -> Row:
    """A run's line from its result."""
    made = groups(result)
    line, tone = headline(result)
    failover = result["failover"]
    how = f"{failover['how']}, {failover['mechanism']}" if failover else "none"
    ended = tuple((g.outcome, g.words, g.listed, g.cause) for g in made)
    words = [folder, result["scenario"], result["title"], how, line]
    words += [f"{o} {w.word} {names} {cause or ''}" for o, w, names, cause in ended]
    everyone = range(len(result["connections"]))
    met = as_expected(dict(result))
    return Row(
        folder, _when(folder), result["scenario"], result["title"], result["void"], line, tone,
        how, ended, Numbers(result).longest(tuple(everyone)), met,
        f"{folder}/report.html" if has_report else None, " ".join(words).lower(),
    )  # fmt: skip


def _when(folder: str) -> str:
    """From the folder's name, 20261128T044101Z-article-15b78c."""
    stamp = folder.partition("-")[0]
    if len(stamp) != 16 or not stamp.endswith("Z"):
        return ""
    return f"{stamp[:4]}-{stamp[4:6]}-{stamp[6:8]} {stamp[9:11]}:{stamp[11:13]}:{stamp[13:15]}"
