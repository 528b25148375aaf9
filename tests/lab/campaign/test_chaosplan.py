"""A plan is a function of seed and round, a line of text and back, and can be made smaller."""

from __future__ import annotations

import argparse
import random

import pytest

from emulator.lab.campaign.chaos import plan_of
from emulator.lab.campaign.chaosminimise import minimise
from emulator.lab.campaign.chaosplan import (
    ROUNDS_PER_WORLD,
    WORLDS,
    Fault,
    Kind,
    Plan,
    PlanError,
    draw,
    loads,
    smaller,
    steps,
)

ALL = list(WORLDS)


def plans(seed: int, count: int, **options: object) -> list[Plan]:
    return [draw(random.Random(f"{seed}/{n}"), n, ALL, **options) for n in range(1, count + 1)]


def test_the_same_seed_and_round_make_the_same_plan() -> None:
    assert plans(1, 50) == plans(1, 50)
    assert plans(1, 50) != plans(2, 50)


def test_a_round_does_not_depend_on_those_before() -> None:
    options = argparse.Namespace(worlds=ALL, faults=[], most=3)
    assert plan_of(1, 37, options) == plans(1, 37)[36]


def test_every_fault_and_every_world_comes_up() -> None:
    many = plans(1, 400)
    assert {kind for plan in many for kind in plan.kinds} == {kind.value for kind in Kind}
    assert {plan.world for plan in many} == set(WORLDS)
    assert {plan.first for plan in many} == {"bigip-a", "bigip-b"}
    assert {len(plan.faults) for plan in many} == {1, 2, 3}


def test_a_world_is_used_for_some_rounds_before_the_next_one() -> None:
    worlds = [plan.world for plan in plans(1, 3 * ROUNDS_PER_WORLD)]
    assert worlds == [w for w in ALL[:3] for _ in range(ROUNDS_PER_WORLD)]


def test_on_premises_there_is_no_api_to_fail() -> None:
    there = [plan for plan in plans(3, 400) if plan.world.startswith("onprem")]
    assert not {k for p in there for k in p.kinds if k.startswith(("api", "trigger"))}


def test_faults_can_be_chosen() -> None:
    chosen = plans(1, 30, kinds=[Kind.POWER_OFF], most=1)
    assert {plan.kinds for plan in chosen} == {("power-off",)}


def test_a_plan_is_one_line_and_back() -> None:
    for plan in plans(5, 200):
        assert "\n" not in plan.dumps()
        assert loads(plan.dumps()) == plan


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "not a plan"),
        ("[]", "not a plan"),
        ('{"world":"mars","first":"bigip-a","faults":[]}', "world 'mars'"),
        ('{"world":"cloud-sync","first":"bigip-c","faults":[]}', "first 'bigip-c'"),
        ('{"world":"cloud-sync","first":"bigip-a","faults":[{"kind":"x","at_s":1}]}', "'x'"),
        (
            '{"world":"onprem-sync","first":"bigip-a","faults":[{"kind":"api-outage","at_s":1}]}',
            "api-outage is no fault",
        ),
        (
            '{"world":"cloud-sync","first":"bigip-a","faults":[{"kind":"power-off","at_s":-1}]}',
            "out of range",
        ),
        (
            '{"world":"cloud-sync","first":"bigip-a","faults":[{"kind":"power-off","at_s":"x"}]}',
            "no number",
        ),
        (
            '{"world":"cloud-sync","first":"bigip-a","faults":[{"kind":"power-off","when":1}]}',
            "has no 'when'",
        ),
        ('{"world":"cloud-sync","first":"bigip-a","faults":[],"traffic":["x"]}', "traffic 'x'"),
    ],
)
def test_what_is_no_plan(text: str, says: str) -> None:
    with pytest.raises(PlanError, match=says):
        loads(text)


def test_what_is_off_is_switched_on_again() -> None:
    for plan in plans(7, 300):
        off: dict[str, int] = {}
        for step in steps(plan):
            if step.what == "fail" and step.how != "force-standby":
                off[step.device] = off.get(step.device, 0) + 1
            if step.what == "revive":
                off.pop(step.device, None)
        assert not off, plan.dumps()


def test_steps_come_in_time_order_and_a_fault_ends_after_it_begins() -> None:
    for plan in plans(8, 200):
        times = [step.at_s for step in steps(plan)]
        assert times == sorted(times)
        assert times[-1] <= plan.ends_s + 1e-9


def needs(*kinds: str, traffic: tuple[str, ...] = ()):
    """A failure that needs these faults and this traffic, and happens every time."""
    return lambda plan: set(kinds) <= set(plan.kinds) and set(traffic) <= set(plan.traffic)


BIG = Plan(
    "cloud-sync", "bigip-a",
    tuple(Fault(k, 1.0, 2.0) for k in (Kind.POWER_OFF, Kind.CHANNEL_CUT, Kind.HEARTBEATS_LOST)),
)  # fmt: skip


def test_the_minimiser_takes_away_what_the_failure_does_not_need() -> None:
    least = minimise(BIG, needs("channel-cut", traffic=("ssh",)))
    assert least is not None
    assert (least.kinds, least.traffic) == (("channel-cut",), ("ssh",))


def test_a_double_failover_becomes_a_single_one_where_that_is_enough() -> None:
    double = Fault(Kind.DOUBLE_FAILOVER, 1.0, 2.0, gap_s=1.0, how=("power-off", "force-standby"))
    plan = Plan("cloud-sync", "bigip-a", (double,), ("bulk",))
    least = minimise(plan, lambda p: bool({"double-failover", "power-off"} & set(p.kinds)))
    assert least is not None
    assert least.kinds == ("power-off",)


def test_a_plan_that_does_not_fail_has_no_smallest() -> None:
    assert minimise(BIG, lambda plan: False) is None


def test_a_failure_now_and_then_is_tried_several_times() -> None:
    tried: list[Plan] = []

    def every_third(plan: Plan) -> bool:
        tried.append(plan)
        return tried.count(plan) % 3 == 0 and "power-off" in plan.kinds

    least = minimise(BIG, every_third, tries=3)
    assert least is not None
    assert least.kinds == ("power-off",)
    assert minimise(BIG, every_third, tries=2) is None


def test_with_need_a_plan_counts_only_if_it_fails_so_often() -> None:
    answers = iter([True, False, True])
    assert minimise(Plan("cloud-sync", "bigip-a", (), ("ssh",)), lambda _: next(answers), need=2)
    answers = iter([True, False, False])
    plan = Plan("cloud-sync", "bigip-a", (), ("ssh",))
    assert minimise(plan, lambda _: next(answers), need=2) is None


def test_smaller_plans_are_smaller() -> None:
    for candidate in smaller(BIG):
        fewer = len(candidate.faults) + len(candidate.traffic)
        assert fewer < len(BIG.faults) + len(BIG.traffic)
