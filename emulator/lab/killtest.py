"""Power-off at random points of live traffic, many times, every byte compared.

`python -m emulator.lab.killtest [--count N] [--commit sync|async] [--seed S]`

One world without captures. Every round: three kinds of traffic through the pair (bulk
echo, requests of one connection each, an interactive ssh session), the active device loses
power at a random moment, the other takes over, every conversation has to come to its end
with the bytes that were sent. Then the dead device is switched on again and stands by. So
the devices take turns, and the route does not have to be put back.

Prints one line a round and the counts; exit status 0 when no byte was lost, 1 otherwise
(as it should be with async: that is what a BIG-IP does).
"""

from __future__ import annotations

import argparse
import json
import random
import secrets
import socket
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from emulator.lab.deployment import DEVICES
from emulator.lab.faults import silence_ends, trigger
from emulator.lab.instance import Lab
from emulator.lab.scenario import How, Scenario
from emulator.lab.sessions import Sessions
from emulator.lab.wait import LabFault, wait_until
from netns.execute import call_in

# A prime length: a repeated or missing stretch never falls on the same bytes again.
_BLOCK = random.Random(1).randbytes(1_000_003)
_CHUNK = 16 << 10
_PATIENCE_S = 25.0  # an end that hears nothing for so long has lost its connection
_AHEAD = 256 << 10  # bytes the bulk client sends before their echo is back
_ON_S = 0.3  # traffic goes on for so long after it has come back


def stream(at: int, count: int) -> bytes:
    """Bytes [at, at + count) of an endless stream of which each place is its own."""
    start = at % len(_BLOCK)
    return (_BLOCK[start:] + _BLOCK)[:count]


@dataclass
class Tally:
    """What one kind of traffic has met with."""

    counts: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)

    def problem(self, what: str) -> None:
        self.counts["lost"] += 1
        self.problems.append(what)


class Round:
    """The traffic of one round; `stop` is set some time after the takeover."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.stop = threading.Event()
        self.beat = 0  # grows while bytes come back
        self.bulk, self.requests = Tally(), Tally()

    def run_bulk(self) -> None:
        """One connection, full both ways; the end is a half-close and the rest of the echo."""
        try:
            with socket.create_connection((self.address, 7), timeout=_PATIENCE_S) as talk:
                self._bulk(talk)
        except OSError as error:
            self.bulk.problem(f"bulk: {error}")

    def _bulk(self, talk: socket.socket) -> None:
        sent = got = 0
        room = threading.Condition()

        def write() -> None:
            nonlocal sent
            while not self.stop.is_set():
                with room:
                    if sent - got > _AHEAD:
                        room.wait(0.2)
                        continue
                talk.sendall(stream(sent, _CHUNK))
                sent += _CHUNK
            talk.shutdown(socket.SHUT_WR)

        writer = threading.Thread(target=_quietly(write), daemon=True)
        writer.start()
        while data := talk.recv(1 << 16):
            if data != stream(got, len(data)):
                self.bulk.counts["wrong bytes"] += sum(
                    a != b for a, b in zip(data, stream(got, len(data)), strict=True)
                )
            with room:
                got += len(data)
                room.notify()
            self.beat += 1
        writer.join(5)
        self.bulk.counts["bytes"] += got
        if got != sent:
            self.bulk.problem(f"bulk: {sent} bytes sent, {got} came back")

    def run_requests(self) -> None:
        """One connection after the other: a request, its echo, the close."""
        number = 0
        while not self.stop.is_set():
            number += 1
            request = stream(number * 997, 200 + number % 3000)
            try:
                with socket.create_connection((self.address, 7), timeout=_PATIENCE_S) as talk:
                    talk.sendall(request)
                    talk.shutdown(socket.SHUT_WR)
                    answer = b""
                    while data := talk.recv(1 << 16):
                        answer += data
            except OSError as error:
                self.requests.problem(f"request: {error}")
                continue
            self.requests.counts["bytes"] += len(answer)
            self.requests.counts["connections"] += 1
            if answer != request:
                self.requests.problem(f"request of {len(request)} bytes, {len(answer)} came back")


def _quietly(function: Callable[[], None]) -> Callable[[], None]:
    """The reader reports how the connection ended; the writer need not."""

    def run() -> None:
        try:
            function()
        except OSError:
            return

    return run


class KillTest:
    """A pair that is switched off and on again, device by device."""

    def __init__(self, commit: str, seed: int, folder: Path) -> None:
        server = {"type": "standard", "commit": commit, "snat": "pool", "mirroring": True}
        scenario = Scenario.model_validate(
            {
                "name": "kill-test", "title": "kill test", "virtual_server": server,
                "sessions": ["ssh"], "devices": {"failover_timeout_s": 1.2},
                "cloud": {"propagation_delay_s": 0.05},
            }
        )  # fmt: skip
        self._folder = folder
        self._lab = Lab(secrets.token_hex(3), scenario, folder)
        self._random = random.Random(seed)
        self._address = str(scenario.virtual_server.destination)
        self.total: Counter[str] = Counter()

    def run(self, count: int) -> None:
        """`count` rounds; raises LabFault."""
        try:
            self._lab.create()
            self._lab.start()
            self._lab.wait_control_plane()
            for number in range(count):
                active = DEVICES[number % 2]
                self._round(number + 1, active)
                self._revive(active)
        finally:
            self._lab.destroy()

    def _round(self, number: int, active: str) -> None:
        traffic = Round(self._address)
        folder = self._folder / f"round-{number}"
        folder.mkdir()
        ssh = Sessions(self._lab, folder)
        ssh.start()
        client = self._lab.world.namespace("client")
        jobs = [
            threading.Thread(target=lambda job=job: call_in(client, job), daemon=True)
            for job in (traffic.run_bulk, traffic.run_requests, traffic.run_requests)
        ]
        try:
            wait_until("ssh to converse", lambda: ssh.conversing(1), timeout_s=15)
            for job in jobs:
                job.start()
            wait_until("the bulk echo to flow", lambda: traffic.beat > 3, timeout_s=15)
            time.sleep(self._random.uniform(0.0, 0.5))
            killed = time.monotonic()
            trigger(self._lab, active, How.POWER_OFF)
            seen = traffic.beat
            came_back = _came_back(traffic, seen, jobs[0])
            outage_s = time.monotonic() - killed
            time.sleep(_ON_S)
            alive = _lives_on(ssh)
            traffic.stop.set()
            for job in jobs:
                job.join(2 * _PATIENCE_S)
        finally:
            traffic.stop.set()
            ssh.stop()
        self._report(number, active, traffic, alive, outage_s if came_back else None, folder)

    def _report(
        self, number: int, active: str, traffic: Round, alive: str, outage_s: float | None,
        folder: Path,
    ) -> None:  # fmt: skip
        problems = [*traffic.bulk.problems, *traffic.requests.problems]
        if alive:
            problems.append(alive)
        self.total["power-offs"] += 1
        self.total["bulk bytes"] += traffic.bulk.counts["bytes"]
        self.total["requests"] += traffic.requests.counts["connections"]
        wrong = traffic.bulk.counts["wrong bytes"]
        self.total["wrong bytes"] += wrong
        self.total["lost conversations"] += len(problems)
        self.total["rounds with a loss"] += bool(problems or wrong)
        back = f"back after {outage_s:.2f} s" if outage_s else "bulk did not come back"
        counts = f"{traffic.bulk.counts['bytes'] >> 10} KiB, "
        counts += f"{traffic.requests.counts['connections']} requests, {wrong} wrong"
        print(f"{number:4} {active} off, {back}; {counts}  {'; '.join(problems)}", flush=True)

    def _revive(self, node: str) -> None:
        silence_ends(self._lab, node)
        self._lab.start_device(node)

        def mirrors() -> bool:
            self._lab.check_processes()
            return all(self._lab.status(n).get("mirror_channel") == "up" for n in DEVICES)

        wait_until(f"{node} to stand by and the channel to be up", mirrors, timeout_s=20)
        self._lab.wait_control_plane(DEVICES[1 - DEVICES.index(node)])


def _came_back(traffic: Round, seen: int, bulk: threading.Thread) -> bool:
    """Whether echo flowed again after a gap."""
    deadline = time.monotonic() + 2 * _PATIENCE_S
    last, since = traffic.beat, time.monotonic()
    gap = False
    while time.monotonic() < deadline and bulk.is_alive():
        if traffic.beat != last:
            last = traffic.beat
            if gap:
                return True
            since = time.monotonic()
        gap = gap or time.monotonic() - since > 0.5
        time.sleep(0.005)
    return traffic.beat > seen and bulk.is_alive()


def _lives_on(ssh: Sessions) -> str:
    """Nothing, or how the ssh session did not."""
    began = time.time()
    try:
        wait_until(
            "ssh to go on", lambda: ssh.ended() or ssh.progressed(began), timeout_s=_PATIENCE_S
        )
    except LabFault:
        return "ssh: stalled"
    return "".join(ssh.ended()[:1])


def main() -> int:
    """See the module's description."""
    parser = argparse.ArgumentParser(prog="killtest", description="power-offs, bytes compared")
    parser.add_argument("--count", type=int, default=20)
    parser.add_argument("--commit", choices=["async", "sync"], default="sync")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    parser.add_argument("--keep", type=Path, help="leave journals and logs in this folder")
    parser.add_argument("--json", action="store_true", help="the counts as JSON, last line")
    arguments = parser.parse_args()
    print(f"commit {arguments.commit}, seed {arguments.seed}", flush=True)
    with tempfile.TemporaryDirectory(prefix="mirrorlab-kill-") as scratch:
        folder = arguments.keep or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        test = KillTest(arguments.commit, arguments.seed, folder)
        try:
            test.run(arguments.count)
        except LabFault as error:
            print(f"lab fault: {error}", file=sys.stderr)
            return 4
        finally:
            counts = dict(sorted(test.total.items()))
            print(json.dumps(counts) if arguments.json else _table(counts), flush=True)
    return 1 if test.total["rounds with a loss"] else 0


def _table(counts: dict[str, int]) -> str:
    return "\n".join(f"{name:<20} {count}" for name, count in counts.items())


if __name__ == "__main__":
    sys.exit(main())
