"""The sessions of one run: their processes in the client's namespace, and their logs."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

from emulator.lab.deployment import entry_address
from emulator.lab.instance import Lab
from emulator.lab.workload.session import LINE_BYTES, wake_file
from netns.execute import spawn

MIN_LINES = 5  # exchanged by every session before anything is done to it


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

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._logs)

    @property
    def held_from_start(self) -> int:
        return len(self._logs)

    @property
    def remaining_s(self) -> float:
        return 0.0

    def opened(self) -> bool:
        return self.conversing(MIN_LINES)

    def steady_over(self, elapsed_s: float, planned_s: float, *, failover: bool) -> bool:
        return elapsed_s >= planned_s

    def steady_at_most_s(self, planned_s: float) -> float:
        return planned_s

    def failover_begins(self) -> None:
        """Nothing: they go on as they are."""

    def start(self) -> None:
        """One process per session."""
        lab = self._lab
        address = str(entry_address(lab.scenario))
        etc = lab.folder / "etc"
        for name, log in self._logs.items():
            argv: list[str | Path] = [sys.executable, "-m", "emulator.lab.workload.session"]
            argv += [name, address, log.path, etc]
            with (lab.folder / f"session-{name}.log").open("wb") as output:
                namespace = lab.world.namespace("client")
                self._processes.append(spawn(namespace, argv, log=output, etc=etc))

    def conversing(self, lines: int) -> bool:
        """Whether every session has had that many lines echoed."""
        return all(
            _received(log.read()) >= lines * LINE_BYTES[name] for name, log in self._logs.items()
        )

    def failed_to_open(self) -> list[str]:
        """Processes that ended without a word in their log: a fault of ours."""
        return [
            name
            for name, process in zip(self._logs, self._processes, strict=False)
            if process.poll() not in (None, 0)
        ]

    def ended(self) -> list[str]:
        """Sessions whose program has come to an end, with its reason."""
        found = []
        for name, log in self._logs.items():
            for entry in log.read():
                if entry["what"] == "ended":
                    found.append(f"{name}: {entry['reason']}")
        return found

    def wrong_octets(self) -> int:
        """Bytes that came back and were not the ones due: altered, repeated or out of place."""
        found = [e for log in self._logs.values() for e in log.read() if e["what"] == "wrong"]
        return sum(int(str(e["octets"])) for e in found)

    def progressed(self, since: float) -> bool:
        """Whether every session has had bytes come back after `since`, wall-clock seconds."""
        return all(
            any(e["what"] == "progress" and float(str(e["time"])) > since for e in log.read())
            for log in self._logs.values()
        )

    def settled(self, routes_effective: float | None, lived_s: float) -> list[str]:
        """Newly settled sessions, a line each: ended, or living on.

        `routes_effective`: wall-clock seconds since when the fabric is as it will stay; a
        session lives on when bytes it wrote after that have come back, and still do
        `lived_s` later. None: not yet, then only ends count.
        """
        news = []
        for name, log in self._logs.items():
            if routes_effective is not None:
                wake_file(log.path).touch()
            if name in self._settled:
                continue
            text = _settled(log.read(), routes_effective, lived_s)
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
        for log in self._logs.values():
            wake_file(log.path).unlink(missing_ok=True)


def _received(entries: list[dict[str, object]]) -> int:
    counts = [e["received"] for e in entries if e["what"] == "progress"]
    return int(str(counts[-1])) if counts else 0


def _settled(
    entries: list[dict[str, object]], routes_effective: float | None, lived_s: float
) -> str:
    """ "ended: ..." or "lives on", or nothing while it is open."""
    for entry in entries:
        if entry["what"] == "ended":
            return f"ended: {entry['reason']}"
    if routes_effective is None:
        return ""
    progress = [
        (float(str(e["time"])), int(str(e["sent"])), int(str(e["received"])))
        for e in entries
        if e["what"] == "progress"
    ]
    written_before = max(
        (sent for time, sent, _ in progress if time <= routes_effective), default=0
    )
    # A feed writes nothing: all it received after that moment counts.
    echoes = [t for t, _, got in progress if t > routes_effective and got > written_before]
    return "lives on" if echoes and echoes[-1] - echoes[0] >= lived_s else ""
