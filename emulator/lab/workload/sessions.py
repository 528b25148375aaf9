"""The sessions of one run: their processes in the client's namespace, and their logs."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from emulator.lab.deployment import entry_address
from emulator.lab.instance import Lab
from emulator.lab.workload import ftp, http, postgresql
from emulator.lab.workload.applications import application, held_flows, members
from emulator.lab.workload.programs import DATAGRAM_BYTES, GREETING_BYTES
from emulator.lab.workload.session import LINE_BYTES, wake_file
from netns.execute import spawn

_MODULES: dict[str, tuple[str, ...]] = {  # sessions with a program of their own
    "fleet": ("fleet", "client"), "http": ("http", "client"),
    "ftp": ("ftp", "ftp"), "ftp-active": ("ftp", "ftp-active"),
    "postgresql": ("postgresql", "postgresql"), "udp": ("datagrams", "udp"),
    "reconnect": ("reconnect", "reconnect"),
}  # fmt: skip
_UNITS = {  # bytes of one exchange, where it is no line
    "http": http.LINES * http.SIZE, "ftp": ftp.SIZE, "ftp-active": 1,
    "postgresql": postgresql.ROW_BYTES, "udp": DATAGRAM_BYTES, "reconnect": GREETING_BYTES,
}  # fmt: skip
_CHECKED = ("ftp", "postgresql")  # settled once the whole has been compared
_BY_ITSELF = ("the program ended it (close)", "not responding")  # ours, ssh's keep-alive
_PATIENT_S = 15.0  # no kernel gives up sooner
Entries = list[dict[str, object]]
MIN_LINES = 5  # exchanged by every session before anything is done to it


@dataclass(slots=True)
class _Log:
    """What has been read of one session's log, by conversation."""

    path: Path
    offset: int = 0
    entries: dict[str, Entries] = field(default_factory=dict)

    def read(self, member: str) -> Entries:
        if self.path.exists():
            with self.path.open() as file:
                file.seek(self.offset)
                for line in file:
                    if not line.endswith("\n"):
                        break  # still being written
                    self.offset += len(line.encode())
                    entry = json.loads(line)
                    self.entries.setdefault(entry["session"], []).append(entry)
        return self.entries.get(member, [])


class Sessions:
    """Starts, watches and ends them."""

    def __init__(self, lab: Lab, folder: Path) -> None:
        self._lab, self._folder = lab, folder
        self._processes: list[subprocess.Popen[bytes]] = []
        self._logs = {
            name: _Log(folder / f"session-{name}.jsonl") for name in lab.scenario.sessions
        }
        self._members = {m: self._logs[s] for s in self._logs for m in members(s)}
        self._settled: dict[str, str] = {}

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._logs)

    @property
    def held_from_start(self) -> int:
        return sum(map(held_flows, self._logs))

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
            module, *kind = _MODULES.get(name, ("session", name))
            argv: list[str | Path] = [sys.executable, "-m", f"emulator.lab.workload.{module}"]
            argv += [*kind, address, log.path, etc, self._options()]
            with (lab.folder / f"session-{name}.log").open("wb") as output:
                namespace = lab.world.namespace("client")
                self._processes.append(spawn(namespace, argv, log=output, etc=etc))

    def _options(self) -> str:
        timer = self._lab.scenario.endpoints.application_timer
        return json.dumps({"application_timer": timer.model_dump() if timer else None})

    def conversing(self, lines: int) -> bool:
        """Whether every session has had that many lines echoed."""
        return all(
            _received(log.read(name)) >= lines * _unit(name) for name, log in self._members.items()
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
        for name, log in self._members.items():
            for entry in log.read(name):
                if entry["what"] == "ended":
                    found.append(f"{name}: {entry['reason']}")
        return found

    def wrong_octets(self) -> int:
        """Bytes that came back and were not the ones due: altered, repeated or out of place."""
        found = [e for n, log in self._members.items() for e in log.read(n) if e["what"] == "wrong"]
        return sum(int(str(e["octets"])) for e in found)

    def progressed(self, since: float) -> bool:
        """Whether every session has had bytes come back that it wrote after `since`, wall-clock
        seconds: a dead one may go on writing for long."""
        return all(_echoes(log.read(name), since) for name, log in self._members.items())

    def settled(self, routes_effective: float | None, lived_s: float) -> list[str]:
        """Newly settled sessions, a line each: ended, or living on.

        `routes_effective`: wall-clock seconds since when the fabric is as it will stay; a
        session lives on when bytes it wrote after that have come back, and still do
        `lived_s` later. None: not yet, then only ends count.
        """
        news = []
        if routes_effective is not None:
            for log in self._logs.values():
                wake_file(log.path).touch()
        for name, log in self._members.items():
            if name in self._settled:
                continue
            entries = log.read(name)
            text = _settled(entries, routes_effective, lived_s)
            if text and name in _CHECKED and not text.startswith("ended"):
                text = text if any(e["what"] == "checked" for e in entries) else ""
            if text and not _in_the_dark(entries, routes_effective, time.time()):
                self._settled[name] = text
                news.append(f"{name} {text}")
        return news

    @property
    def all_settled(self) -> bool:
        return len(self._settled) == len(self._members)

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


def _unit(member: str) -> int:
    return _UNITS.get(member) or LINE_BYTES[application(member)]


def _in_the_dark(entries: Entries, routes_effective: float | None, now: float) -> bool:
    """Whether the program has ended and the captures cannot show it yet.

    A kernel that gives up says nothing to anybody: what shows it is that the next
    retransmission does not come. A program that closes is seen to have when its kernel's
    next retransmission gets through, at the latest when the outage is over as long again.
    """
    for entry in entries:
        if entry["what"] != "ended":
            continue
        ended, reason = float(str(entry["time"])), str(entry["reason"])
        alive = max(
            (float(str(e["time"])) for e in entries if e["what"] == "progress"), default=ended
        )
        if any(word in reason for word in _BY_ITSELF):
            if routes_effective is None:
                return True
            return now < 2 * routes_effective - alive + 1.5
        return ended - alive > _PATIENT_S and now < ended + 1.0 + 0.25 * (ended - alive)
    return False


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
    echoes = _echoes(entries, routes_effective)
    return "lives on" if echoes and echoes[-1] - echoes[0] >= lived_s else ""


def _echoes(entries: list[dict[str, object]], since: float) -> list[float]:
    """When more had come back than had been written until `since`. A feed writes nothing: all
    it received after that moment counts."""
    progress = [
        (float(str(e["time"])), int(str(e["sent"])), int(str(e["received"])))
        for e in entries
        if e["what"] == "progress"
    ]
    written_before = max((sent for time, sent, _ in progress if time <= since), default=0)
    return [t for t, _, got in progress if t > since and got > written_before]
