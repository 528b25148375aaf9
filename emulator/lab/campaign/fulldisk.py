"""Runs whose disk is full: one clear line, the right exit status, and nothing is left.

`python -m emulator.lab.campaign.fulldisk [--only output|state]`

A tmpfs of a few KiB takes the place of the run's output folder, or of /run/mirrorlab (in a mount
namespace of the command's own, so that nobody else's labs are in it). The sizes are such that
space is used up at another stage each time. Exit status 1 when a run did not end as it should.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

from emulator.lab.campaign.cleanstages import QUICK
from emulator.lab.campaign.cleanup import MIRRORLAB
from emulator.lab.campaign.leftovers import Trace
from emulator.lab.instance import ROOT
from emulator.lab.interrupts import unwind_on_signals

SIZES_KIB = {"output": (4, 16, 64, 128, 400, 1500), "state": (4, 16, 64, 400, 1500)}
ENDS = {3, 4}  # the host cannot; the run is void
# $1: KiB, $2: where; the rest is the command.
_FULL = (
    'mount -t tmpfs -o "size=$1k" tmpfs "$2" || exit 99; where=$2; shift 2; "$@"; status=$?; '
    'echo; ls "$where"; exit $status'
)


def squeeze(kind: str, size: int) -> tuple[int, str, list[str]]:
    """A run with so little space: exit status, what it said, what was wrong."""
    with tempfile.TemporaryDirectory(prefix="cleanup-proof-") as scratch:
        runs, temporary = Path(scratch) / "runs", Path(scratch) / "tmp"
        for folder in (runs, temporary):
            folder.mkdir()
        scenario = Path(scratch) / "quick.yaml"
        scenario.write_text(json.dumps(QUICK))
        full = runs if kind == "output" else ROOT
        words = ["unshare", "--mount", "sh", "-c", _FULL, "sh", str(size), str(full)]
        words += [*MIRRORLAB, "run", str(scenario), "--output", str(runs)]
        with Trace(temporary) as trace:
            done = subprocess.run(
                words, capture_output=True, text=True, timeout=240, env=trace.environment()
            )
            there = done.stdout.rpartition("\n\n")[2].split()
            seen = there if kind == "output" else [p.name for p in runs.glob("*-*")]
            labs = {name.rsplit("-", 1)[1] for name in seen if "-" in name}
            wrong = [thing for lab in labs or {"no-lab-yet"} for thing in trace.left(lab)]
            if kind == "state":
                wrong += [f"state folder {name}" for name in there]
            for lab in labs:
                trace.end_all(lab)
        said = [line for line in done.stderr.splitlines() if " s  " not in line]
        text = said[-1] if said else _void(done.stdout)
        if done.returncode not in ENDS:
            wrong.append(f"exit status {done.returncode}")
        if len(said) > 1 or "Traceback" in done.stderr + done.stdout:
            wrong += [f"said: {line}" for line in said[-4:]]
        if "space" not in text:
            wrong.append("does not say that there is no space left")
        return done.returncode, text, wrong


def _void(story: str) -> str:
    return next((line.strip() for line in story.splitlines() if "void" in line.lower()), "")


def main() -> int:
    """See the module's description."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", choices=SIZES_KIB)
    options = parser.parse_args()
    unwind_on_signals()
    dirty = 0
    for kind, sizes in SIZES_KIB.items():
        for size in sizes if options.only in (None, kind) else ():
            status, said, wrong = squeeze(kind, size)
            verdict = "clean" if not wrong else "LEFT"
            print(f"{kind:<7} {size:>5} KiB  exit {status}  {verdict}  {said}", flush=True)
            for thing in wrong:
                print(f"      {thing}", flush=True)
            dirty += bool(wrong)
    return 1 if dirty else 0


if __name__ == "__main__":
    sys.exit(main())
