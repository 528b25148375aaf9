"""The article's disputed point: is it the time a failover takes that ends connections, or
addresses and state? Pure.

Two deployments that differ in nothing but the SNAT address (the device's own, or one that is
routed to the active device), each with several kinds of ends and outages of several lengths.
If time came first, sessions would die with either once the outage is long enough, and live
with either while it is short.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

DEPLOYMENTS = {
    "address and state stay": "article-snat-pool",
    "the SNAT address changes": "article",
}
ENDPOINTS: dict[str, Mapping[str, Any]] = {
    "Linux": {},
    "Windows-like": {"endpoints": {"client": "windows", "server": "windows"}},
    "program that waits 5 s": {"endpoints": {"application_timer": {"after_s": 5}}},
}
OUTAGES_S = (0.1, 4.0, 30.0)
_SESSIONS = ["echo"]


@dataclass(frozen=True, slots=True)
class Cell:
    """One run of the grid; `outage_s`: the route's propagation delay."""

    deployment: str
    endpoint: str
    outage_s: float
    scenario: str
    changes: Mapping[str, Any] = field(default_factory=dict)


def _cells() -> list[Cell]:
    return [
        Cell(
            deployment, endpoint, outage_s, scenario,
            {
                **changes, "sessions": _SESSIONS,
                "cloud": {"propagation_delay_s": outage_s, "table_delay_s": {}},
            },
        )
        for deployment, scenario in DEPLOYMENTS.items()
        for endpoint, changes in ENDPOINTS.items()
        for outage_s in OUTAGES_S
    ]  # fmt: skip


CELLS: tuple[Cell, ...] = tuple(_cells())


def conclusion(cells: Sequence[Mapping[str, Any]]) -> list[str]:
    """What the grid says, a sentence for each deployment and kind of ends, then what comes
    first for each kind of ends."""
    sentences, first = [], []
    for endpoint in dict.fromkeys(c["endpoint"] for c in cells):
        deaths = {}
        for deployment in dict.fromkeys(c["deployment"] for c in cells):
            rows = [c for c in cells if (c["deployment"], c["endpoint"]) == (deployment, endpoint)]
            sentences.append(_sentence(deployment, endpoint, rows))
            dead = [row["outage_s"] for row in rows if any(map(_is_dead, row["sessions"]))]
            deaths[deployment] = min(dead, default=None)
        if set(deaths) == set(DEPLOYMENTS):
            first.append(_first(endpoint, *(deaths[name] for name in DEPLOYMENTS)))
    return [*sentences, *first]


def _first(endpoint: str, stays: float | None, changes: float | None) -> str:
    """Which of the two ends the sessions first; `stays`, `changes`: the shortest outage at
    which one died with the addresses kept, and with the SNAT address changed."""
    head = f"What comes first, {_ends(endpoint)}:"
    if changes is None:
        return f"{head} neither." if stays is None else f"{head} time, from {stays:g} s on."
    if stays is None:
        return f"{head} addresses and state. Time ended nothing."
    if stays <= changes:
        return f"{head} time, from {stays:g} s on."
    return f"{head} addresses and state, from {changes:g} s on. Time only from {stays:g} s on."


def _ends(endpoint: str) -> str:
    return f"a {endpoint}" if "waits" in endpoint else f"{endpoint} ends"


def _sentence(deployment: str, endpoint: str, rows: Sequence[Mapping[str, Any]]) -> str:
    dead = [row for row in rows if any(_is_dead(s) for s in row["sessions"])]
    ends = _ends(endpoint)
    head = f"{ends[0].upper()}{ends[1:]}, {deployment}:"
    if not dead:
        return f"{head} every session lives, up to {max(r['outage_s'] for r in rows):g} s."
    causes = dict.fromkeys(str(s["cause"]) for r in dead for s in r["sessions"] if _is_dead(s))
    if len(dead) == len(rows):
        return f"{head} sessions die at every outage, even {rows[0]['outage_s']:g} s, of " + (
            f"{', '.join(causes)}."
        )
    lived = max(r["outage_s"] for r in rows if r not in dead)
    first = min(r["outage_s"] for r in dead)
    return (
        f"{head} they live up to {lived:g} s, and die from {first:g} s on, of {', '.join(causes)}."
    )


def _is_dead(session: Mapping[str, Any]) -> bool:
    return session["outcome"] not in ("SURVIVED", "CLOSED") or bool(session["missing"])
