"""What a plan's traffic has been promised. Pure, and blind: it never sees what came out.

WRONG bytes are promised never to happen, whatever is done. A conversation may be *lost*
(reset, timed out, stalled for good) only where the plan itself gives a reason for it, of the
closed list EXCUSES; and then the packets have to name the cause. Everywhere else a loss breaks
the promise.

The reasons are those of the documents (`docs/reliability.md`): asynchronous mirroring promises
nothing; synchronous mirroring and fastL4 promise every conversation, provided the standby had a
working channel for SETTLE_S before the active device failed, and that only one device failed at
a time.
"""

from __future__ import annotations

from dataclasses import dataclass

from emulator.lab.campaign.chaosplan import WORLDS, Fault, Kind, Plan

SETTLE_S = 10.0  # a channel reconnects and resynchronises in less, or something is wrong
FAILOVER_TIMEOUT_S = 1.5  # of the campaign's devices
HEARTBEAT_S = 0.5

EXCUSES = {
    "async": "asynchronous mirroring: what was acknowledged and not mirrored is lost",
    "split-brain": "both devices were active: heartbeats were lost, or a device was cut off and "
    "came back believing itself active",
    "channel": "the mirroring channel was not whole when a device failed",
    "no-standby": "a device failed while the other one was off, or had not yet been given all",
    "cold-start": "both devices were off",
    "outage": "the way through the devices was closed for longer than the conversation waits",
}
_CHANNEL = frozenset({Kind.CHANNEL_CUT, Kind.CHANNEL_ONE_WAY, Kind.CHANNEL_CORRUPT})
_FAILS = frozenset({Kind.POWER_OFF, Kind.PROCESS_CRASH, Kind.LINK_CUT, Kind.FORCE_STANDBY})


@dataclass(frozen=True, slots=True)
class _Span:
    """From when to when something is not as it should be."""

    begin_s: float
    end_s: float

    def near(self, at_s: float) -> bool:
        """Whether the moment lies in it, or so soon afterwards that it still tells."""
        return self.begin_s <= at_s <= self.end_s + SETTLE_S


def excuse(plan: Plan) -> str:
    """Why conversations of this plan may be lost: a key of EXCUSES; empty where none may."""
    world = WORLDS[plan.world]
    if any(f.kind is Kind.COLD_START for f in plan.faults):
        return "cold-start"
    if any(_splits(f) for f in plan.faults):
        return "split-brain"
    failures = _failures(plan)
    if not failures:
        return ""
    if len(failures) > 1:
        return "no-standby"
    if world.type == "standard" and not world.sync:
        return "async"
    spans = [_Span(f.at_s, f.at_s + f.for_s) for f in plan.faults if f.kind in _CHANNEL]
    if any(span.near(at_s) for at_s in failures for span in spans):
        return "channel"
    return ""


def patience_s(plan: Plan) -> float:
    """How long an end waits for the conversation to go on: TCP doubles its retransmission
    timer, so after an outage the next attempt may take as long again."""
    shut = sum(f.for_s + f.gap_s for f in plan.faults if f.kind not in (Kind.CLOCK_STEP,))
    return round(15.0 + 2.5 * shut, 1)


def _splits(fault: Fault) -> bool:
    """Whether both devices may come to be active: the second one misses heartbeats for as long
    as its time-out; they are sent every HEARTBEAT_S, and one is enough."""
    mute_s = FAILOVER_TIMEOUT_S - HEARTBEAT_S
    return fault.kind in (Kind.HEARTBEATS_LOST, Kind.LINK_CUT) and fault.for_s >= mute_s


def _failures(plan: Plan) -> list[float]:
    """When a device stops serving, or is lost as a standby. Each counts: the second of two
    finds the other one gone, or not yet given all there is."""
    found: list[float] = []
    for fault in plan.faults:
        if fault.kind in _FAILS:
            found.append(fault.at_s)
        elif fault.kind is Kind.DOUBLE_FAILOVER:
            found += [fault.at_s, fault.at_s + fault.gap_s]
        elif fault.kind is Kind.EARLY_FAILBACK:
            found += [fault.at_s, fault.ends_s]
    return found
