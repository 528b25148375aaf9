"""`python bench/run.py [CONTEST ...]`: measure, print the table, keep it (root).

Each contest runs in a process of its own with a deadline: one that fails is reported as failed,
and the others go on. Exit 1 when a goal was missed or a contest failed.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench import page, single, traffic
from bench.growth import SERIES
from bench.harness import Contest, Row, Settings, failed, measure, table
from emulator.lab.interrupts import unwind_on_signals

CONTESTS = {contest.name: contest for contest in (*traffic.CONTESTS, *single.CONTESTS)}
RESULTS = Path(__file__).with_name("results.json")
DEADLINE_S = 600.0


def say(text: str) -> None:
    """Progress."""
    print(text, file=sys.stderr, flush=True)


def apart(contest: Contest, settings: Settings) -> list[Row]:
    """One contest in its own process."""
    argv = [sys.executable, __file__, contest.name, "--inside", "--repeat", str(settings.rounds)]
    argv += ["--quick"] if settings.quick else []
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process:
        try:
            out, _ = process.communicate(timeout=DEADLINE_S)
        except subprocess.TimeoutExpired:
            end(process)
            return failed(contest, f"took longer than {DEADLINE_S:g} s")
        except KeyboardInterrupt:
            end(process)
            raise
    if process.returncode:
        return failed(contest, out.strip() or f"exit status {process.returncode}")
    return [Row(**row) for row in json.loads(out)]


def end(process: subprocess.Popen[str]) -> None:
    """It takes its labs down first."""
    process.terminate()
    try:
        process.communicate(timeout=60)
    except subprocess.TimeoutExpired:
        process.kill()


def grown(name: str, settings: Settings) -> dict[str, Any]:
    """One series, in its own process; what it says of itself, failed or not."""
    say(f"growth: {name} ...")
    script = str(Path(__file__).with_name("growth.py"))
    argv = [sys.executable, script, name, *(["--quick"] if settings.quick else [])]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process:
        try:
            out, _ = process.communicate(timeout=DEADLINE_S)
            found: dict[str, Any] = json.loads(out)[0]
        except (subprocess.TimeoutExpired, ValueError) as error:
            end(process)
            found = asdict(SERIES[name][1]) | {"failed": str(error)}
    return found


def inside(contest: Contest, settings: Settings) -> int:
    """Measure here; rows on stdout, or why there are none."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    try:
        rows = measure(contest, settings, say)
    except Exception as error:  # whatever it is, the other contests go on
        if os.environ.get("BENCH_TRACE"):
            raise
        print(f"{type(error).__name__}: {error}")
        return 1
    print(json.dumps([row.as_json() for row in rows]))
    return 0


def host() -> dict[str, object]:
    """What the numbers belong to."""
    return {
        "kernel": platform.release(),
        "python": platform.python_version(),
        "processors": os.cpu_count(),
        "load_at_start": round(os.getloadavg()[0], 2),
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


def printed(rows: list[Row]) -> str:
    """The table as text."""
    head = ["figure", "here", "peer", "least", "median", "most", "goal", "met"]
    lines = [head, *table(rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(head))]
    return "\n".join(
        "  ".join(cell.ljust(w) for cell, w in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


def main() -> int:
    """See the module's text."""
    unwind_on_signals()  # labs are taken down on the way out
    parser = argparse.ArgumentParser(prog="bench/run.py", description="side by side")
    parser.add_argument("contest", nargs="*", help=f"of: {', '.join(CONTESTS)}")
    parser.add_argument("--repeat", type=int, default=None, metavar="N", help="rounds")
    parser.add_argument("--quick", action="store_true", help="smaller in every way")
    parser.add_argument("--list", action="store_true", help="the contests and their figures")
    parser.add_argument("--write", action="store_true", help="results.json, docs/performance.md")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    settings = Settings(arguments.repeat or (3 if arguments.quick else 5), arguments.quick)
    if unknown := [name for name in arguments.contest if name not in CONTESTS]:
        parser.error(f"no contest {unknown[0]!r}; there are: {', '.join(CONTESTS)}")
    chosen = [CONTESTS[name] for name in arguments.contest] or list(CONTESTS.values())
    if arguments.list:
        for contest in chosen:
            print(contest.name, *(f"\n  {figure.title}" for figure in contest.figures))
        return 0
    if arguments.inside:
        return inside(chosen[0], settings)
    about, began, rows = host(), time.monotonic(), []
    for contest in chosen:
        if settings.quick and contest.long:
            say(f"{contest.name}: not with --quick")
            continue
        say(f"{contest.name} ...")
        rows += apart(contest, settings)
    growth = [] if arguments.contest else [grown(name, settings) for name in SERIES]
    about["minutes"] = round((time.monotonic() - began) / 60, 1)
    print(printed(rows))
    if arguments.write:
        page.write(rows, growth, about, RESULTS)
    missed = any(row.failed or row.met is False for row in rows)
    return int(missed or any(series["failed"] for series in growth))


if __name__ == "__main__":
    sys.exit(main())
