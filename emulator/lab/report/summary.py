"""Everything the page of one run shows, put together. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from emulator.lab.fleetstory import in_common
from emulator.lab.judge.causes import CAUSES
from emulator.lab.judge.facts import UDP, Facts
from emulator.lab.report.advice import advice, measured
from emulator.lab.report.fates import Fates
from emulator.lab.report.groups import groups, representatives
from emulator.lab.report.ladder import Event, ladder
from emulator.lab.report.numbers import Numbers
from emulator.lab.report.seen import seen, telling
from emulator.lab.report.sequence import sequence
from emulator.lab.report.tables import tables
from emulator.lab.report.timeline import INSTANTS, timeline
from emulator.lab.report.words import headline, outcome, tried

Json = Mapping[str, Any]


def summary(
    result: Json, facts: Facts, scenario: Json | None = None, why: Json | None = None,
    why_link: str = "",
) -> dict[str, Any]:  # fmt: skip
    """What `templates/report.html.j2` fills in. `facts`: of the same run as `result`;
    `scenario`: its settings, where they are known; `why`: a why.json of the same scenario."""
    made = groups(result)
    line, tone = headline(result)
    causes = [g.cause for g in made if g.cause]  # of survivors, too: a persistence record lost
    fates = Fates(facts)
    events = _events(result)
    connections = seen(result, facts)
    shown = representatives(made) if connections else []
    told = list(map(telling, result["connections"], connections))
    each = replace(facts, connections=told)  # one an entry, as ladders want them
    return {
        "result": result,
        "numbers": Numbers(result),
        "headline": line,
        "tone": tone,
        "tried": tried(result, scenario),
        "description": " ".join(str((scenario or {}).get("description") or "").split()),
        "groups": made,
        "outcome": outcome,
        "in_common": in_common(result["connections"]),
        "causes": [(cause, CAUSES.get(cause, "")) for cause in dict.fromkeys(causes)],
        "advice": advice(causes),
        "measured": measured(why, result) if causes else None,
        "why_link": why_link,
        "instants": INSTANTS,
        "timeline": timeline(facts, result, made, connections) if shown else None,
        "ladders": [
            (
                group,
                ladder(i, each, result, fates, events),
                None if told[i].protocol == UDP else sequence(i, each, result, fates),
            )
            for i, group in shown
        ],
        "tables": tables(facts.records, result),
        "notes": _notes(facts.records),
        "scenario": scenario,
    }


def _events(result: Json) -> list[Event]:
    failover = result["failover"]
    if failover is None:
        return []
    start = failover["triggered"]
    found = [
        Event(key, failover[key] - start, text)
        for key, text in INSTANTS
        if failover.get(key) is not None and key != "first_byte"
    ]
    return sorted(found, key=lambda event: event.time_s)


def _notes(records: Sequence[Mapping[str, object]]) -> dict[str, Any]:
    """How the run was made, where lab.jsonl says so."""
    for record in records:
        if record.get("what") == "run-started":
            return {k: v for k, v in record.items() if k not in ("node", "what")}
    return {}
