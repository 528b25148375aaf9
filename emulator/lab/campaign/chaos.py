"""Random faults over live traffic, every byte compared: what a pair does when much goes wrong.

`python -m emulator.lab.campaign.chaos [--count N | --minutes M] [--seed S] [--round N]
[--replay PLAN] [--minimise] [--worlds W,...] [--faults K,...] [--most N] [--no-captures]`

A round draws one to three faults (`chaosplan`), does them to a pair under bulk echo, single
requests and an interactive ssh session (`chaosround`), heals everything, and holds the outcome
against what was promised (`chaosmodel`, which never sees an outcome). Failures are wrong bytes;
a conversation lost that was promised, or whose cause nobody can name; a pair that is not whole
again by the deadline; a device that ended. What the lab itself disturbed is void.

The plan of a round is a function of seed and round: `--seed S --round N` has it again, and so
has `--replay` with the line printed beside a failure. `--minimise` then takes faults and traffic
away as long as it still fails.

One line a round on stdout, a table at the end; exit status 0, 1 after a failure, 4 when no
round counted, 130 interrupted.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from emulator.lab.campaign import chaosaccount
from emulator.lab.campaign.chaosaccount import Outcome
from emulator.lab.campaign.chaosminimise import minimise
from emulator.lab.campaign.chaosplan import WORLDS, Kind, Plan, PlanError, draw, loads
from emulator.lab.campaign.chaosround import ChaosRound
from emulator.lab.campaign.chaosworld import ChaosWorld
from emulator.lab.interrupts import unwind_on_signals
from emulator.lab.wait import LabFault
from netns.build import BuildError
from netns.execute import NamespaceError

_VOID_TRIES = 3  # of one that is to be made smaller
_CAPTURED_RATE = 300_000  # bytes per second of the bulk connection, where all is recorded


def plan_of(seed: int, number: int, options: argparse.Namespace) -> Plan:
    """The plan of round `number` under `seed`: nothing else goes into it."""
    dice = random.Random(f"{seed}/{number}")
    return draw(dice, number, options.worlds, options.faults, options.most)


class Campaign:
    """Rounds, one after the other, in worlds that are built when they are needed."""

    def __init__(self, folder: Path, *, captures: bool, rate: int | None, keep: bool) -> None:
        self._folder, self._captures, self._rate, self._keep = folder, captures, rate, keep
        self._world: ChaosWorld | None = None
        self._made = 0
        self.outcomes: list[Outcome] = []

    def round(self, plan: Plan, number: int) -> Outcome:
        """Never raises LabFault: a world that does not come up makes the round void."""
        self._made += 1
        folder = self._folder / f"round-{self._made}"
        try:
            world = self._world_for(plan)
            rate = self._rate or (_CAPTURED_RATE if self._captures else None)
            found = ChaosRound(world, plan, folder, captures=self._captures, bytes_per_s=rate).run()
        except (LabFault, BuildError, NamespaceError) as error:
            found = Outcome(plan, void=f"no world: {error}")
        found.number = number
        if found.failures or found.void or found.remains:
            self.close()  # the next round begins with a world that is as it should be
        if not (found.failures and self._keep):
            shutil.rmtree(folder, ignore_errors=True)
        self.outcomes.append(found)
        return found

    def _world_for(self, plan: Plan) -> ChaosWorld:
        wanted = WORLDS[plan.world]
        if self._world is None or self._world.world != wanted:
            self.close()
            folder = self._folder / f"world-{self._made}"
            self._world = ChaosWorld(wanted, folder)
            self._world.create()
        return self._world

    def close(self) -> None:
        """Take the world down; idempotent."""
        world, self._world = self._world, None
        if world is not None:
            world.destroy()
            if not self._keep:
                shutil.rmtree(world.lab.evidence, ignore_errors=True)


def main() -> int:
    """See the module's description."""
    options = _arguments()
    unwind_on_signals()
    with tempfile.TemporaryDirectory(prefix="mirrorlab-chaos-") as scratch:
        folder = options.keep or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        campaign = Campaign(
            folder, captures=not options.no_captures, rate=options.rate,
            keep=options.keep is not None,
        )  # fmt: skip
        status = 0
        try:
            if options.minimise:
                _minimise(campaign, options)
            else:
                _rounds(campaign, options)
        except KeyboardInterrupt:
            status = 130
        finally:
            campaign.close()
            _report(campaign.outcomes, options)
    if status:
        return status
    if any(one.failures for one in campaign.outcomes):
        return 1
    return 4 if all(one.void for one in campaign.outcomes) else 0


def _rounds(campaign: Campaign, options: argparse.Namespace) -> None:
    plans = list(_given(options))
    until = time.monotonic() + 60 * options.minutes if options.minutes else None
    total = options.minutes * 60 if options.minutes else len(plans) or options.count
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        bar, began = progress.add_task("chaos", total=total), time.monotonic()
        for number, plan in plans or _drawn(options):
            if until is not None and time.monotonic() > until:
                break
            progress.update(bar, description=f"round {number}: {' + '.join(plan.kinds)}")
            found = campaign.round(plan, number)
            _say(found, options)
            if options.minutes:
                progress.update(bar, completed=time.monotonic() - began)
            else:
                progress.advance(bar)


def _given(options: argparse.Namespace) -> Iterator[tuple[int, Plan]]:
    """The one plan that is asked for, as often as --count says."""
    if options.replay is not None:
        yield from ((n + 1, options.replay) for n in range(options.count))
    elif options.round:
        plan = plan_of(options.seed, options.round, options)
        yield from ((options.round, plan) for _ in range(options.count))


def _drawn(options: argparse.Namespace) -> Iterator[tuple[int, Plan]]:
    number = 0
    while options.minutes or number < options.count:
        number += 1
        yield number, plan_of(options.seed, number, options)


def _minimise(campaign: Campaign, options: argparse.Namespace) -> None:
    """Of the plan that is asked for; the gravest of its first failures is what is looked for."""
    number, plan = next(_given(options))
    wanted = ""

    def fails(smaller: Plan) -> bool:
        nonlocal wanted
        for _ in range(_VOID_TRIES):  # a void try says nothing of the plan
            found = campaign.round(smaller, number)
            _say(found, options)
            if found.failures or not found.void:
                break
        wanted = wanted or found.gravest
        return wanted in found.signature

    smallest = minimise(plan, fails, tries=options.tries, need=options.need)
    what = smallest.dumps() if smallest is not None else "the plan does not fail"
    _line(f"smallest: {what}" if smallest is not None else what, options)


def _say(found: Outcome, options: argparse.Namespace) -> None:
    _line(found.line(), options)
    for failure in found.failures:
        _line(f"     FAILED: {failure}", options)
    for lost in found.lost:
        _line(f"     lost: {lost}", options)
    if found.failures or found.void:
        _line(f"     --replay '{found.plan.dumps()}'", options)


def _line(text: str, options: argparse.Namespace) -> None:
    """JSON has stdout for itself."""
    print(text, flush=True, file=sys.stderr if options.format == "json" else sys.stdout)


def _report(outcomes: list[Outcome], options: argparse.Namespace) -> None:
    if options.format == "json":
        report = {
            "seed": options.seed,
            "table": chaosaccount.table(outcomes),
            "causes": chaosaccount.causes(outcomes),
            "failed": [one.number for one in outcomes if one.failures],
            "rounds": [one.row() for one in outcomes],
        }
        print(json.dumps(report), flush=True)
    else:
        print(f"seed {options.seed}\n{chaosaccount.text(outcomes)}", flush=True)


def _names(known: Callable[[str], object], what: str) -> Callable[[str], list[object]]:
    def read(text: str) -> list[object]:
        try:
            return [known(word) for word in text.split(",") if word]
        except (ValueError, KeyError) as error:
            raise argparse.ArgumentTypeError(f"no such {what}: {error}") from None

    return read


def _plan(text: str) -> Plan:
    try:
        return loads(text)
    except PlanError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="chaos", description="random faults, bytes compared")
    parser.add_argument("--count", type=int, default=None, help="rounds (20; of a replay 1)")
    parser.add_argument("--minutes", type=float, default=0.0, help="instead of --count")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    parser.add_argument("--round", type=int, default=0, help="this round of the seed alone")
    parser.add_argument("--replay", type=_plan, metavar="PLAN", help="a plan, as printed")
    parser.add_argument("--minimise", action="store_true", help="of --replay, or --seed --round")
    parser.add_argument("--tries", type=int, default=3, help="of each smaller plan")
    parser.add_argument("--need", type=int, default=1, help="so many of them have to fail")
    worlds = _names(lambda word: WORLDS[word].name, "world")
    parser.add_argument("--worlds", type=worlds, default=list(WORLDS), help=", ".join(WORLDS))
    parser.add_argument("--faults", type=_names(Kind, "fault"), default=[], help=", ".join(Kind))
    parser.add_argument("--most", type=int, default=3, help="faults a round, at most")
    parser.add_argument("--no-captures", action="store_true", help="losses go without a cause")
    parser.add_argument("--rate", type=int, metavar="BYTES_PER_S", help="the bulk connection")
    parser.add_argument("--keep", type=Path, help="leave what failed in this folder")
    parser.add_argument("--format", choices=["text", "json"], default="text")
    given = parser.parse_args()
    repeated = given.replay is not None or given.round
    if given.minimise and not repeated:
        parser.error("--minimise needs --replay, or --seed with --round")
    if given.count is None:
        given.count = 1 if repeated else 20
    print(f"seed {given.seed}", file=sys.stderr)
    return given


if __name__ == "__main__":
    sys.exit(main())
