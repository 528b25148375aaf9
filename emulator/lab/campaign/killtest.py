"""Failovers at random points of live traffic, many times, every byte compared.

`python -m emulator.lab.campaign.killtest [--count N] [--commit sync|async] [--how power-off|...]
[--captures] [--slow BITS_PER_S] [--rate BYTES_PER_S] [--seed S]`

One world. Every round: three kinds of traffic through the pair (bulk echo, requests of one
connection each, an interactive ssh session), the active device fails at a random moment, the
other takes over, every conversation has to come to its end with the bytes that were sent.
Then the failed device is switched on again and stands by. So the devices take turns, and the
route does not have to be put back.

With captures every round is recorded and judged by packets, as a run is: each conversation
that was lost gets its verdict. The captures of one round are removed before the next, the
bulk connection is slowed down (--rate), so the disk holds one round at a time.

Prints one line a round and the counts; exit status 0 when no byte was lost, 1 otherwise
(as it should be with async: that is what a BIG-IP does), 4 after a fault of the lab, 130
interrupted: the counts so far, nothing left behind.
"""

from __future__ import annotations

import argparse
import json
import random
import secrets
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from emulator.lab.campaign.killjudge import Recorder
from emulator.lab.campaign.killtraffic import BulkServer, Loss, Round, lives_on
from emulator.lab.channelfaults import inject
from emulator.lab.deployment import DEVICES
from emulator.lab.faults import forget_connections, silence_ends, trigger
from emulator.lab.instance import Lab
from emulator.lab.interrupts import unwind_on_signals
from emulator.lab.settings.mirror_channel import MirrorChannel
from emulator.lab.settings.scenario import How, Scenario
from emulator.lab.wait import LabFault, wait_until
from emulator.lab.workload.sessions import Sessions
from netns.execute import call_in

_UNDER_WAY_S = 0.1
_ON_S = 0.3  # traffic goes on for so long after it has come back
_CAPTURED_RATE = 2_000_000  # bytes per second of the bulk connection, where all is recorded


@dataclass(frozen=True, slots=True)
class Options:
    """What is done to the pair, and how closely it is watched."""

    commit: str = "sync"
    how: How = How.POWER_OFF
    seed: int = 0
    captures: bool = False
    slow_bits_per_s: int | None = None  # the mirroring channel
    bytes_per_s: int | None = None  # the bulk connection
    patience_s: float = 25.0  # an end that hears nothing for so long has lost its connection


class KillTest:
    """A pair whose devices fail and come back, one after the other."""

    def __init__(self, options: Options, folder: Path) -> None:
        server = {"type": "standard", "commit": options.commit, "snat": "pool", "mirroring": True}
        scenario = Scenario.model_validate(
            {
                "name": "kill-test", "title": "kill test", "virtual_server": server,
                "sessions": ["ssh"], "devices": {"failover_timeout_s": 1.2},
                "cloud": {"propagation_delay_s": 0.05},
            }
        )  # fmt: skip
        self._options, self._folder = options, folder
        self._lab = Lab(secrets.token_hex(3), scenario, folder)
        self._random = random.Random(options.seed)
        self._address = str(scenario.virtual_server.destination)
        self.total: Counter[str] = Counter()

    def run(self, count: int) -> None:
        """`count` rounds; raises LabFault."""
        backend = self._lab.world.interface("backend-1", "eth0")
        server = None
        try:
            self._lab.create()
            self._lab.start()
            if self._options.slow_bits_per_s is not None:
                bits = self._options.slow_bits_per_s
                inject(self._lab, MirrorChannel(fault="slow", bits_per_s=bits))
            namespace = self._lab.world.namespace(backend.node)
            server = call_in(namespace, lambda: BulkServer(str(backend.address)))
            self._lab.wait_control_plane()
            for number in range(count):
                active = DEVICES[number % 2]
                self._round(number + 1, active, server)
                self._revive(active)
        finally:
            if server is not None:
                server.close()
            self._lab.destroy()

    def _round(self, number: int, active: str, server: BulkServer) -> None:
        options = self._options
        traffic = Round(self._address, server, options.patience_s, options.bytes_per_s)
        folder = self._folder / f"round-{number}"
        folder.mkdir()
        recorder = Recorder(self._lab, folder) if options.captures else None
        ssh = Sessions(self._lab, folder)
        losses: list[Loss] = []
        try:
            if recorder is not None:
                recorder.start()
            ssh.start()
            outage_s = self._fail(active, traffic, ssh, losses)
        finally:
            traffic.stop.set()
            ssh.stop()
            if recorder is not None:
                recorder.stop()
        losses += [*traffic.bulk.losses, *traffic.requests.losses]
        self.total["wrong bytes ssh"] += ssh.wrong_octets()
        verdicts = recorder.judge(losses) if recorder is not None else {}
        self._report(number, active, traffic, losses, verdicts, outage_s)

    def _fail(self, active: str, traffic: Round, ssh: Sessions, losses: list[Loss]) -> float | None:
        """The traffic of one round and the failover in it; how long nothing came back."""
        client = self._lab.world.namespace("client")
        jobs = [
            threading.Thread(target=lambda job=job: call_in(client, job), daemon=True)
            for job in (traffic.run_bulk, traffic.run_requests, traffic.run_requests)
        ]
        wait_until("ssh to converse", lambda: ssh.conversing(1), timeout_s=15)
        for job in jobs:
            job.start()
        wait_until("the bulk echo to flow", lambda: traffic.beat > 3, timeout_s=15)
        time.sleep(self._random.uniform(0.0, 0.5))
        failed = time.monotonic()
        trigger(self._lab, active, self._options.how)
        other = DEVICES[1 - DEVICES.index(active)]
        came_back = _came_back(
            traffic, jobs[0], lambda: self._lab.status(other).get("role") == "active",
            2 * self._options.patience_s,
        )  # fmt: skip
        outage_s = time.monotonic() - failed
        time.sleep(_ON_S)
        losses += lives_on(ssh, self._options.patience_s)
        traffic.stop.set()
        for job in jobs:
            job.join(2 * self._options.patience_s)
        return outage_s if came_back else None

    def _report(
        self, number: int, active: str, traffic: Round, losses: list[Loss],
        verdicts: dict[Loss, str], outage_s: float | None,
    ) -> None:  # fmt: skip
        wrong = traffic.bulk.counts["wrong bytes"] + traffic.requests.counts["wrong bytes"]
        self.total["failovers"] += 1
        self.total["bulk bytes"] += traffic.bulk.counts["bytes"]
        self.total["requests"] += traffic.requests.counts["connections"]
        self.total["wrong bytes"] += wrong
        self.total["lost conversations"] += len(losses)
        self.total["rounds with a loss"] += bool(losses or wrong)
        for loss in losses:
            self.total[f"lost {loss.kind}"] += 1
            self.total["bytes acknowledged and lost"] += loss.lost
            if loss in verdicts:
                self.total[f"verdict {verdicts[loss]}"] += 1
        back = f"back after {outage_s:.2f} s" if outage_s else "bulk did not come back"
        counts = f"{traffic.bulk.counts['bytes'] >> 10} KiB, "
        counts += f"{traffic.requests.counts['connections']} requests, {wrong} wrong"
        print(f"{number:4} {active} {self._options.how.value}, {back}; {counts}", flush=True)
        for loss in losses:
            lost = f", {loss.lost} acknowledged and lost" if loss.lost else ""
            verdict = f"  [{verdicts[loss]}]" if loss in verdicts else ""
            print(f"       {loss.kind} {loss.port}: {loss.what}{lost}{verdict}", flush=True)

    def _revive(self, node: str) -> None:
        """The failed device begins anew, with nothing in its memory, and stands by."""
        match self._options.how:
            case How.FORCE_STANDBY:
                pass  # it stands by already
            case How.LINK_DOWN:
                trigger(self._lab, node, How.POWER_OFF)
            case How.PROCESS_CRASH:
                forget_connections(self._lab, node)
            case How.POWER_OFF:
                pass
        if self._options.how is not How.FORCE_STANDBY:
            silence_ends(self._lab, node)
            self._lab.start_device(node)
        roles = {node: "standby", DEVICES[1 - DEVICES.index(node)]: "active"}

        def mirrors() -> bool:
            self._lab.check_processes()
            states = {n: self._lab.status(n) for n in DEVICES}
            return all(
                s.get("mirror_channel") == "up" and s.get("role") == roles[n]
                for n, s in states.items()
            )

        wait_until(f"{node} to stand by and the channel to be up", mirrors, timeout_s=30)
        wait_until(f"{node} to stand by and the channel to be up", mirrors, timeout_s=20)
        self._lab.wait_control_plane(DEVICES[1 - DEVICES.index(node)])


def _came_back(
    traffic: Round, bulk: threading.Thread, taken_over: Callable[[], bool], patience_s: float
) -> bool:
    """Whether echo flows once the other device is active: what was under way before arrives at
    once, what comes _UNDER_WAY_S later came by the other device."""
    wait_until("the other device to be active", taken_over, timeout_s=30)
    since, seen = time.monotonic(), traffic.beat
    while time.monotonic() < since + patience_s and bulk.is_alive():
        if time.monotonic() < since + _UNDER_WAY_S:
            seen = traffic.beat
        elif traffic.beat > seen:
            return True
        time.sleep(0.005)
    return False


def main() -> int:
    """See the module's description."""
    options, arguments = _arguments()
    unwind_on_signals()
    print(f"{options}", flush=True)
    with tempfile.TemporaryDirectory(prefix="mirrorlab-kill-") as scratch:
        folder = arguments.keep or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        test = KillTest(options, folder)
        try:
            test.run(arguments.count)
        except KeyboardInterrupt:
            return 130
        except LabFault as error:
            print(f"lab fault: {error}", file=sys.stderr)
            return 4
        finally:
            counts = dict(sorted(test.total.items()))
            print(json.dumps(counts) if arguments.json else _table(counts), flush=True)
    return 1 if test.total["rounds with a loss"] or test.total["wrong bytes ssh"] else 0


def _arguments() -> tuple[Options, argparse.Namespace]:
    parser = argparse.ArgumentParser(prog="killtest", description="failovers, bytes compared")
    parser.add_argument("--count", type=int, default=20)
    parser.add_argument("--commit", choices=["async", "sync"], default="sync")
    parser.add_argument("--how", choices=[h.value for h in How], default=How.POWER_OFF.value)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    parser.add_argument("--captures", action="store_true", help="record and judge every round")
    parser.add_argument("--slow", type=int, metavar="BITS_PER_S", help="the mirroring channel")
    parser.add_argument("--rate", type=int, metavar="BYTES_PER_S", help="the bulk connection")
    parser.add_argument("--patience", type=float, default=25.0, metavar="S")
    parser.add_argument("--keep", type=Path, help="leave journals and logs in this folder")
    parser.add_argument("--json", action="store_true", help="the counts as JSON, last line")
    given = parser.parse_args()
    limited = given.captures or given.slow is not None
    rate = given.rate or (_CAPTURED_RATE if limited else None)
    options = Options(
        given.commit, How(given.how), given.seed, given.captures, given.slow, rate, given.patience
    )
    return options, given


def _table(counts: dict[str, int]) -> str:
    return "\n".join(f"{name:<28} {count}" for name, count in counts.items())


if __name__ == "__main__":
    sys.exit(main())
