"""The traffic of one run that is a replay: the processes at both ends, and their logs."""

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
from emulator.lab.replay.account import RECORDED, Json
from emulator.lab.replay.player import AS_RECORDED
from emulator.lab.wait import LabFault, wait_until
from netns.execute import spawn

FIRST_PORT = 20001  # a port a flow, away from those of the backends' own servers
READY_S = 15.0
SLACK_S = 20.0  # above what the recording takes: a turn costs a round trip more than it did


@dataclass(frozen=True, slots=True)
class Part:
    """One flow to replay. `start_s`, `end_s`: seconds after the recording's first frame."""

    number: int
    script: Path
    start_s: float
    end_s: float

    @property
    def name(self) -> str:
        return f"flow-{self.number}"


@dataclass(frozen=True, slots=True)
class Replay:
    """What is to be replayed. `mark`: the failover comes after this (frame, second) of it."""

    parts: tuple[Part, ...]
    mark: tuple[int, float] | None
    speed: float
    recorded: Json  # for replay.json

    @property
    def begins_s(self) -> float:
        return min(part.start_s for part in self.parts)

    @property
    def ends_s(self) -> float:
        return max(part.end_s for part in self.parts)

    def marked(self, part: Part) -> bool:
        """Whether the flow had begun by the mark."""
        return self.mark is not None and part.start_s <= self.mark[1]

    def __call__(self, lab: Lab, folder: Path) -> ReplayTraffic:
        """`run_scenario`'s `traffic`."""
        return ReplayTraffic(self, lab, folder)


@dataclass(slots=True)
class _Ledger:
    """What one end has logged so far, of each line only what is asked for."""

    path: Path
    offset: int = 0
    said: dict[str, set[str]] = field(default_factory=dict)  # what -> sessions
    ends: dict[str, str] = field(default_factory=dict)  # session -> reason
    over: dict[str, float] = field(default_factory=dict)  # session -> wall clock
    latest: dict[str, float] = field(default_factory=dict)  # session -> last progress

    def update(self) -> None:
        if not self.path.exists():
            return
        with self.path.open("rb") as file:
            file.seek(self.offset)
            for line in file:
                if not line.endswith(b"\n"):
                    break  # still being written
                self.offset += len(line)
                self._take(json.loads(line))

    def _take(self, entry: dict[str, object]) -> None:
        what, session = str(entry["what"]), str(entry["session"])
        self.said.setdefault(what.removeprefix("server-"), set()).add(session)
        if what.endswith("ended"):
            self.ends[session] = str(entry["reason"])
        elif what == "over":
            self.over[session] = float(str(entry["time"]))
        elif what == "progress":
            self.latest[session] = float(str(entry["time"]))

    def sessions(self, what: str) -> set[str]:
        return self.said.get(what, set())


class ReplayTraffic:
    """`lab.workload.traffic.Traffic`: one client process, a server process in each backend."""

    held_from_start = 0  # flows come and go as they did in the recording

    def __init__(self, replay: Replay, lab: Lab, folder: Path) -> None:
        self._replay, self._lab, self._folder = replay, lab, folder
        self._go = lab.folder / "replay.go"
        self._client = _Ledger(folder / "replay-client.jsonl")
        self._servers: dict[str, _Ledger] = {}
        self._lives_since: dict[str, float] = {}
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._settled: set[str] = set()
        (folder / RECORDED).write_text(json.dumps(replay.recorded, indent=1) + "\n")

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(part.name for part in self._replay.parts)

    @property
    def remaining_s(self) -> float:
        replay = self._replay
        done_s = replay.mark[1] if replay.mark else replay.begins_s
        return max(0.0, replay.ends_s - done_s) / replay.speed + SLACK_S / 4

    @property
    def all_settled(self) -> bool:
        return len(self._settled) == len(self._replay.parts)

    def start(self) -> None:
        """The servers first; and the cloud has to be ready, for the failover's moment comes from
        the recording."""
        if self._replay.mark is not None:
            self._lab.wait_control_plane()
        plan = self._lab.folder / "replay-plan.json"
        plan.write_text(json.dumps(self._plan()))
        backends = self._lab.scenario.virtual_server.pool
        for node in backends:
            address = str(self._lab.world.interface(node, "eth0").address)
            self._servers[node] = _Ledger(self._folder / f"replay-{node}.jsonl")
            self._spawn(node, node, [plan, address])
        wait_until("the replay's servers", self._listening, timeout_s=READY_S)
        self._spawn("client", "client", [plan, "client"])

    def _plan(self) -> Json:
        replay = self._replay
        return {
            "address": str(entry_address(self._lab.scenario)),
            "speed": replay.speed,
            "go": str(self._go),
            "mark": replay.mark,
            "flows": [
                {
                    "name": part.name,
                    "port": FIRST_PORT + number,
                    "script": str(part.script),
                    "start_s": part.start_s,
                    "marked": replay.marked(part),
                }
                for number, part in enumerate(replay.parts)
            ],
        }

    def _spawn(self, name: str, node: str, arguments: list[Path | str]) -> None:
        argv: list[Path | str] = [sys.executable, "-m", "emulator.lab.replay.player", *arguments]
        argv.append((self._folder / f"replay-{name}.jsonl").resolve())
        with (self._lab.folder / f"replay-{name}.log").open("wb") as output:
            self._processes[name] = spawn(self._lab.world.namespace(node), argv, log=output)

    def _listening(self) -> bool:
        if failed := self.failed_to_open():
            raise LabFault(f"the replay's server in {failed[0]} ended")
        return all("" in log.sessions("listening") for log in self._update())

    def opened(self) -> bool:
        self._update()
        return bool(self._client.sessions("open"))

    def failed_to_open(self) -> list[str]:
        return [n for n, process in self._processes.items() if process.poll() not in (None, 0)]

    def ended(self) -> list[str]:
        logs = [self._client, *self._update()]
        ends = [end for log in logs for end in log.ends.items()]
        return [f"{name}: {reason}" for name, reason in ends if reason != AS_RECORDED]

    def steady_over(self, elapsed_s: float, planned_s: float, *, failover: bool) -> bool:
        """Both ends of every flow that had begun are at the mark, or the flow is over; without
        a failover: all there is has been replayed."""
        if not failover:
            self.settled(0.0, 2.0)
            return self.all_settled
        there = self._at_servers("mark")
        at_mark, over = self._client.sessions("mark"), set(self._client.ends)
        begun = {p.name for p in self._replay.parts if self._replay.marked(p)}
        return "" in at_mark and begun <= over | (at_mark & there)

    def steady_at_most_s(self, planned_s: float) -> float:
        replay = self._replay
        until_s = replay.mark[1] if replay.mark else replay.ends_s
        lasts_s = max(0.0, until_s - replay.begins_s) / replay.speed
        return 1.2 * lasts_s + SLACK_S

    def failover_begins(self) -> None:
        self._go.touch()

    def settled(self, routes_effective: float | None, lived_s: float) -> list[str]:
        """A flow is settled that has ended, or whose recording is over and whose probes have
        come back for `lived_s` since, and since the fabric is as it will stay."""
        news = []
        over = self._at_servers("over") & set(self._client.over)
        for name in self.names:
            if name in self._settled:
                continue
            text = self._fate(name, name in over, routes_effective, lived_s)
            if text:
                self._settled.add(name)
                news.append(f"{name} {text}")
        return news

    def _fate(self, name: str, over: bool, effective: float | None, lived_s: float) -> str:
        if name in self._client.ends:
            return f"ended: {self._client.ends[name]}"
        if not over or effective is None:
            return ""
        since, latest = max(effective, self._client.over[name]), self._client.latest.get(name, 0)
        if latest <= since:
            return ""
        return "lives on" if latest - self._lives_since.setdefault(name, latest) >= lived_s else ""

    def stop(self) -> None:
        """Kill what is left; the PID namespaces take their children along."""
        for process in self._processes.values():
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGKILL)
        for process in self._processes.values():
            process.wait()
        self._processes.clear()

    def _update(self) -> list[_Ledger]:
        """The servers' logs, all of them and the client's as they are now."""
        for log in (self._client, *self._servers.values()):
            log.update()
        return list(self._servers.values())

    def _at_servers(self, what: str) -> set[str]:
        return set().union(*(log.sessions(what) for log in self._update()))
