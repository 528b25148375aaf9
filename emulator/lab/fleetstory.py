"""A fleet's fate in a few lines: who died, who lived, and what they have in common. Pure.

From result.json's data alone. What sessions have in common is looked for in what is known of
each: its kind, its cause, and how long both its ends had been silent when the failover came.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from rich.markup import escape

from emulator.lab.workload.applications import FLEET_PORTS

Entry = dict[str, Any]
_LIVED = ("SURVIVED", "CLOSED")


def of_fleet(connection: Entry) -> bool:
    """Whether an entry of result.json's connections is one of the fleet's."""
    return connection["name"] in FLEET_PORTS


def summary(fleet: Sequence[Entry]) -> list[str]:
    """The fleet's part of the story."""
    outcomes = Counter(c["outcome"] for c in fleet)
    counts = ", ".join(f"{n} {outcome}" for outcome, n in outcomes.most_common())
    lines = [f"[bold]fleet[/bold]  {len(fleet)} sessions: {counts}"]
    unexpected = [c["name"] for c in fleet if c["expected"] not in (None, c["outcome"])]
    if unexpected:
        lines.append(f"  not as expected: {_names(unexpected)}")
    died = [c for c in fleet if c["outcome"] not in _LIVED]
    lived = [c for c in fleet if c["outcome"] in _LIVED]
    for word, group in (("died", died), ("lived", lived)):
        if group:
            lines += _group(word, group, fleet)
    if died and lived:
        lines += _difference(died, lived)
    wrong = sum(c["bytes"]["altered"] + c["bytes"]["repeated"] for c in fleet)
    missing = sum(c["bytes"]["missing"] for c in fleet)
    lines.append(f"  bytes: {missing} missing in all, {wrong} altered or repeated")
    return lines


def in_common(connections: Sequence[Entry]) -> list[str]:
    """The same in sentences for a page: by kind who died and who lived, and what tells them
    apart; nothing where there is no fleet."""
    fleet = [c for c in connections if of_fleet(c)]
    died = [c for c in fleet if c["outcome"] not in _LIVED]
    lived = [c for c in fleet if c["outcome"] in _LIVED]
    lines = [_group(w, g, fleet)[0] for w, g in (("died", died), ("lived", lived)) if g]
    lines += _difference(died, lived) if died and lived else []
    return [f"{text[:1].upper()}{text[1:]}." for text in map(str.strip, lines)]


def examples(fleet: Sequence[Entry]) -> list[Entry]:
    """One session of each outcome and cause, to be shown in full."""
    found: dict[tuple[str, str | None], Entry] = {}
    for connection in fleet:
        found.setdefault((connection["outcome"], connection["cause"]["id"]), connection)
    return list(found.values())


def _group(word: str, group: Sequence[Entry], fleet: Sequence[Entry]) -> list[str]:
    kinds, all_kinds = (Counter(c["application"] for c in g) for g in (group, fleet))
    by_kind = ", ".join(f"{kind} {n} of {all_kinds[kind]}" for kind, n in sorted(kinds.items()))
    lines = [
        f"  {word} ({len(group)}): {by_kind}",
        f"    {_names([c['name'] for c in group])}",
    ]
    causes = Counter(c["cause"]["id"] for c in group if c["cause"]["id"])
    if causes:
        text = ", ".join(f"{cause} {n} of {len(group)}" for cause, n in causes.most_common())
        lines.append(f"    cause: {escape(text)}")
    return lines


def _difference(died: Sequence[Entry], lived: Sequence[Entry]) -> list[str]:
    """What all who died, and none who lived, have in common: the kind, or the silence."""
    lines = []
    kinds_died = {c["application"] for c in died}
    if not kinds_died & {c["application"] for c in lived}:
        lines.append("  the kind alone tells them apart: no kind both lived and died")
    spoke = [s for c in died if (s := silence_s(c)) is not None]
    silent = [s for c in lived if (s := silence_s(c)) is not None]
    if not spoke or not silent:
        return lines
    if max(spoke) < min(silent):
        lines.append(
            f"  in common: on each that died somebody had spoken within {max(spoke):.1f} s before "
            f"the failover ({_speakers(died)}); those that lived had been silent for "
            f"{min(silent):.1f} s or longer"
        )
    elif not lines:
        lines.append(
            "  nothing seen tells them apart: neither the kind nor how long they had been silent"
        )
    return lines


def silence_s(connection: Entry) -> float | None:
    """For how long neither end had sent a new byte when the failover came."""
    quiet = connection.get("quiet_before_failover_s") or {}
    known = [float(s) for s in quiet.values() if s is not None]
    return min(known, default=None)


def _speakers(group: Sequence[Entry]) -> str:
    """Which ends had ever spoken, by how many sessions."""
    found: Counter[str] = Counter()
    for connection in group:
        quiet = connection.get("quiet_before_failover_s") or {}
        ends = [end for end, s in quiet.items() if s is not None]
        found["both ends" if len(ends) == 2 else f"the {ends[0]} alone" if ends else "nobody"] += 1
    return ", ".join(f"{who} {n}" for who, n in found.most_common())


def _names(names: Sequence[str]) -> str:
    """ehr-01 to -03, ehr-07, ...: runs of neighbours drawn together."""
    numbers = sorted(int(name.rpartition("-")[2]) for name in names)
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    words = [f"{r[0]:02}" if len(r) == 1 else f"{r[0]:02}-{r[-1]:02}" for r in runs]
    return "ehr-" + ", ".join(words)
