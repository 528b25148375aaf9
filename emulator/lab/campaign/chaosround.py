"""One round: the plan's traffic and faults in a world that stands, and what came of them."""

from __future__ import annotations

import contextlib
import threading
import time
from pathlib import Path

from emulator.device.control import ControlError
from emulator.lab.campaign.chaosaccount import Lost, Outcome
from emulator.lab.campaign.chaosjudge import Recorder
from emulator.lab.campaign.chaosmodel import patience_s
from emulator.lab.campaign.chaosplan import DEVICES, Kind, Plan, Step, steps
from emulator.lab.campaign.chaosworld import ChaosWorld, DeviceEnded, eventually
from emulator.lab.campaign.killtraffic import Loss, Round, lives_on
from emulator.lab.settings.scenario import How
from emulator.lab.wait import LabFault, wait_until
from emulator.lab.workload.applications import PORTS
from emulator.lab.workload.sessions import Sessions
from netns.execute import NamespaceError, call_in, run

HEAL_S = 45.0  # from the last fault's end to a whole pair that takes new connections
_ON_S = 0.3  # traffic goes on for so long after that
_HOWS = {
    Kind.POWER_OFF.value: How.POWER_OFF, Kind.PROCESS_CRASH.value: How.PROCESS_CRASH,
    Kind.LINK_CUT.value: How.LINK_DOWN, Kind.FORCE_STANDBY.value: How.FORCE_STANDBY,
}  # fmt: skip


class ChaosRound:
    """`run` once. `bytes_per_s`: of the bulk connection, each way; None: all it can."""

    def __init__(
        self, world: ChaosWorld, plan: Plan, folder: Path, *, captures: bool,
        bytes_per_s: int | None,
    ) -> None:  # fmt: skip
        self._world, self._plan, self._folder = world, plan, folder
        self._patience_s = patience_s(plan)
        assert world.server is not None
        self._traffic = Round(world.address, world.server, self._patience_s, bytes_per_s)
        self._ssh = Sessions(world.lab, folder) if "ssh" in plan.traffic else None
        self._jobs: list[threading.Thread] = []
        self._recorder = Recorder(world.lab, folder) if captures else None
        self._losses: list[Loss] = []
        self.found = Outcome(plan)

    def run(self) -> Outcome:
        """Never raises LabFault: that makes the round void."""
        began = time.monotonic()
        try:
            self._world.position(self._plan.first)
            self._folder.mkdir(parents=True, exist_ok=True)
            self._go()
        except DeviceEnded as error:
            self.found.ended = str(error)
        except (LabFault, NamespaceError, ControlError) as error:
            self.found.void = str(error)
        except KeyboardInterrupt:
            self._patience_s = -10.0  # nothing of this round is wanted any more
            raise
        finally:
            self._stop()
        self._count()
        self.found.seconds = time.monotonic() - began
        return self.found

    def _go(self) -> None:
        if self._recorder is not None:
            self._recorder.start()
        self._begin_traffic()
        began = time.monotonic()
        for step in steps(self._plan):
            pause = threading.Event()
            pause.wait(max(0.0, began + step.at_s - time.monotonic()))
            self._do(step)
        self._world.faults.heal()
        self._heal()
        time.sleep(_ON_S)
        self._end_traffic()
        if not self.found.not_healed:
            dead = self._dead()
            self.found.not_healed, _ = eventually(lambda: self._world.lacks(dead), HEAL_S)
            self.found.remains = bool(dead and self._world.lacks())

    def _begin_traffic(self) -> None:
        client, traffic = self._world.lab.world.namespace("client"), self._traffic
        todo = []
        if "bulk" in self._plan.traffic:
            todo.append(traffic.run_bulk)
        if "requests" in self._plan.traffic:
            todo += [traffic.run_requests, traffic.run_requests]
        self._jobs = [
            threading.Thread(target=lambda job=job: call_in(client, job), daemon=True)
            for job in todo
        ]
        if (ssh := self._ssh) is not None:
            ssh.start()
            wait_until("ssh to converse", lambda: ssh.conversing(1), timeout_s=20)
        for job in self._jobs:
            job.start()
        if "bulk" in self._plan.traffic:
            wait_until("the bulk echo to flow", lambda: traffic.beat > 3, timeout_s=15)

    def _do(self, step: Step) -> None:
        """What a device that is off, or only starting, cannot be told is not done."""
        faults, fault = self._world.faults, step.fault
        node = self._node(step.device)
        if step.what == "fail":
            if node not in faults.off:
                with contextlib.suppress(ControlError):
                    faults.fail(node, _HOWS[step.how])
            return
        if step.what == "revive":
            faults.revive(node)
            return
        begins = step.what == "begin"
        match fault.kind:
            case Kind.HEARTBEATS_LOST:
                faults.lose_heartbeats() if begins else faults.heal_heartbeats()
            case Kind.CLOCK_STEP:
                faults.step_clock(node, fault.step_s if begins else 0.0)
            case Kind.API_OUTAGE | Kind.API_ERRORS | Kind.API_THROTTLED | Kind.TRIGGER_LOST:
                faults.harm_api(fault, node) if begins else faults.heal_api()
            case _:
                faults.harm_channel(fault, node) if begins else faults.heal_channel()

    def _node(self, device: str) -> str:
        first = DEVICES.index(self._plan.first)
        return DEVICES[first if device == "first" else 1 - first]

    def _heal(self) -> None:
        """One active, one standby, new connections; in sync is looked at without traffic."""

        def wrong() -> str | None:
            self._world.check()
            if self._world.active() is None:
                return self._world.lacks()
            return self._world.probe()

        self.found.not_healed, seconds = eventually(wrong, HEAL_S)
        if not self.found.not_healed:
            self.found.healed_s = seconds

    def _end_traffic(self) -> None:
        if self._ssh is not None and (lost := lives_on(self._ssh, self._patience_s)):
            self._losses += lost
            self._give_up_ssh()
        self._traffic.stop.set()
        for job in self._jobs:
            job.join(2 * self._patience_s + 10)
        if any(job.is_alive() for job in self._jobs):
            raise LabFault("the traffic of the round does not end")

    def _dead(self) -> frozenset[int]:
        """The ports of the conversations that are lost: the client's own, of ssh the server's."""
        lost = [*self._losses, *self._traffic.bulk.losses, *self._traffic.requests.losses]
        return frozenset(loss.port or PORTS["ssh"] for loss in lost)

    def _give_up_ssh(self) -> None:
        """An end that gives up is gone; a killed ssh's close would wait behind its bytes."""
        client = self._world.lab.world.namespace("client")
        run(client, ["ss", "--kill", "--tcp", "--numeric", "dport", "=", f":{PORTS['ssh']}"])

    def _stop(self) -> None:
        self._traffic.stop.set()
        for job in self._jobs:
            if job.ident is not None:
                job.join(max(0.0, self._patience_s + 10))
        if self._ssh is not None:
            self._ssh.stop()
        if self._recorder is not None:
            lost = self._recorder.stop()
            self.found.void = self.found.void or lost

    def _count(self) -> None:
        found, traffic = self.found, self._traffic
        self._losses += [*traffic.bulk.losses, *traffic.requests.losses]
        found.octets = traffic.bulk.counts["bytes"]
        found.requests = traffic.requests.counts["connections"]
        found.wrong_bytes = traffic.bulk.counts["wrong bytes"]
        found.wrong_bytes += traffic.requests.counts["wrong bytes"]
        if self._ssh is not None:
            found.wrong_bytes += self._ssh.wrong_octets()
        found.wrong = [
            f"{x.kind} {x.port} ended whole: {x.what}" for x in self._losses if x.regular
        ]
        verdicts = self._recorder.judge(self._losses) if self._recorder is not None else {}
        found.judged = self._recorder is not None
        for loss in self._losses:
            found.lost.append(Lost(loss.kind, loss.port, loss.what, *verdicts.get(loss, ())))
