"""Both devices active at once, as they said themselves. Pure.

A device that has called itself active, and does so again after the other one has, was active all
the time in between: each of them, by heartbeats that left its own interface. No regular failover
looks like that: there the old device stands by, or is silent, before the other one is active.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from emulator.lab.judge.evidence import Cause, Evidence
from emulator.lab.judge.facts import Connection, Facts
from emulator.lab.judge.tracing import RoleReport

# What a device does to a connection because of where it is led, and not of what it is set to.
BLAMED = frozenset(
    {
        "no-flow-reset", "no-flow-dropped", "route-never-moved", "asymmetric-route",
        "old-active-answered", "mirror-channel-down", "snat-address-changed", "unknown",
    }
)  # fmt: skip
_AFTER_NS = 1_000_000_000  # what was on its way when it ended


@dataclass(frozen=True, slots=True)
class Split:
    """From when on both were active: the other's first claim, and the proof that the first one
    had not ceased. `end_ns`: when one of them stood by, None: never."""

    second: RoleReport
    proof: RoleReport
    end_ns: int | None


def splits(roles: Sequence[RoleReport]) -> Iterator[Split]:
    """Every time both devices were active at once; `roles` in time order."""
    active: dict[str, RoleReport] = {}  # each device's first claim since it last stood by
    begun: RoleReport | None = None  # the second one's, while both claim it
    proof: RoleReport | None = None
    for report in roles:
        if not report.active:
            if begun is not None and proof is not None:
                yield Split(begun, proof, report.time_ns)
            active.pop(report.device, None)
            begun = proof = None
        elif report.device not in active:
            active[report.device] = report
            begun = report if len(active) > 1 else None
            proof = None
        elif begun is not None and proof is None and report.device != begun.device:
            proof = report
    if begun is not None and proof is not None:
        yield Split(begun, proof, None)


def blame(cause: Cause, connection: Connection, facts: Facts) -> Cause:
    """The cause as it is, or a split brain that explains it: both devices were active when what
    it is told by happened, and the connection was led to the second one."""
    if cause.id not in BLAMED or not cause.evidence:
        return cause
    when = cause.evidence[-1].time_s * 1e9
    for split in splits(facts.roles):
        over = split.end_ns is not None and when > split.end_ns + _AFTER_NS
        if when < split.second.time_ns or over or not _led_to(connection, split.second):
            continue
        evidence = [
            *cause.evidence,
            _shown(split.second, "calls itself active"),
            _shown(split.proof, "calls itself active, too"),
        ]
        text = (
            f"{split.proof.device} and {split.second.device} were active at the same time. "
            f"{cause.text}"
        )
        ordered = tuple(sorted(evidence, key=lambda e: e.frame))
        return replace(cause, id="split-brain", text=text, evidence=ordered)
    return cause


def _led_to(connection: Connection, second: RoleReport) -> bool:
    """Whether a segment of it came to the second device once that called itself active."""
    return any(
        sighting.node == second.device and not sighting.outgoing
        for transmission, _ in connection.transmissions
        for sighting in transmission.sightings
        if sighting.time_ns >= second.time_ns
    )


def mention(cause: Cause, facts: Facts) -> Cause:
    """Of a connection that lived on by another device: that the first one was active as well."""
    found = next(splits(facts.roles), None)
    if found is None or not cause.evidence:
        return cause
    both = f"{found.proof.device} and {found.second.device} were active at the same time."
    return replace(cause, text=f"{cause.text} {both}")


def _shown(report: RoleReport, what: str) -> Evidence:
    return Evidence(report.frame, report.time_ns / 1e9, f"{report.device} {what} (heartbeat)")
