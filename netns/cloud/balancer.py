"""A load balancer in front of the devices: targets, their health, the flow table. Pure.

A new flow (a SYN) goes to one of the healthy targets; the table keeps it there. What happens
to a flow whose target becomes unhealthy is where the providers differ, and what decides
whether a mirrored connection can ever meet the device that holds its copy::

    RESET    the next segment from the client is answered with a reset     (NLB)
    KEEP     segments go on to the target, dead or not                     (Azure; GWLB and GCP
                                                                            by default)
    DIVERT   the flow goes to a healthy target, in the middle              (GWLB rebalance,
                                                                            GCP NEVER_PERSIST)

Sources of each: `netns.cloud.profiles`. Time is an argument, in seconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum
from zlib import crc32

from netns.cloud.packets import ACK, RST, SYN, Packet


class OnUnhealthy(Enum):
    """What becomes of the flows of a target that is unhealthy."""

    RESET = "reset"
    KEEP = "keep"
    DIVERT = "divert"


class OnUnknown(Enum):
    """What becomes of a segment, no SYN, of a flow that is not (any more) in the table."""

    RESET = "reset"
    DROP = "drop"
    SELECT = "select"


@dataclass(frozen=True, slots=True)
class Policy:
    """A load balancer's settings. `refusal_fails`: one refused probe makes a target unhealthy.
    `fails_open`: without a healthy target all count as healthy. `propagation_s`: from a
    target's change of health to its effect on packets."""

    on_unhealthy: OnUnhealthy
    on_unknown: OnUnknown
    idle_timeout_s: float
    interval_s: float
    timeout_s: float
    healthy_threshold: int
    unhealthy_threshold: int
    refusal_fails: bool = False
    fails_open: bool = True
    propagation_s: float = 0.0


class Act(Enum):
    FORWARD = "forward"
    RESET = "reset"
    DROP = "drop"


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do with one packet. `moved_from`: the flow's target so far, where it changes."""

    act: Act
    target: str = ""
    reason: str = ""
    moved_from: str = ""


@dataclass(slots=True)
class _Target:
    healthy: bool = False
    streak: int = 0  # probes in a row that spoke against the present state
    effective: bool = False  # as packets meet it
    changes: list[tuple[float, bool]] = field(default_factory=list)


@dataclass(slots=True)
class _Flow:
    target: str
    seen: float


class Balancer:
    """One load balancer; all targets begin unhealthy, as newly registered ones do."""

    def __init__(self, policy: Policy, targets: Sequence[str]) -> None:
        self.policy = policy
        self._targets = {name: _Target() for name in targets}
        self._flows: dict[tuple[object, ...], _Flow] = {}

    def probed(self, name: str, now: float, *, answered: bool, refused: bool = False) -> bool:
        """The result of one health probe; True when the target's state changed by it."""
        target, policy = self._targets[name], self.policy
        if answered == target.healthy:
            target.streak = 0
            return False
        target.streak += 1
        needed = policy.healthy_threshold if answered else policy.unhealthy_threshold
        if refused and policy.refusal_fails:
            needed = 1
        if target.streak < needed:
            return False
        target.healthy, target.streak = answered, 0
        target.changes.append((now + policy.propagation_s, answered))
        return True

    def route(self, packet: Packet, now: float) -> Decision:
        """Where a packet from the client's side goes."""
        self._take_effect(now)
        flow = self._flows.get(packet.key)
        if flow is not None and now - flow.seen > self.policy.idle_timeout_s:
            del self._flows[packet.key]
            flow = None
        if packet.flags & (SYN | ACK | RST) == SYN and (
            flow is None or not self._eligible(flow.target)
        ):
            return self._select(packet, now)
        if flow is None:
            return self._unknown(packet, now)
        flow.seen = now
        if self._eligible(flow.target):
            return Decision(Act.FORWARD, flow.target)
        return self._unhealthy(packet, flow, now)

    def healthy(self) -> list[str]:
        """The targets that are, as far as their probes say."""
        return [name for name, target in self._targets.items() if target.healthy]

    def _unhealthy(self, packet: Packet, flow: _Flow, now: float) -> Decision:
        match self.policy.on_unhealthy:
            case OnUnhealthy.KEEP:
                return Decision(Act.FORWARD, flow.target)
            case OnUnhealthy.DIVERT:
                chosen = self._select(packet, now)
                return Decision(chosen.act, chosen.target, chosen.reason, flow.target)
            case OnUnhealthy.RESET:
                del self._flows[packet.key]
                return Decision(Act.RESET, flow.target, f"{flow.target} is unhealthy")

    def _unknown(self, packet: Packet, now: float) -> Decision:
        match self.policy.on_unknown:
            case OnUnknown.SELECT:
                return self._select(packet, now)
            case OnUnknown.RESET if not packet.flags & RST:
                return Decision(Act.RESET, reason="no such flow, or idle for too long")
            case _:
                return Decision(Act.DROP, reason="no such flow, or idle for too long")

    def _select(self, packet: Packet, now: float) -> Decision:
        names = [name for name in self._targets if self._eligible(name)]
        if not names:
            return Decision(Act.DROP, reason="no healthy target")
        ordered = sorted(names)
        chosen = ordered[crc32(repr(packet.key).encode()) % len(ordered)]
        self._flows[packet.key] = _Flow(chosen, now)
        return Decision(Act.FORWARD, chosen)

    def _eligible(self, name: str) -> bool:
        """Whether packets meet the target as healthy; with none healthy, all are."""
        if any(target.effective for target in self._targets.values()):
            return self._targets[name].effective
        return self.policy.fails_open

    def _take_effect(self, now: float) -> None:
        for target in self._targets.values():
            while target.changes and target.changes[0][0] <= now:
                target.effective = target.changes.pop(0)[1]
