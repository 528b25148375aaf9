"""Labs that are killed at a random moment, again and again: nothing may be left of any of them.

`python -m emulator.lab.campaign.cleanup [--count N] [--seed S] [--only TRIAL]`

Every trial starts a lab by the command a user has (`run`, `replay`, or `up` with a session, a
failover and a second one), and at a random moment of a random stage one of VICTIMS gets
kill -9, or the command's process group a signal as a terminal sends it. Then `mirrorlab down`
of this lab, and of no other, where the command did not live to take it down itself. What
`leftovers` then finds is a leak: nothing is, where all is well.

A command that was not killed has to end by itself, with an exit status it documents, and to
have taken its lab down before `down` is called.

Prints one line a trial, then how many trials hit which process in which stage. Exit status:
0 nothing was left, 1 something was.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import re
import secrets
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from emulator.lab.campaign.leftovers import Trace
from emulator.lab.interrupts import unwind_on_signals
from emulator.lab.settings.scenario import How
from emulator.lab.wait import LabFault, wait_until
from netns.build import labs, processes

MIRRORLAB = (sys.executable, "-m", "emulator.cli")
RECORDING = "captures/reference/article-telnet.pcapng"
COMMANDS = (
    "run article-snat-pool",
    "run article-snat-pool --virtual-server standard --commit sync --how power-off",
    "run onprem",
    "run onprem --virtual-server standard --commit sync --how process-crash",
    "run workloads",
    "run load-balancer-azure",
    "run mirror-channel-cut",
    "run split-brain-onprem",
    f"replay {RECORDING} --scenario article",
    "up article-snat-pool",
    "up onprem",
)
SIGNALS = {"SIGINT": signal.SIGINT, "SIGTERM": signal.SIGTERM, "SIGHUP": signal.SIGHUP}
# What a process is by its command line; the first match counts.
KINDS = (
    ("wrapper", r"^(unshare|ip netns|sh -c)"),
    ("bigip-a", r"emulator\.device \S*/bigip-a\.json"),
    ("bigip-b", r"emulator\.device \S*/bigip-b\.json"),
    ("fabric", r"netns\.cloud\.(server|dataplane)"),
    ("api", r"netns\.cloud\.api"),
    ("capture", r"^dumpcap"),
    ("server", r"^(sshd|/usr/sbin/|inetutils-inetd|telnetd|cat|/usr/lib/postgresql|postgres)"),
    ("server", r"workload\.(ownservers|shortservers|fleet server)|replay\.player server"),
    ("session", r"emulator\.lab\.(workload|replay)|^(ssh|telnet|psql) "),
)
VICTIMS = (
    "runner", "everything", "bigip-a", "bigip-b", "fabric", "api", "capture", "server",
    "session", "wrapper", *SIGNALS,
)  # fmt: skip
# Exit statuses of a command that has lost a process, and of one that got a signal: late enough,
# and it has come to its own end.
ENDS = ({0, 1, 4}, {130, 0, 1, 4})
_STAGE = re.compile(r"^ *[\d.]+ s  (.*)$")
_STAGES = 8  # of a run, about: later ones are drawn in vain where a run has fewer
_LAST_S = 240.0


@dataclass
class Command:
    """One mirrorlab command in a process group of its own, and how far it has come."""

    words: list[str]
    trace: Trace
    program: Sequence[str] = MIRRORLAB
    stages: list[str] = field(default_factory=lambda: ["start"])
    said: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.process = subprocess.Popen(
            [*self.program, *self.words], env=self.trace.environment(), start_new_session=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        with self.process.stderr as lines:
            for line in lines:
                if found := _STAGE.match(line):
                    self.stages.append(found[1])
                elif line.strip():
                    self.said.append(line.rstrip())

    def wait(self) -> int:
        """Its exit status; raises LabFault when it does not end."""
        try:
            status = self.process.wait(timeout=_LAST_S)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            raise LabFault(f"{' '.join(self.words)} does not end") from None
        self._reader.join(5)  # a grandchild may hold the pipe: that is for leftovers to find
        return status


@dataclass(frozen=True)
class Trial:
    """What happened in one."""

    number: int
    words: str
    stage: str
    victim: str
    status: int | None
    left: list[str]

    def __str__(self) -> str:
        end = "killed" if self.status is None or self.status < 0 else f"exit {self.status}"
        verdict = "nothing left" if not self.left else f"LEFT {len(self.left)}"
        return (
            f"{self.number:4}  {self.victim:<10}  {self.stage:<38.38}  {end:<8}  {verdict:<13}"
            + (f"  {self.words}")
        )


class Attack:
    """One trial: a lab, a victim, a moment, and what is left afterwards."""

    def __init__(self, seed: str, scratch: Path) -> None:
        self._random = random.Random(seed)
        self._runs, self._temporary = scratch / "runs", scratch / "tmp"
        self.words = self._random.choice(COMMANDS).split()
        self.victim = self._random.choice(VICTIMS)
        self._stage = self._random.randrange(_STAGES)
        self._pause_s = self._random.uniform(0.0, 1.0)
        self._lab = f"c{secrets.token_hex(3)}" if self.words[0] == "up" else ""

    def run(self, number: int) -> Trial:
        """The whole trial; raises LabFault."""
        for folder in (self._runs, self._temporary):
            folder.mkdir()
        with Trace(self._temporary) as trace:
            way = self._by_hand if self._lab else self._command
            try:
                stage, status, wrong = way(trace)
                left = wrong + self._take_down(trace, status)
            finally:
                trace.end_all(self._lab)
        return Trial(number, " ".join(self.words), stage, self.victim, status, left)

    def _command(self, trace: Trace) -> tuple[str, int | None, list[str]]:
        """`run` or `replay`, hit in the middle: the stage, the exit status, what was wrong."""
        command = Command([*self.words, "--output", str(self._runs)], trace)

        def there() -> bool:
            return len(command.stages) > self._stage or command.process.poll() is not None

        wait_until("a stage", there, timeout_s=_LAST_S)
        time.sleep(self._pause_s)
        self._look_for_lab()
        stage = self._hit(command, trace)
        status = command.wait()
        self._look_for_lab()
        return stage, status, self._wrong_end(status, command.said)

    def _look_for_lab(self) -> None:
        """A run's folder bears the lab's id; while Python is still starting there is none."""
        for path in self._runs.glob("*-*"):
            self._lab = path.name.rsplit("-", 1)[1]

    def _by_hand(self, trace: Trace) -> tuple[str, int | None, list[str]]:
        """`up`, then a session and a failover; one of the three is hit. No exit status where
        the lab is up afterwards, as it should be."""
        at = ["--name", self._lab]
        command = Command([*self.words, *at], trace)
        if self._stage < _STAGES // 2:
            time.sleep(self._pause_s * 2)
            self._hit(command, trace)
            status = command.wait()
            return "up", status or None, self._wrong_end(status, command.said)
        if command.wait():
            raise LabFault(f"up failed: {command.said}")
        how = self._random.choice(list(How)[:4]).value
        using = [
            Command(["exec", "client", *at, "--", "ssh", "vip", "sleep", "60"], trace),
            Command(["failover", *at, "--how", how], trace),
        ]
        time.sleep(self._pause_s * 3)
        self._hit(self._random.choice(using), trace)
        for other in using:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(other.process.pid, signal.SIGKILL)
            other.wait()
        return f"ssh and failover {how} by hand", None, []

    def _hit(self, command: Command, trace: Trace) -> str:
        """Signal or kill; the stage in which that was."""
        if self.victim in SIGNALS:
            stage = command.stages[-1]
            with contextlib.suppress(ProcessLookupError):
                os.killpg(command.process.pid, SIGNALS[self.victim])
            return stage
        pids = self._victims(command)
        stage = command.stages[-1] if pids else "too late"
        trace.note(self._lab)
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return stage

    def _victims(self, command: Command) -> list[int]:
        """Whom to kill; waits for a process of the kind, while the command lives."""
        if self.victim == "runner":
            return [command.process.pid]
        if self.victim == "everything":
            found = [command.process.pid, *processes(labs().get(self._lab, []))]
            self._random.shuffle(found)
            return found
        while True:
            ended = command.process.poll() is not None
            self._look_for_lab()
            if self._lab and (found := list(of_kind(self.victim, self._lab))):
                return [self._random.choice(found)]
            if ended:
                return []
            time.sleep(0.02)

    def _wrong_end(self, status: int, said: list[str]) -> list[str]:
        """How no command may end, unless it was killed itself."""
        number = SIGNALS.get(self.victim)
        if number is not None and status == -number:
            return []  # Python had not come to our handlers: it died of the signal
        if any("Traceback" in line for line in said):
            return [f"a traceback: {said[-1]}"]
        if self.victim in ("runner", "everything") or status in ENDS[self.victim in SIGNALS]:
            return []
        return [f"exit status {status}: {said[-1:]}"]

    def _take_down(self, trace: Trace, status: int | None) -> list[str]:
        """What is left: at once where the command ended by itself, else after `down`."""
        if not self._lab:
            return trace.left("no-lab-yet")
        trace.note(self._lab)
        left = trace.left(self._lab) if status is not None and status >= 0 else []
        down = [*MIRRORLAB, "down", "--name", self._lab]
        done = subprocess.run(down, capture_output=True, text=True, timeout=60, check=False)
        if done.returncode:
            left.append(f"down failed: {done.stderr.strip()}")
        return left + [thing for thing in trace.left(self._lab) if thing not in left]


def of_kind(kind: str, lab: str) -> Iterator[int]:
    """The lab's processes of that kind."""
    for pid in processes(labs().get(lab, [])):
        with contextlib.suppress(OSError):
            words = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
            if next((k for k, pattern in KINDS if re.search(pattern, words)), "") == kind:
                yield pid


def table(trials: list[Trial]) -> str:
    """How many trials hit which process in which stage, and how many of them left something."""
    cells = Counter((_general(t.stage), t.victim) for t in trials)
    dirty = Counter((_general(t.stage), t.victim) for t in trials if t.left)
    stages = list(dict.fromkeys(_general(t.stage) for t in trials))
    lines = ["stage".ljust(24) + "".join(v.rjust(11) for v in VICTIMS)]
    for stage in sorted(stages, key=lambda s: ORDER.index(s) if s in ORDER else len(ORDER)):
        row = [
            f"{cells[stage, v]}" + (f" ({dirty[stage, v]}!)" if dirty[stage, v] else "")
            if cells[stage, v] else "." for v in VICTIMS
        ]  # fmt: skip
        lines.append(stage.ljust(24) + "".join(cell.rjust(11) for cell in row))
    return "\n".join(lines)


ORDER = (
    "start", "building the world", "starting", "opening", "steady traffic", "mirroring channel",
    "failover", "and back", "the heartbeats pass again", "session settled", "reading the captures",
    "writing the report", "up", "by hand", "too late",
)  # fmt: skip


def _general(stage: str) -> str:
    if stage.endswith("by hand"):
        return "by hand"
    if stage == "start":
        return stage
    return next((s for s in ORDER[1:] if stage.startswith(s)), "session settled")


def main() -> int:
    """See the module's description."""
    parser = argparse.ArgumentParser(prog="cleanup", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    parser.add_argument("--only", type=int, metavar="TRIAL", help="this one of the seed's")
    options = parser.parse_args()
    unwind_on_signals()
    print(f"seed {options.seed}", flush=True)
    trials: list[Trial] = []
    for number in [options.only] if options.only else range(1, options.count + 1):
        with tempfile.TemporaryDirectory(prefix="cleanup-proof-") as scratch:
            try:
                trial = Attack(f"{options.seed}/{number}", Path(scratch)).run(number)
            except LabFault as error:
                print(f"{number:4}  lab fault: {error}", flush=True)
                return 4
        print(trial, flush=True)
        for thing in trial.left:
            print(f"      {thing}", flush=True)
        trials.append(trial)
    dirty = sum(bool(trial.left) for trial in trials)
    print(f"\n{table(trials)}\n\n{len(trials)} labs, {dirty} of which left something")
    return 1 if dirty else 0


if __name__ == "__main__":
    sys.exit(main())
