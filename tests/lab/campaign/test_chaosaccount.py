"""What was promised, what counts as a failure, and how rounds are counted."""

from __future__ import annotations

import json

import pytest

from emulator.lab.campaign.chaosaccount import Lost, Outcome, causes, table, text
from emulator.lab.campaign.chaosmodel import EXCUSES, SETTLE_S, excuse, patience_s
from emulator.lab.campaign.chaosplan import Fault, Kind, Plan

OFF = Fault(Kind.POWER_OFF, 10.0, 2.0)


def plan(*faults: Fault, world: str = "cloud-sync") -> Plan:
    return Plan(world, "bigip-a", faults)


def fault(kind: Kind, at_s: float = 1.0, for_s: float = 2.0, **more: object) -> Fault:
    return Fault(kind, at_s, for_s, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("faults", "why"),
    [
        ((), ""),
        ((OFF,), ""),
        ((fault(Kind.PROCESS_CRASH, 1.0, 0.2),), ""),
        ((fault(Kind.FORCE_STANDBY),), ""),
        ((fault(Kind.CLOCK_STEP, step_s=-3600.0), OFF), ""),
        ((fault(Kind.CHANNEL_SLOW, 9.0, 5.0, bits_per_s=1_000_000), OFF), ""),
        ((fault(Kind.API_OUTAGE, 9.0, 5.0), OFF), ""),
        ((fault(Kind.CHANNEL_CUT),), ""),  # nothing fails over
        ((fault(Kind.HEARTBEATS_LOST, 1.0, 0.5),), ""),  # shorter than the time-out
        ((fault(Kind.HEARTBEATS_LOST, 1.0, 5.0),), "split-brain"),
        ((fault(Kind.LINK_CUT, 1.0, 5.0),), "split-brain"),
        ((fault(Kind.CHANNEL_CUT, 9.0, 5.0), OFF), "channel"),
        ((fault(Kind.CHANNEL_CORRUPT, 1.0, 1.0), fault(Kind.POWER_OFF, 4.0)), "channel"),
        ((fault(Kind.CHANNEL_CUT, 0.0, 1.0), fault(Kind.POWER_OFF, 2 + SETTLE_S)), ""),
        ((OFF, fault(Kind.POWER_OFF, on="second")), "no-standby"),
        ((fault(Kind.DOUBLE_FAILOVER, gap_s=1.0, how=("power-off", "power-off")),), "no-standby"),
        ((fault(Kind.EARLY_FAILBACK, gap_s=1.0),), "no-standby"),
        ((fault(Kind.COLD_START), OFF), "cold-start"),
    ],
)
def test_what_a_plan_promises(faults: tuple[Fault, ...], why: str) -> None:
    assert excuse(plan(*faults)) == why
    assert excuse(plan(*faults, world="onprem-sync")) == why
    assert excuse(plan(*faults, world="cloud-fastl4")) == why
    assert why == "" or why in EXCUSES


def test_asynchronous_mirroring_promises_nothing_at_a_failover() -> None:
    assert excuse(plan(OFF, world="cloud-async")) == "async"
    assert excuse(plan(fault(Kind.CHANNEL_CUT), world="cloud-async")) == ""


def test_who_waits_waits_longer_for_a_longer_outage() -> None:
    assert patience_s(plan()) < patience_s(plan(OFF)) < patience_s(plan(OFF, OFF))
    assert patience_s(plan(fault(Kind.CLOCK_STEP, for_s=60.0))) == patience_s(plan())


BROKEN = Lost("bulk", 40000, "reset", "RESET", "mirror-lag")
UNNAMED = Lost("ssh", 0, "stalled", "STALLED", "unknown")


def outcome(made: Plan, **found: object) -> Outcome:
    return Outcome(made, judged=True, **found)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("made", "found", "says"),
    [
        (plan(OFF), {}, None),
        (plan(OFF), {"lost": [BROKEN]}, "lost although promised"),
        (plan(OFF, OFF), {"lost": [BROKEN]}, None),
        (plan(OFF, OFF), {"lost": [UNNAMED]}, "lost, and no cause named"),
        (plan(OFF, OFF), {"lost": [Lost("ssh", 0, "x", "SURVIVED", "-")]}, "no cause named"),
        (plan(OFF), {"lost": [BROKEN], "void": "late"}, None),
        (plan(fault(Kind.COLD_START)), {"wrong_bytes": 3}, "wrong bytes: 3"),
        (plan(fault(Kind.COLD_START)), {"wrong": ["bulk 1 ended whole"]}, "ended whole"),
        (plan(OFF), {"wrong_bytes": 3, "void": "late"}, "wrong bytes"),
        (plan(OFF), {"not_healed": "bigip-a is silent"}, "not healed: bigip-a is silent"),
        (plan(OFF), {"not_healed": "bigip-a is silent", "void": "late"}, None),
        (plan(OFF), {"ended": "bigip-a ended with status 1"}, "a device ended"),
    ],
)
def test_what_is_a_failure(made: Plan, found: dict[str, object], says: str | None) -> None:
    failures = outcome(made, **found).failures
    assert bool(failures) == (says is not None)
    assert says is None or says in failures[0]


def test_without_captures_a_loss_that_was_not_promised_needs_no_cause() -> None:
    lost = Lost("bulk", 40000, "reset")
    assert Outcome(plan(OFF, OFF), lost=[lost]).failures == []
    assert Outcome(plan(OFF), lost=[lost]).failures != []


def test_rounds_are_counted_by_fault() -> None:
    rounds = [
        outcome(plan(OFF)),
        outcome(plan(OFF, OFF), lost=[BROKEN, UNNAMED]),
        outcome(plan(fault(Kind.CHANNEL_CUT), OFF), void="the host was late", lost=[BROKEN]),
        outcome(plan(fault(Kind.CHANNEL_CUT)), lost=[BROKEN], wrong_bytes=1),
    ]
    rows = table(rounds)
    assert set(rows) == {"power-off", "channel-cut", "all"}
    off = {"rounds": 3, "void": 1, "wrong": 0, "lost": 1, "unnamed": 1, "broken": 0}
    assert off.items() <= rows["power-off"].items()
    assert {"rounds": 2, "void": 1, "wrong": 1, "broken": 1}.items() <= rows["channel-cut"].items()
    assert rows["all"]["rounds"] == 4
    assert causes(rounds) == {
        "no-standby: RESET mirror-lag": 1, "no-standby: STALLED unknown": 1,
        "promised: RESET mirror-lag": 1,
    }  # fmt: skip


def test_the_table_says_how_to_have_a_failure_again() -> None:
    failed = outcome(plan(OFF), number=7, wrong_bytes=3)
    said = text([outcome(plan(OFF)), failed])
    assert "FAILED round 7: wrong bytes: 3" in said
    assert f"--replay '{failed.plan.dumps()}'" in said
    assert "1 of 2 rounds failed" in said
    assert json.loads(json.dumps(failed.row()))["failures"] == failed.failures


def test_the_minimiser_looks_for_the_same_kind_of_failure() -> None:
    one = outcome(plan(OFF), wrong_bytes=3)
    assert one.signature == outcome(plan(OFF), wrong_bytes=9).signature
    assert one.signature != outcome(plan(OFF), not_healed="x").signature
    assert outcome(plan(OFF)).gravest == ""
    assert outcome(plan(OFF), not_healed="x").gravest == "not healed"
    assert outcome(plan(OFF), not_healed="x", lost=[BROKEN]).gravest == "lost although promised"
    assert outcome(plan(OFF, OFF), lost=[UNNAMED]).gravest == "lost, and no cause named"
    every = outcome(plan(OFF), not_healed="x", lost=[BROKEN], ended="status 1", wrong_bytes=3)
    assert every.gravest == "wrong bytes"
    assert len(every.signature) == 4  # a kind that has no place among the others would raise
