"""Random weather for `tests.support.storm`: a schedule is a function of its seed, a value that
can be printed and made smaller."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from emulator.core.config import Commit
from tests.support.pair import A, B
from tests.support.storm import Storm

UNTIL_S = 10.0
COMMITS = (Commit.SYNC, None, Commit.ASYNC)


@dataclass(frozen=True)
class Act:
    """What begins at `at_s` and ends `for_s` later."""

    at_s: float
    what: str
    who: str = ""
    for_s: float = 0.0
    number: float = 0.0


def schedule(seed: int) -> list[Act]:
    """One to six things that go wrong, over conversations that begin at any time."""
    dice = random.Random(seed)

    def seconds(low: float, high: float) -> float:
        return round(dice.uniform(low, high), 3)

    acts = [
        Act(seconds(0, UNTIL_S - 2), "talk", number=dice.choice((10, 3000, 30_000)))
        for _ in range(dice.randint(1, 4))
    ]
    for _ in range(dice.randint(1, 6)):
        what = dice.choice(
            (
                "crash",
                "crash",
                "stand-by",
                "lose",
                "lose",
                "reset",
                "late",
                "deaf",
                "api",
                "corrupt",
            )
        )
        who = dice.choice((A, B, f"{A} {B}"))
        number = seconds(0.1, 1.5) if what == "late" else seconds(0.2, 1.0)
        acts.append(Act(seconds(0, UNTIL_S), what, who, seconds(0.05, 7.0), number))
    return sorted(acts, key=lambda act: act.at_s)


def promised(seed: int) -> list[Act]:
    """One failover of a whole pair, whatever the conversations are at: none may be lost."""
    dice = random.Random(seed)
    acts = [
        Act(round(dice.uniform(0, 6), 4), "talk", number=dice.choice((10, 3000, 8000)))
        for _ in range(dice.randint(1, 5))
    ]
    what = dice.choice(("crash", "stand-by"))
    acts.append(Act(0, "slow", number=dice.choice((0.0, 0.02, 0.3))))
    acts.append(Act(round(dice.uniform(0, 6), 4), what, A, round(dice.uniform(0.05, 9.0), 3)))
    return sorted(acts, key=lambda act: act.at_s)


def carry_out(acts: list[Act], commit: Commit | None, seed: int) -> Storm:
    """A storm after the acts and the calm that follows; raises AssertionError."""
    storm = Storm(commit, seed)
    storm.power_on().run(2)
    begin, end = _table(storm)
    for act in acts:
        storm.later(act.at_s, lambda a=act: begin[a.what](a))
        if act.what in end:
            storm.later(act.at_s + act.for_s, lambda a=act: end[a.what](a))
    storm.run(UNTIL_S)
    storm.settle()
    return storm


def _table(storm: Storm) -> tuple[dict[str, Callable], dict[str, Callable]]:
    def each(act: Act, do: Callable[[str], None]) -> None:
        for name in act.who.split():
            do(name)

    def set_to(name: str) -> Callable[[Act], None]:
        return lambda act: setattr(storm.weather, name, act.number)

    def calm(name: str, value: float | bool) -> Callable[[Act], None]:
        return lambda act: setattr(storm.weather, name, value)

    begin: dict[str, Callable] = {
        "talk": lambda act: storm.talk(int(act.number)),
        "crash": lambda act: each(act, storm.crash),
        "stand-by": lambda act: each(act, storm.stand_by),
        "lose": lambda act: storm.lose(*act.who.split()),
        "reset": lambda act: storm.lose_channel(),
        "slow": set_to("channel_s"),
        "late": set_to("beat_delay_s"),
        "deaf": set_to("beat_loss"),
        "corrupt": lambda act: setattr(storm.weather, "corrupt", act.number / 5),
        "api": calm("api_out", True),
    }
    end: dict[str, Callable] = {
        "crash": lambda act: each(act, storm.restart),
        "lose": lambda act: storm.mend(),
        "late": calm("beat_delay_s", 0.0),
        "deaf": calm("beat_loss", 0.0),
        "corrupt": calm("corrupt", 0.0),
        "api": calm("api_out", False),
    }
    return begin, end


def fails(acts: list[Act], commit: Commit | None, seed: int) -> str:
    """What a schedule breaks, or nothing."""
    try:
        carry_out(acts, commit, seed)
    except AssertionError as error:
        return str(error).splitlines()[0] or "an assertion without words"
    return ""


def smallest(acts: list[Act], broken: Callable[[list[Act]], str]) -> list[Act]:
    """As many acts taken away as possible while it still breaks."""
    while True:
        for at in range(len(acts)):
            fewer = acts[:at] + acts[at + 1 :]
            if broken(fewer):
                acts = fewer
                break
        else:
            return acts
