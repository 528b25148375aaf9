"""Fuzz every parser, one after the other, as long as it is told to.

`python -m tests.fuzz [--minutes M] [--only TARGET ...] [--slice S] [--counts FILE]`
`python -m tests.fuzz --again TARGET FILE`      one input once more, with its traceback

With atheris (libFuzzer for Python; `make fuzz` installs it) inputs are bred for the code they
reach; without, real samples are mutated at random. One target at a time, each in a process of
its own for a slice of the time; what it has learnt stays in its corpus. A finding, an exception
that is not the parser's own or an input that takes longer than 20 s, is saved below
tests/fuzz/found/, once for each place in the code. Exit status 1 when there are any.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import importlib.util
import json
import os
import random
import signal
import subprocess
import sys
import time
import traceback
from collections import Counter
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
CORPUS, FOUND = HERE / "corpus", HERE / "found"
SLOW_S, LARGEST = 20, 16384
_REPORT_S = 1.0


class Child:
    """One target in this process: runs inputs, counts them, saves what it finds."""

    def __init__(self, name: str, target: Any, stats: Path) -> None:
        self._name, self._target, self._stats = name, target, stats
        self.runs = self.accepted = 0
        self._told = 0.0

    def one(self, data: bytes) -> None:
        """One input."""
        self.runs += 1
        try:
            self._target.run(data)
            self.accepted += 1
        except self._target.own:
            pass
        except Exception as error:  # what else a parser raises is what we look for
            save(self._name, data, error)
        if time.monotonic() - self._told > _REPORT_S:
            self.tell()

    def tell(self) -> None:
        """How far it is, for the parent: libFuzzer ends the process without a word."""
        self._told = time.monotonic()
        self._stats.write_text(json.dumps([self.runs, self.accepted]))


def save(name: str, data: bytes, error: Exception) -> None:
    """Once for each exception and place."""
    frames = traceback.extract_tb(error.__traceback__)
    place = next((f for f in reversed(frames) if "site-packages" not in f.filename), frames[-1])
    key = f"{type(error).__name__} {Path(place.filename).name}:{place.lineno}"
    folder = FOUND / name / hashlib.sha256(key.encode()).hexdigest()[:12]
    if folder.exists():
        return
    folder.mkdir(parents=True)
    (folder / "input").write_bytes(data)
    again = f"python -m tests.fuzz --again {name} {(folder / 'input').relative_to(HERE.parents[1])}"
    text = "".join(traceback.format_exception(error))
    (folder / "report.txt").write_text(f"{key}\n{again}\n\n{text}")
    print(f"found: {name}: {key}: {error!s:.200}\n       {again}", file=sys.stderr, flush=True)


def child(name: str, seconds: int, stats: Path) -> None:
    """Fuzz one target, in this process, to its end."""
    if importlib.util.find_spec("atheris") is None:
        _unguided(name, seconds, stats)
        return
    import atheris  # type: ignore[import-not-found]

    with atheris.instrument_imports(include=["emulator", "netns"]):
        from tests.fuzz.targets import TARGETS
    runner = Child(name, TARGETS[name], stats)
    corpus = CORPUS / name
    _seed(corpus, name, TARGETS[name])
    folder = FOUND / name
    folder.mkdir(parents=True, exist_ok=True)
    options = [f"-max_total_time={seconds}", f"-timeout={SLOW_S}", f"-max_len={LARGEST}"]
    options += [f"-artifact_prefix={folder}/", "-rss_limit_mb=1500", "-verbosity=0"]
    atheris.Setup([sys.argv[0], *options, str(corpus)], runner.one)
    atheris.Fuzz()


def _seed(corpus: Path, name: str, target: Any) -> None:
    corpus.mkdir(parents=True, exist_ok=True)
    for sample in target.samples():
        data = sample[:LARGEST]
        path = corpus / f"sample-{hashlib.sha256(data).hexdigest()[:16]}"
        if not path.exists():
            path.write_bytes(data)


def _unguided(name: str, seconds: int, stats: Path) -> None:
    from tests.fuzz.targets import TARGETS

    runner = Child(name, TARGETS[name], stats)
    samples = [bytes(sample[:LARGEST]) for sample in TARGETS[name].samples()]
    dice = random.Random()
    signal.signal(signal.SIGALRM, _too_slow)
    until = time.monotonic() + seconds
    for sample in samples:
        runner.one(sample)
    while time.monotonic() < until:
        signal.alarm(SLOW_S)
        runner.one(mutated(dice, samples))
    signal.alarm(0)
    runner.tell()


def _too_slow(*_: object) -> None:
    raise TimeoutError(f"longer than {SLOW_S} s")


def mutated(dice: random.Random, samples: list[bytes]) -> bytes:
    """One of the samples with a few bytes changed, left out, repeated or taken from another."""
    data = bytearray(dice.choice(samples))
    for _ in range(dice.choice((1, 1, 2, 4, 16))):
        at = dice.randrange(len(data) + 1)
        length = dice.choice((1, 1, 2, 4, 8, 64))
        match dice.randrange(6):
            case 0:
                data[at : at + length] = dice.randbytes(length)
            case 1:
                del data[at : at + length]
            case 2:
                data[at:at] = data[at : at + length]
            case 3:
                other = dice.choice(samples)
                start = dice.randrange(len(other) + 1)
                data[at : at + length] = other[start : start + length]
            case 4:
                data[at : at + 1] = bytes([dice.choice((0, 1, 0x7F, 0x80, 0xFF))])
            case 5 if at < len(data):
                data[at] ^= 1 << dice.randrange(8)
    return bytes(data)


def run(names: list[str], minutes: float, slice_s: int, counts: Path | None) -> int:
    """All targets in turn until the time is over; the number of findings."""
    total: Counter[str] = Counter()
    accepted: Counter[str] = Counter()
    began = time.monotonic()
    while time.monotonic() - began < minutes * 60:
        for name in names:
            left_s = minutes * 60 - (time.monotonic() - began)
            if left_s < 1:
                break
            stats = CORPUS / f"{name}.count"
            stats.parent.mkdir(parents=True, exist_ok=True)
            stats.unlink(missing_ok=True)
            argv = [sys.executable, "-m", "tests.fuzz", "--child", name, "--stats", str(stats)]
            argv += ["--slice", str(max(1, min(slice_s, int(left_s))))]
            with (CORPUS / f"{name}.log").open("wb") as log:
                done = subprocess.run(argv, stdout=log, stderr=log, check=False)
            with contextlib.suppress(OSError, ValueError):
                runs, taken = json.loads(stats.read_text())
                total[name] += runs
                accepted[name] += taken
            if done.returncode and not stats.exists():
                print(f"{name} could not be started: {CORPUS / name}.log", file=sys.stderr)
            text = table(names, total, accepted, time.monotonic() - began)
            if counts is not None:
                counts.write_text(text + "\n")
    print(text)
    return len(findings())


def findings() -> list[Path]:
    """Saved inputs, of exceptions and of libFuzzer's own (timeout, memory)."""
    return sorted(
        p for p in FOUND.glob("*/**/*") if p.name == "input" or ("-" in p.name and p.is_file())
    )


def table(names: list[str], total: Counter[str], accepted: Counter[str], seconds: float) -> str:
    """Counts by target."""
    found = Counter(path.relative_to(FOUND).parts[0] for path in findings())
    lines = [f"{'target':<16}{'executions':>13}{'accepted':>13}{'findings':>10}"]
    lines += [f"{n:<16}{total[n]:>13,}{accepted[n]:>13,}{found[n]:>10}" for n in names]
    lines.append(
        f"{'all':<16}{sum(total.values()):>13,}{sum(accepted.values()):>13,}"
        f"{sum(found.values()):>10}   after {seconds / 60:.0f} minutes"
    )
    return "\n".join(lines)


def main() -> int:
    """See the module's description."""
    parser = argparse.ArgumentParser(prog="fuzz", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--only", nargs="+", metavar="TARGET")
    parser.add_argument("--slice", type=int, default=60, metavar="S", help="seconds a turn")
    parser.add_argument("--counts", type=Path, help="write the counts there after every turn")
    parser.add_argument("--again", nargs=2, metavar=("TARGET", "FILE"))
    parser.add_argument("--child", help=argparse.SUPPRESS)
    parser.add_argument("--stats", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        child(options.child, options.slice, options.stats)
        return 0
    from tests.fuzz.targets import TARGETS

    if options.again:
        name, path = options.again
        with contextlib.suppress(*TARGETS[name].own):
            TARGETS[name].run(Path(path).read_bytes())
        return 0
    unknown = set(options.only or ()) - set(TARGETS)
    if unknown:
        parser.error(f"no target {', '.join(sorted(unknown))}; there are: {', '.join(TARGETS)}")
    os.environ.setdefault("PYTHONHASHSEED", "0")
    found = run(options.only or [*TARGETS], options.minutes, options.slice, options.counts)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
