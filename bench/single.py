"""Contests without load: takeover and memory, the kick, how long the lab itself takes."""

from __future__ import annotations

import contextlib
import os
import secrets
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from bench import kick, takeover
from bench.harness import Contenders, Contest, Figure, Reading, Settings
from emulator.lab.instance import Lab
from emulator.lab.runner import run_scenario
from emulator.lab.settings.scenario import Scenario
from emulator.lab.wait import LabFault

ROOT = Path(__file__).resolve().parents[1]
FAST, STANDARD = 10_000, 2_000
OUTAGE_S = 5.0
MATRIX = ("{python}", "-m", "emulator.cli", "matrix", "--output", "{folder}")
KICK_GOAL_S = 0.1  # and a round trip, which is a fraction of a millisecond here


def one_takeover(kind: str, count: int) -> Reading:
    """A lab of its own; raises LabFault when a connection did not come through."""
    with tempfile.TemporaryDirectory(prefix="mirrorlab-bench-") as folder:
        row = takeover.measure(kind, count, Path(folder))
    if row.right != count:
        raise LabFault(f"{count - row.right} of {count} {kind} connections were lost")
    return {
        "decision_s": row.decision_s, "restore_s": row.restore_s, "routes_s": row.routes_s,
        "echo_s": row.echo_s,
        "restore_ms_each": row.restore_s / count * 1000, "open_ms_each": row.open_s / count * 1000,
        "memory_kib": row.memory_kib,
    }  # fmt: skip


def _simply(contenders: Contenders) -> Callable[
    [Settings], contextlib.AbstractContextManager[Contenders]
]:  # fmt: skip
    @contextlib.contextmanager
    def opened(settings: Settings) -> Iterator[Contenders]:
        yield contenders

    return opened


def _blackout(built: Scenario) -> Callable[[], Reading]:
    """How much later than the routes the worst session went on; raises LabFault."""

    def measured() -> Reading:
        with tempfile.TemporaryDirectory(prefix="mirrorlab-bench-") as folder:
            found = run_scenario(built, Path(folder)).result
        return {"beyond_s": beyond_outage(found)}

    return measured


def beyond_outage(result: dict[str, object]) -> float:
    """From the last route in effect to the first new byte, the latest of all sessions and ends;
    raises LabFault when there is no such byte."""
    if result["void"]:
        raise LabFault(str(result["void"]))
    after = kick.after_outage(result)
    if not after:
        raise LabFault("no session went on")
    return max(after)


def _with_kick() -> Scenario:
    return kick.scenario("fastL4", OUTAGE_S, kick=True)


def _conntrackd() -> Scenario:
    told = kick.scenario("fastL4", OUTAGE_S, kick=False).model_dump(mode="json")
    told["devices"]["data_plane"] = "conntrackd"
    return Scenario.model_validate(told)


def _world() -> Reading:
    """Namespaces, links, addresses, routes and rules; then nothing left of them."""
    made = Lab(secrets.token_hex(3), Scenario(title="bench"))
    try:
        began = time.monotonic()
        made.create()
        up = time.monotonic() - began
    finally:
        began = time.monotonic()
        made.destroy()
    return {"up_s": up, "down_s": time.monotonic() - began}


def _command(*argv: str) -> Callable[[], Reading]:
    """How long a user waits; raises LabFault unless it ends as it should."""

    def measured() -> Reading:
        with tempfile.TemporaryDirectory(prefix="mirrorlab-bench-") as folder:
            words = [word.format(folder=folder, python=sys.executable) for word in argv]
            # Not our jobserver, where it is make that runs us.
            environment = {k: v for k, v in os.environ.items() if k not in ("MAKEFLAGS", "MFLAGS")}
            began = time.monotonic()
            done = subprocess.run(
                words, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
            )
            took = time.monotonic() - began
        if done.returncode:
            raise LabFault(f"{argv[0]}: exit {done.returncode}: {done.stderr.strip()[-300:]}")
        return {"s": took}

    return measured


CONTESTS = (
    Contest(
        "takeover",
        (
            Figure(
                f"takeover of {FAST:,} fastL4 flows", "fastL4", "decision_s", goal=3, unit="s"
            ),
            Figure(
                f"takeover of {STANDARD:,} standard connections", "standard", "decision_s", goal=2,
                unit="s",
            ),
            *(
                Figure(f"{told}, {count:,} {kind}", kind, metric, unit="s")
                for kind, count in (("fastL4", FAST), ("standard", STANDARD))
                for told, metric in (
                    ("of the takeover, restoring", "restore_s"),
                    ("decision to the last route in effect", "routes_s"),
                    ("the clients' messages alone, no takeover", "echo_s"),
                )
            ),
            Figure(
                "memory of a mirrored idle connection, fastL4", "fastL4", "memory_kib", goal=4,
                unit="KiB",
            ),
            Figure(
                "memory of a mirrored idle connection, standard", "standard", "memory_kib", goal=4,
                unit="KiB",
            ),
        ),
        _simply(
            {
                "fastL4": lambda: one_takeover("fastL4", FAST),
                "standard": lambda: one_takeover("standard", STANDARD),
            }
        ),
        lambda settings: 1 if settings.quick else 3,
    ),
    Contest(
        "kick",
        (
            Figure(
                f"blackout beyond an outage of {OUTAGE_S:g} s, with the kick", "kick", "beyond_s",
                goal=KICK_GOAL_S, unit="s",
            ),
            Figure("the same with conntrackd", "conntrackd", "beyond_s", unit="s"),
        ),
        _simply({"kick": _blackout(_with_kick()), "conntrackd": _blackout(_conntrackd())}),
        lambda settings: 1 if settings.quick else 3,
    ),
    Contest(
        "world",
        (
            Figure("world up", "world", "up_s", goal=1, unit="s"),
            Figure("world down", "world", "down_s", goal=1, unit="s"),
        ),
        _simply({"world": _world}),
        lambda settings: 2 * settings.rounds,
    ),
    Contest(
        "make-lab",
        (Figure("make lab, warm", "make lab", "s", goal=60, unit="s"),),
        _simply({"make lab": _command("make", "lab", "RUNS={folder}")}),
        lambda settings: 1 if settings.quick else 2,
    ),
    Contest(
        "matrix",
        (Figure("quick matrix", "matrix", "s", goal=300, unit="s"),),
        _simply({"matrix": _command(*MATRIX)}),
        lambda settings: 1,
        long=True,
    ),
)  # fmt: skip
