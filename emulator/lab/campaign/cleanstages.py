"""Ctrl-C, SIGTERM and SIGHUP at every named stage of a run: it ends with 130, and nothing is left.

`python -m emulator.lab.campaign.cleanstages [--only STAGE ...] [--moments MOMENT ...]`

Not at random, as `cleanup`: see `stages` for how a stage is hit for certain. Prints a table;
exit status 1 when anything was left, a run ended in another way, or said more than it should.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
import tempfile
from pathlib import Path

from emulator.lab.campaign.cleanup import Command
from emulator.lab.campaign.leftovers import Trace
from emulator.lab.campaign.stages import MOMENTS, STAGES
from emulator.lab.interrupts import unwind_on_signals

SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP")
QUICK = {
    "title": "over soon",
    "cloud": {"propagation_delay_s": 0.05},
    "failover": {"after_s": 0.3},
    "observe_s": 1.0,
    "sessions": ["ssh", "echo"],
    "virtual_server": {"snat": "pool"},
}
PROGRAM = (sys.executable, "-m", "emulator.lab.campaign.stages")
INTERRUPTED = 130


def hit(stage: str, moment: str, signal: str, world: str) -> list[str]:
    """What was wrong with a run that got the signal then."""
    with tempfile.TemporaryDirectory(prefix="cleanup-proof-") as scratch:
        runs, temporary = Path(scratch) / "runs", Path(scratch) / "tmp"
        temporary.mkdir()
        scenario = Path(scratch) / "quick.yaml"
        scenario.write_text(json.dumps({**QUICK, "world": world}))
        words = [stage, moment, signal, str(scenario), "--output", str(runs)]
        with Trace(temporary) as trace:
            command = Command(words, trace, PROGRAM)
            status = command.wait()
            folders = list(runs.glob("*-*")) if runs.is_dir() else []
            lab = folders[0].name.rsplit("-", 1)[1] if folders else "no-lab-yet"
            try:
                wrong = trace.left(lab)
            finally:
                trace.end_all(lab if folders else "")
        return wrong + misbehaved(stage, moment, status, command.said)


def misbehaved(stage: str, moment: str, status: int, said: list[str]) -> list[str]:
    """How a run did not end as it should. The last stage is over before a signal comes in the
    middle of it: then the run has ended, and well."""
    if (stage, moment, status) == ([*STAGES][-1], "in", 0):
        return []
    wrong = [] if status == INTERRUPTED else [f"exit status {status}"]
    if said != ["mirrorlab: interrupted"]:
        wrong += [f"said: {line}" for line in said[-3:]]
    return wrong


def main() -> int:
    """See the module's description."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=STAGES, metavar="STAGE", default=[*STAGES])
    parser.add_argument("--moments", nargs="+", choices=MOMENTS, default=[*MOMENTS])
    parser.add_argument("--world", choices=["cloud", "onprem"], default="cloud")
    options = parser.parse_args()
    unwind_on_signals()
    signals = itertools.cycle(SIGNALS)
    print("stage".ljust(26) + "".join(m.rjust(18) for m in options.moments), flush=True)
    dirty = count = 0
    for stage in options.only:
        cells, faults = [], []
        for moment in options.moments:
            signal = next(signals)
            wrong = hit(stage, moment, signal, options.world)
            cells.append(f"{signal} " + ("clean" if not wrong else "LEFT"))
            faults += [f"      {moment}, {signal}: {fault}" for fault in wrong]
            dirty, count = dirty + bool(wrong), count + 1
        next(signals)  # else each moment would keep to one signal
        print(
            "\n".join([stage.ljust(26) + "".join(c.rjust(18) for c in cells), *faults]), flush=True
        )
    print(f"{count} runs, {dirty} of which were not clean")
    return 1 if dirty else 0


if __name__ == "__main__":
    sys.exit(main())
