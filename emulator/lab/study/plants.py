"""Causes planted on purpose, each with the name an honest verdict must give it. Pure.

A plant is a scenario, changes to it, and perhaps something done behind its back. The confusion
matrix runs them: what the judge says is compared with what was planted, and the judge sees
neither this table nor the scenario.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

BEHIND_NAMES = (
    "api-cut-off",
    "mirror-link-slow",
    "mirror-ports-closed",
    "old-active-rejects",
    "return-route-reverted",
    "source-dest-check-on",
    "standby-cleared",
)  # of emulator.lab.behind
OF_THE_CLOUD = frozenset(BEHIND_NAMES) - {
    "mirror-link-slow", "mirror-ports-closed", "old-active-rejects",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Plant:
    """`cause`: what was planted; `dies`: the sessions it must be named for, empty: all of
    them. `scenario`: a built-in one; `behind`: a name of emulator.lab.behind."""

    id: str
    cause: str
    scenario: str
    changes: Mapping[str, Any] = field(default_factory=dict)
    behind: str | None = None
    dies: tuple[str, ...] = ()


def _standard(**more: Any) -> dict[str, Any]:
    return {"virtual_server": {"type": "standard", "commit": "sync", **more}}


_BRIEF = {"sessions": ["ssh", "echo"]}
_POOL = "article-snat-pool"

PLANTS: tuple[Plant, ...] = (
    Plant("automap", "snat-address-changed", "article"),
    Plant("automap-standard", "snat-address-changed", "article", _standard()),
    Plant("elastic-ip", "vip-address-changed", "elastic-ip"),
    Plant("no-mirroring", "no-flow-reset", "article-no-mirroring"),
    Plant(
        "no-mirroring-silent", "no-flow-dropped", "article-no-mirroring",
        {"devices": {"reject_unmatched": False}},
    ),
    Plant("standby-cleared", "no-flow-reset", _POOL, _BRIEF, "standby-cleared"),
    Plant(
        "mirror-ports-closed", "mirror-channel-down", _POOL, {**_standard(), **_BRIEF},
        "mirror-ports-closed",
    ),
    Plant("mirror-ports-denied", "mirror-channel-down", "security-group-no-mirror-ports"),
    Plant(
        "mirror-link-slow", "mirror-lag", _POOL,
        {**_standard(commit="async"), "sessions": ["bulk"], "failover": {"how": "power-off"}},
        "mirror-link-slow",
    ),
    Plant("source-dest-check", "source-dest-check", _POOL, _BRIEF, "source-dest-check-on"),
    Plant("api-cut-off", "route-never-moved", _POOL, _BRIEF, "api-cut-off"),
    Plant("trigger-lost", "route-never-moved", "trigger-lost"),
    Plant("no-garp", "route-never-moved", "onprem-no-garp"),
    Plant("half-done", "asymmetric-route", "half-done-server-side"),
    Plant(
        "route-reverted", "asymmetric-route", _POOL,
        {**_BRIEF, "observe_s": 15},  # the other tool's change takes its time as well
        "return-route-reverted",
    ),
    Plant("unassigned", "address-unassigned", "secondary-ip-half-done"),
    Plant(
        "security-group", "security-group-lost-state", "security-group-lost-state",
        dies=("feed",),
    ),
    Plant(
        "security-group-idle", "security-group-lost-state", "security-group-idle",
        dies=("pausing",),
    ),
    Plant("firewall", "firewall-lost-state", "firewall-lost-state"),
    Plant("azure-balancer", "load-balancer-pinned", "load-balancer-azure"),
    Plant("nlb", "load-balancer-reset", "load-balancer-nlb"),
    Plant(
        "idle", "idle-expired", "healthy",
        {
            "virtual_server": {"idle_timeout_s": 4},
            "sessions": ["echo", "pausing"],
            "observe_s": 20,
        },
        dies=("pausing",),
    ),
    Plant("impatient-ends", "endpoint-gave-up", "endpoint-gives-up"),
    Plant(
        "impatient-program", "application-timer", "application-timer", dies=("echo", "bulk"),
    ),
    Plant("heartbeats-lost", "split-brain", "split-brain"),
    Plant("no-persistence", "persistence-lost", "persistence-not-mirrored"),
    Plant(
        "closed-to-clients", "security-group-denied", _POOL,
        {
            "virtual_server": {"mirroring": False}, "sessions": ["http"],
            "cloud": {"security_groups": {"outer": {
                "interfaces": ["bigip-b:ext"],
                "ingress": [{"protocol": "tcp", "cidr": "192.0.2.0/24"}],
            }}},
        },
    ),
    Plant("old-active-rejects", "old-active-answered", _POOL, _BRIEF, "old-active-rejects"),
)  # fmt: skip

# Runs in which nothing may be named: no failover, or one that every session outlives.
HEALTHY: tuple[tuple[str, Mapping[str, Any]], ...] = (
    ("healthy", {}),
    ("healthy", _standard()),
    (_POOL, {}),
    (_POOL, _standard()),
    (_POOL, {"failover": {"how": "power-off"}}),
    (_POOL, {**_standard(), "failover": {"how": "power-off"}}),
    ("article-no-snat", {}),
    ("article-loose-initiation", {}),
    ("flapping", {}),
    ("onprem", {}),
    ("wildcard", {}),
    ("workloads", {}),
    ("udp", {}),
    ("cgnat-deterministic", {}),
    ("persistence-mirrored", {}),
)
