"""What one round of the chaos campaign does: a value, drawn at random or given back. Pure.

A plan is a function of seed and round alone, and one line of text, so that a failure can be
had again. Nothing in it depends on the rounds before: it names the world, which device is
active when it begins, the traffic, and each fault with its times.

    {"world": "cloud-sync", "first": "bigip-a", "traffic": ["bulk", "ssh"],
     "faults": [{"kind": "power-off", "at_s": 0.4, "for_s": 3.1}]}

Times are seconds since the traffic was under way. `on` is the device a fault is done to:
`first`, which was active when the round began, or `second`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields, replace
from enum import StrEnum
from typing import Any, Protocol, TypeVar

T = TypeVar("T")
DEVICES = ("bigip-a", "bigip-b")
TRAFFIC = ("bulk", "requests", "ssh")


class Kind(StrEnum):
    """The faults; which of them a world knows: `World.kinds`."""

    POWER_OFF = "power-off"
    PROCESS_CRASH = "process-crash"
    LINK_CUT = "link-cut"  # all links of a device, which lives on
    FORCE_STANDBY = "force-standby"  # no fault: the regular failover, among the others
    CHANNEL_CUT = "channel-cut"
    CHANNEL_SLOW = "channel-slow"
    CHANNEL_ONE_WAY = "channel-one-way"  # what `on` sends is lost
    CHANNEL_CORRUPT = "channel-corrupt"  # bytes that come in at `on` altered, checksums right
    HEARTBEATS_LOST = "heartbeats-lost"
    API_OUTAGE = "api-outage"  # no answer
    API_ERRORS = "api-errors"
    API_THROTTLED = "api-throttled"
    TRIGGER_LOST = "trigger-lost"  # the failover extension of `on` does not react
    CLOCK_STEP = "clock-step"  # the wall clock of `on`
    DOUBLE_FAILOVER = "double-failover"  # the other device fails during the takeover
    EARLY_FAILBACK = "early-failback"  # back to a device that has just come back
    COLD_START = "cold-start"  # both off, then on, in either order


_CLOUD_ONLY = frozenset(
    {Kind.API_OUTAGE, Kind.API_ERRORS, Kind.API_THROTTLED, Kind.TRIGGER_LOST}
)  # fmt: skip


@dataclass(frozen=True)
class World:
    """Where a round takes place. `type`, `commit`: of the virtual server."""

    name: str
    kind: str  # cloud, onprem
    type: str
    commit: str = "async"

    @property
    def kinds(self) -> tuple[Kind, ...]:
        """On-premises there is no API."""
        return tuple(k for k in Kind if self.kind == "cloud" or k not in _CLOUD_ONLY)

    @property
    def sync(self) -> bool:
        """Whether nothing is acknowledged that the standby does not hold."""
        return self.type == "standard" and self.commit == "sync"


WORLDS = {
    w.name: w
    for w in (
        World("cloud-sync", "cloud", "standard", "sync"),
        World("cloud-fastl4", "cloud", "fastL4"),
        World("onprem-sync", "onprem", "standard", "sync"),
        World("cloud-async", "cloud", "standard"),
        World("onprem-fastl4", "onprem", "fastL4"),
    )
}
ROUNDS_PER_WORLD = 5  # a world is used so often before the next one is built


@dataclass(frozen=True)
class Fault:
    """One fault; what a kind has no use for is 0 or empty.

    `gap_s`: to the second event of a fault that has two. `order`: which device a cold start
    switches on first. `how`: of a double failover, the way each device fails.
    """

    kind: Kind
    at_s: float
    for_s: float = 0.0
    on: str = "first"
    gap_s: float = 0.0
    bits_per_s: int = 0
    rate: float = 0.0
    step_s: float = 0.0
    how: tuple[str, ...] = ()

    @property
    def ends_s(self) -> float:
        """When it is over, as far as that can be said before."""
        return self.at_s + self.for_s + self.gap_s


@dataclass(frozen=True)
class Plan:
    """One round."""

    world: str
    first: str
    faults: tuple[Fault, ...]
    traffic: tuple[str, ...] = TRAFFIC

    @property
    def kinds(self) -> tuple[str, ...]:
        return tuple(f.kind.value for f in self.faults)

    @property
    def ends_s(self) -> float:
        """When the last fault is over."""
        return max((f.ends_s for f in self.faults), default=0.0)

    def dumps(self) -> str:
        """One line, the inverse of `loads`."""
        blank = {f.name: f.default for f in fields(Fault)}
        faults = [
            {k: v for k, v in asdict(fault).items() if v != blank[k]} for fault in self.faults
        ]
        row = {
            "world": self.world, "first": self.first, "traffic": list(self.traffic),
            "faults": faults,
        }  # fmt: skip
        return json.dumps(row, separators=(",", ":"))


class PlanError(ValueError):
    """The text is no plan; it says why."""


def loads(text: str) -> Plan:
    """A plan as `dumps` writes it; raises PlanError."""
    try:
        row = json.loads(text)
        faults = tuple(_fault(f) for f in row["faults"])
        plan = Plan(row["world"], row["first"], faults, tuple(row.get("traffic", TRAFFIC)))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise PlanError(f"not a plan: {error}") from None
    if plan.world not in WORLDS:
        raise PlanError(f"world {plan.world!r} is none of {', '.join(WORLDS)}")
    if plan.first not in DEVICES:
        raise PlanError(f"first {plan.first!r} is none of {', '.join(DEVICES)}")
    if stray := set(plan.traffic) - set(TRAFFIC):
        raise PlanError(f"traffic {min(stray)!r} is none of {', '.join(TRAFFIC)}")
    if unknown := {f.kind for f in faults} - set(WORLDS[plan.world].kinds):
        raise PlanError(f"{min(unknown)} is no fault of the world {plan.world}")
    return plan


def _fault(row: dict[str, Any]) -> Fault:
    if stray := set(row) - {f.name for f in fields(Fault)}:
        raise PlanError(f"a fault has no {min(stray)!r}")
    values = {**row, "kind": Kind(row["kind"]), "how": tuple(row.get("how", ()))}
    fault = Fault(**values)
    numbers = (fault.at_s, fault.for_s, fault.gap_s, fault.bits_per_s, fault.rate, fault.step_s)
    if not all(isinstance(n, int | float) for n in numbers):
        raise PlanError(f"{fault.kind}: a time or a rate is no number")
    if min(numbers[:5]) < 0 or max(numbers[:3]) > 600:
        raise PlanError(f"{fault.kind}: a time or a rate is out of range")
    if fault.on not in ("first", "second"):
        raise PlanError(f"{fault.kind}: on is first or second, not {fault.on!r}")
    return fault


class Dice(Protocol):
    """What of random.Random is used; a seeded one makes the plan a function of its seed."""

    def uniform(self, a: float, b: float) -> float: ...
    def choice(self, seq: Sequence[T]) -> T: ...
    def random(self) -> float: ...


def draw(
    dice: Dice, number: int, worlds: Sequence[str], kinds: Sequence[Kind] = (), most: int = 3
) -> Plan:
    """The plan of round `number` (from 1): one to `most` faults of `kinds` (all, if empty)."""
    world = WORLDS[worlds[(number - 1) // ROUNDS_PER_WORLD % len(worlds)]]
    usable = [k for k in world.kinds if not kinds or k in kinds]
    first = dice.choice(DEVICES)
    count = 1 + int(dice.random() * most) if usable else 0
    faults = tuple(_draw(dice, dice.choice(usable)) for _ in range(count))
    return Plan(world.name, first, tuple(sorted(faults, key=lambda f: f.at_s)))


def _draw(dice: Dice, kind: Kind) -> Fault:
    """One fault. A time a fault lasts is drawn on both sides of what the devices' own timers
    make a difference of: failover (1.5 s), the channel's (4 s)."""

    def time(low: float, high: float) -> float:
        return round(dice.uniform(low, high), 3)

    at_s, either = time(0.0, 3.0), dice.choice(("first", "second"))
    fault = Fault(kind, at_s)
    match kind:
        case Kind.POWER_OFF | Kind.PROCESS_CRASH | Kind.LINK_CUT:
            on = "first" if dice.random() < 0.75 else "second"
            return replace(fault, on=on, for_s=time(0.3, 8.0))
        case Kind.FORCE_STANDBY:
            return fault
        case Kind.CHANNEL_CUT | Kind.CHANNEL_ONE_WAY | Kind.CHANNEL_CORRUPT:
            rate = time(0.01, 0.3) if kind is Kind.CHANNEL_CORRUPT else 0.0
            return replace(fault, on=either, for_s=time(0.2, 8.0), rate=rate)
        case Kind.CHANNEL_SLOW:
            bits = dice.choice((1_000_000, 4_000_000, 20_000_000))
            return replace(fault, for_s=time(1.0, 8.0), bits_per_s=bits)
        case Kind.HEARTBEATS_LOST:
            return replace(fault, for_s=time(0.3, 8.0))
        case Kind.API_OUTAGE | Kind.TRIGGER_LOST:
            on = "second" if kind is Kind.TRIGGER_LOST else "first"
            return replace(fault, on=on, for_s=time(1.0, 6.0))
        case Kind.API_ERRORS | Kind.API_THROTTLED:
            return replace(fault, for_s=time(1.0, 6.0), rate=time(0.3, 0.9))
        case Kind.CLOCK_STEP:
            step = dice.choice((-86_400.0, -3600.0, -2.0, 2.0, 30.0, 3600.0, 86_400.0))
            return replace(fault, on=either, for_s=time(1.0, 6.0), step_s=step)
        case _:
            return _draw_double(dice, fault)


def _draw_double(dice: Dice, fault: Fault) -> Fault:
    """The faults of two events."""

    def time(low: float, high: float) -> float:
        return round(dice.uniform(low, high), 3)

    if fault.kind is Kind.EARLY_FAILBACK:
        return replace(fault, for_s=time(2.0, 4.0), gap_s=time(0.5, 3.5))
    if fault.kind is Kind.COLD_START:
        order = dice.choice(("first", "second"))
        return replace(fault, on=order, for_s=time(0.5, 3.0), gap_s=time(0.0, 4.0))
    ways = [Kind.POWER_OFF.value, Kind.PROCESS_CRASH.value, Kind.FORCE_STANDBY.value]
    how = (dice.choice(ways), dice.choice(ways))
    late = 0.8 if how[0] == Kind.FORCE_STANDBY else 3.0  # the takeover comes at once, or later
    return replace(fault, for_s=time(1.0, 6.0), gap_s=time(0.0, late), how=how)


def smaller(plan: Plan) -> Iterator[Plan]:
    """Plans a little simpler than this one, the simplest first: for the minimiser."""
    faults, traffic = plan.faults, plan.traffic
    for at in range(len(faults)):
        yield replace(plan, faults=faults[:at] + faults[at + 1 :])
    for kind in traffic:
        if len(traffic) > 1:
            yield replace(plan, traffic=tuple(t for t in traffic if t != kind))
    for at, fault in enumerate(faults):
        if fault.kind is Kind.DOUBLE_FAILOVER:  # perhaps its first half does
            half = Fault(Kind(fault.how[0]), fault.at_s, fault.for_s)
            yield replace(plan, faults=(*faults[:at], half, *faults[at + 1 :]))


@dataclass(frozen=True, slots=True)
class Step:
    """One thing to do. `what`: begin, end (of the fault), fail (a device, `how`), revive,
    stand-by; `device`: first or second, where it is about one."""

    at_s: float
    what: str
    fault: Fault
    device: str = ""
    how: str = ""


def steps(plan: Plan) -> list[Step]:
    """The plan's faults as things to do, in time order."""
    found = [step for fault in plan.faults for step in _steps(fault)]
    return sorted(found, key=lambda step: step.at_s)


def _steps(fault: Fault) -> Iterator[Step]:
    at_s, over_s, last_s = fault.at_s, fault.at_s + fault.for_s, fault.ends_s
    other = "second" if fault.on == "first" else "first"
    off = Kind.POWER_OFF.value
    match fault.kind:
        case Kind.POWER_OFF | Kind.PROCESS_CRASH | Kind.LINK_CUT:
            yield Step(at_s, "fail", fault, fault.on, fault.kind.value)
            yield Step(over_s, "revive", fault, fault.on)
        case Kind.FORCE_STANDBY:
            yield Step(at_s, "fail", fault, fault.on, fault.kind.value)
        case Kind.DOUBLE_FAILOVER:
            yield Step(at_s, "fail", fault, "first", fault.how[0])
            yield Step(at_s + fault.gap_s, "fail", fault, "second", fault.how[1])
            yield Step(last_s, "revive", fault, "first")
            yield Step(last_s, "revive", fault, "second")
        case Kind.EARLY_FAILBACK:
            yield Step(at_s, "fail", fault, "first", off)
            yield Step(over_s, "revive", fault, "first")
            yield Step(last_s, "fail", fault, "second", Kind.FORCE_STANDBY.value)
        case Kind.COLD_START:
            yield Step(at_s, "fail", fault, "first", off)
            yield Step(at_s, "fail", fault, "second", off)
            yield Step(over_s, "revive", fault, fault.on)
            yield Step(last_s, "revive", fault, other)
        case _:
            yield Step(at_s, "begin", fault, fault.on)
            yield Step(over_s, "end", fault, fault.on)
