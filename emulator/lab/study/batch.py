"""Many runs, some at a time, each by the command a user has; what is finished is kept.

    FOLDER/<key>/scenario.yaml   what was run
                 result.json     its result, once it is not void
                 runs/...        the run's own folder (captures per node are dropped: the
                                 merged one holds every frame)

A batch that was interrupted goes on where it stopped: a key whose scenario is unchanged and
whose result is there is not run again. Each run is a process of its own, so that reading one
run's captures does not delay another's sessions, and an interrupt lets each clean up.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from emulator.lab.settings.scenario import Scenario
from emulator.lab.wait import LabFault

VOID = 4
ATTEMPTS = 3  # a run that this host disturbed is made again
_GRACE_S = 30.0


@dataclass(frozen=True, slots=True)
class Job:
    """One run; `key` is part of a path; `behind`: done behind the scenario's back."""

    key: str
    scenario: Scenario
    behind: str | None = None


@dataclass(frozen=True, slots=True)
class Done:
    """A finished one. `folder`: the run's own; `reused`: from an earlier batch."""

    job: Job
    result: dict[str, Any]
    folder: Path
    reused: bool = False


Progress = Callable[[Done, int, int], None]


def default_parallel() -> int:
    """A run mostly waits; more of them than this and the host would disturb them."""
    return max(2, (os.cpu_count() or 1) + 1)


class Batch:
    """The runs of one folder. Use as a context: leaving it early ends what is under way."""

    def __init__(self, folder: Path, *, parallel: int | None = None) -> None:
        self._folder = folder
        self._parallel = parallel or default_parallel()
        self._processes: set[subprocess.Popen[str]] = set()
        self._lock = threading.Lock()
        self._ending = False

    def __enter__(self) -> Batch:
        return self

    def __exit__(self, *_: object) -> None:
        self._ending = True
        with self._lock:
            running = list(self._processes)
        for process in running:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGINT)
        for process in running:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(_GRACE_S)

    def run(self, jobs: Sequence[Job], progress: Progress = lambda *_: None) -> dict[str, Done]:
        """All of them; raises LabFault when one stays void or breaks off."""
        found: dict[str, Done] = {}
        pool = ThreadPoolExecutor(self._parallel)
        try:
            for done in pool.map(self._one, jobs):
                found[done.job.key] = done
                progress(done, len(found), len(jobs))
        except BaseException:
            self.__exit__()
            raise
        finally:
            pool.shutdown(cancel_futures=True)
        return found

    def _one(self, job: Job) -> Done:
        folder = self._folder / job.key
        written = json.dumps(job.scenario.model_dump(mode="json"), indent=1)
        written += f"\n# behind: {job.behind}\n" if job.behind else ""
        earlier = _finished(folder, written)
        if earlier is not None:
            return Done(job, *earlier, reused=True)
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        (folder / "scenario.yaml").write_text(written)
        for _ in range(ATTEMPTS):
            status, result, error = self._attempt(folder, job.behind)
            if result is not None and status != VOID:
                break
        else:
            why = result["void"] if result else error
            raise LabFault(f"{job.key}: {why}")
        (folder / "result.json").write_text(json.dumps(result, indent=2) + "\n")
        run = _run_folder(folder)
        for capture in run.glob("*.pcapng"):
            if capture.name != "run.pcapng":
                capture.unlink()
        return Done(job, result, run)

    def _attempt(self, folder: Path, behind: str | None) -> tuple[int, dict[str, Any] | None, str]:
        runs = folder / "runs"
        shutil.rmtree(runs, ignore_errors=True)
        argv = [sys.executable, "-m", "emulator.cli", "run", str(folder / "scenario.yaml")]
        argv += ["--behind", behind] if behind else []
        with self._lock:
            if self._ending:
                raise LabFault("the batch was ended")
            process = subprocess.Popen(
                [*argv, "--format", "json", "--output", str(runs)],
                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            )  # fmt: skip
            self._processes.add(process)
        try:
            out, error = process.communicate()
        finally:
            with self._lock:
                self._processes.discard(process)
        try:
            return process.returncode, json.loads(out), error
        except ValueError:
            last = error.strip().splitlines()
            return process.returncode, None, last[-1] if last else "no message"


def _finished(folder: Path, written: str) -> tuple[dict[str, Any], Path] | None:
    try:
        if (folder / "scenario.yaml").read_text() != written:
            return None
        result = json.loads((folder / "result.json").read_text())
        return result, _run_folder(folder)
    except (OSError, ValueError, StopIteration):
        return None


def _run_folder(folder: Path) -> Path:
    """Where the one run of a job lies; raises StopIteration."""
    return next(p for p in sorted((folder / "runs").iterdir()) if p.is_dir())
