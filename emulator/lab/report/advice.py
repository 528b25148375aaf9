"""From a cause to what to do instead. Pure.

Each line follows from the cause's one line in `lab.judge.causes` and names, where there is
one, the factor of `lab.study.factors` that changes it; what such a change costs is said
there. It is advice, not measurement: `mirrorlab why` measures.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from emulator.lab.study.factors import FACTORS

ADVICE: dict[str, tuple[str, ...]] = {
    "snat-address-changed": ("factor:snat-pool", "factor:snat-none"),
    "vip-address-changed": (
        "Give the virtual server one address that both devices serve: one from a range outside "
        "the cloud's own, routed to the active device, instead of an address per device.",
    ),
    "route-never-moved": (
        "Find out why the fabric kept to the old device: the failover's call to the cloud, its "
        "permissions, the announcement on the segment. Alarm on a failover that does not finish.",
    ),
    "asymmetric-route": (
        "Move both directions together: the clients' route to the virtual server and the "
        "servers' route back. Alarm on a failover that is half done.",
    ),
    "mirror-channel-down": (
        "Keep the mirroring channel up: allow TCP 1029 to 1055 between the devices, give it a "
        "link of its own, and alarm when it is down. Connections are not protected meanwhile.",
    ),
    "no-flow-reset": ("factor:mirroring", "factor:loose-initiation"),
    "no-flow-dropped": ("factor:mirroring", "factor:loose-initiation"),
    "old-active-answered": (
        "Have the old device silent once it stands by: it must drop what still reaches it until "
        "the fabric has moved, not answer.",
    ),
    "idle-expired": (
        "Have the application or TCP send keep-alives more often than the idle time-out, or "
        "raise the time-out of the virtual server's profile.",
    ),
    "source-dest-check": (
        "Switch the source/destination check off on the devices' interfaces, both devices.",
    ),
    "mirror-lag": (
        "Give the mirroring channel more bandwidth than the traffic it copies, on a link of its "
        "own, and watch how far it lags behind.",
        "factor:fastL4",
        "factor:sync",
    ),
    "state-lost": (
        "Do not let both devices be off, or fail one before the other is back and has been given "
        "everything (mirrorlab standby-ready): what a full proxy has acknowledged is in their "
        "memory only.",
        "factor:fastL4",
    ),
    "security-group-denied": ("Allow this traffic in the security group of both devices.",),
    "security-group-lost-state": (
        "Use rules that need no state in both directions (allow the reverse traffic as well), or "
        "have the end speak first that the group lets in.",
    ),
    "firewall-lost-state": (
        "Keep the firewall's state across the failover: the same firewall for both devices, "
        "state synchronised, or pick-up of connections in the middle allowed.",
    ),
    "address-unassigned": (
        "Make the move of an address one step: with re-assignment allowed, so that taking and "
        "giving cannot come apart. Alarm on a failover that is half done.",
    ),
    "load-balancer-pinned": (
        "Have the load balancer move existing connections to a healthy target (rebalance, no "
        "persistence on unhealthy targets), or fail over by routes instead.",
    ),
    "load-balancer-reset": (
        "Do not put this kind of load balancer before connections that have to live: it ends "
        "them itself. Fail over by routes, or use one that diverts connections.",
    ),
    "persistence-lost": (
        "Mirror the persistence records as well (mirror in the persistence profile), so that the "
        "new device sends a client's new connections to the same pool member.",
    ),
    "split-brain": (
        "Give the heartbeats a second path: both devices were active because they did not hear "
        "each other.",
    ),
    "endpoint-gave-up": (
        "Make the failover shorter, or the ends more patient: TCP's retransmission limit on "
        "the clients and the servers.",
    ),
    "application-timer": (
        "Raise the application's own timer above the length of a failover (keep-alive interval "
        "times the number that may be missed).",
    ),
    "unknown": ("Send the run's folder to whoever keeps this lab: no rule fits what was seen.",),
}  # fmt: skip
_BY_ID = {factor.id: factor for factor in FACTORS}


@dataclass(frozen=True, slots=True)
class Advice:
    """One thing to do, and what it costs where that is known."""

    text: str
    cost: str = ""


def advice(causes: Sequence[str]) -> list[Advice]:
    """What the causes' documentation suggests, each line once."""
    lines = dict.fromkeys(line for cause in causes for line in ADVICE.get(cause, ()))
    return [_line(line) for line in lines]


def _line(line: str) -> Advice:
    factor = _BY_ID.get(line.removeprefix("factor:")) if line.startswith("factor:") else None
    if factor is None:
        return Advice(line)
    return Advice(f"{factor.title[:1].upper()}{factor.title[1:]}.", f"{factor.cost}")


def measured(why: Mapping[str, Any] | None, result: Mapping[str, Any]) -> list[list[Advice]] | None:
    """The smallest sets of changes that `why` saw save every session; None where `why` was not
    asked, or its unchanged run ended otherwise than this one (it was another experiment)."""
    if not why or why.get("scenario") != result["scenario"]:
        return None
    ended = {c["name"]: c["outcome"] for c in result["connections"]}
    if not why.get("trials") or why["trials"][0]["outcomes"] != ended:
        return None
    return [
        [Advice(f"{c['change'][:1].upper()}{c['change'][1:]}.", c["cost"]) for c in answer]
        for answer in why["answers"]
    ]
