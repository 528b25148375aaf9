"""The sessions of one run: their processes in the client's namespace, and their logs."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

from emulator.lab.instance import Lab
from emulator.lab.session import LINE_BYTES
from netns.execute import spawn


@dataclass(slots=True)
class _Log:
    """What has been read of one session's log."""

    path: Path
    offset: int = 0
    entries: list[dict[str, object]] = field(default_factory=list)

    def read(self) -> list[dict[str, object]]:
        if self.path.exists():
            with self.path.open() as file:
                file.seek(self.offset)
                for line in file:
                    if not line.endswith("\n"):
                        break  # still being written
                    self.offset += len(line.encode())
                    self.entries.append(json.loads(line))
        return self.entries


class Sessions:
    """Starts, watches and ends them."""

    def __init__(self, lab: Lab, folder: Path) -> None:
        self._lab, self._folder = lab, folder
        self._processes: list[subprocess.Popen[bytes]] = []
        self._logs = {
            name: _Log(folder / f"session-{name}.jsonl") for name in lab.scenario.sessions
        }
        self._settled: dict[str, str] = {}

    def start(self) -> None:
        """One process per session."""
        lab = self._lab
        address = str(lab.scenario.virtual_server.destination)
        etc = lab.folder / "etc"
        for name, log in self._logs.items():
            argv: list[str | Path] = [sys.executable, "-m", "emulator.lab.session"]
            argv += [name, address, log.path, etc]
            with (lab.folder / f"session-{name}.log").open("wb") as output:
                namespace = lab.world.namespace("client")
                self._processes.append(spawn(namespace, argv, log=output, etc=etc))

    def conversing(self, lines: int) -> bool:
        """Whether every session has had that many lines echoed."""
        return all(
            _received(log.read()) >= lines * LINE_BYTES[name] for name, log in self._logs.items()
        )

    def ended(self) -> list[str]:
        """Sessions whose program has come to an end, with its reason."""
        found = []
        for name, log in self._logs.items():
            for entry in log.read():
                if entry["what"] == "ended":
                    found.append(f"{name}: {entry['reason']}")
        return found

    def progressed(self, since: float) -> bool:
        """Whether every session has had bytes come back after `since`, wall-clock seconds."""
        return all(
            any(e["what"] == "progress" and float(str(e["time"])) > since for e in log.read())
            for log in self._logs.values()
        )

    def settled(self, since: float, lived_s: float) -> list[str]:
        """Newly settled sessions, a line each: ended, or still echoing `lived_s` after they
        had first come back. `since`: wall-clock seconds of the failover."""
        news = []
        for name, log in self._logs.items():
            if name in self._settled:
                continue
            text = _settled(log.read(), since, lived_s)
            if text:
                self._settled[name] = text
                news.append(f"{name} {text}")
        return news

    @property
    def all_settled(self) -> bool:
        return len(self._settled) == len(self._logs)

    def stop(self) -> None:
        """Kill what is left; the PID namespace takes the children along."""
        for process in self._processes:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGKILL)
        for process in self._processes:
            process.wait()
        self._processes.clear()


def _received(entries: list[dict[str, object]]) -> int:
    counts = [e["received"] for e in entries if e["what"] == "progress"]
    return int(str(counts[-1])) if counts else 0


def _settled(entries: list[dict[str, object]], since: float, lived_s: float) -> str:
    """ "ended: ..." or "lives on", or nothing while it is open."""
    for entry in entries:
        if entry["what"] == "ended":
            return f"ended: {entry['reason']}"
    # Echoes that come just after the trigger may have been under way: a gap must have passed.
    times = [
        float(str(after["time"]))
        for before, after in pairwise(entries)
        if after["what"] == "progress"
        and before["what"] == "progress"
        and after["received"] != before["received"]
        and float(str(after["time"])) > since
    ]
    gaps = [
        after
        for before, after in pairwise([since, *times])
        if after - before > 1.0 or after - since > 2 * lived_s
    ]
    if gaps and times[-1] - gaps[0] >= lived_s:
        return "lives on"
    return ""
