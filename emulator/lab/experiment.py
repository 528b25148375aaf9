"""What happens between a world's rise and its fall: sessions, the failover, the watch."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable
from pathlib import Path

from emulator.kernel.nfqueue import dropped
from emulator.lab import heartbeats
from emulator.lab.capture import Capture
from emulator.lab.channelfaults import inject
from emulator.lab.control_plane import expected_changes
from emulator.lab.deployment import DEVICES
from emulator.lab.faults import trigger
from emulator.lab.instance import Lab
from emulator.lab.provenance import provenance
from emulator.lab.result import MirrorState
from emulator.lab.settings.mirror_channel import MirrorChannel
from emulator.lab.settings.scenario import Failover, How
from emulator.lab.wait import LabFault, wait_until
from emulator.lab.workload.sessions import Sessions
from emulator.lab.workload.traffic import Traffic
from netns.execute import NamespaceError, call_in
from netns.topology import ROUTER

OPEN_S = 20.0
API_CALLS = 10  # of a failover, one after the other
WATCH_S = 8000.0  # beyond any deadline of a scenario

Progress = Callable[[str], None]
Behind = Callable[[Lab], None]
TrafficOf = Callable[[Lab, Path], Traffic]


class Experiment:
    """One experiment. `run` once, then `stop`, whatever happened."""

    def __init__(
        self,
        lab: Lab,
        folder: Path,
        progress: Progress,
        behind: Behind | None,
        traffic: TrafficOf | None = None,
    ) -> None:
        self._lab, self._folder = lab, folder
        self._progress, self._behind = progress, behind
        self._scenario = lab.scenario
        self._capture = Capture(lab.world, lab.folder, folder)
        self._traffic: Traffic = (traffic or Sessions)(lab, folder)
        self._journal = (folder / "lab.jsonl").open("a", buffering=1)
        self._drops: dict[str, int] = {}
        self.losses: list[str] = []
        self.mirror = MirrorState()

    @property
    def queue_drops(self) -> int:
        """Packets the devices' queues lost."""
        return sum(self._drops.values())

    def run(self) -> None:
        """The whole experiment; raises LabFault."""
        self._note("run-started", **provenance())
        self._progress("building the world")
        self._lab.create()
        self._capture.start()
        self._progress("starting fabric, servers and devices")
        self._lab.start()
        fault = self._scenario.mirror_channel
        if fault is not None and fault.before_failover_s is None:
            self._harm_channel(fault)
        self._progress(f"opening {', '.join(self._traffic.names)}")
        self._open_sessions()
        failover = self._scenario.failover
        if failover is None:
            self._progress("no failover: watching steady traffic")
            self._steady(self._scenario.observe_s, failover=False)
            self._look()
        else:
            self._progress("steady traffic")
            since = time.monotonic()
            self._lab.wait_control_plane()
            self._steady_until_failover(failover.after_s, time.monotonic() - since)
            self._look()
            self._fail_over(failover)
        self._note("observation-ends")
        self._count_drops()
        self._check()

    def stop(self) -> None:
        """End the captures first: what teardown does is no evidence."""
        self.losses += self._capture.stop()
        self._traffic.stop()
        self._journal.close()

    def _check(self) -> None:
        self._lab.check_processes()
        self._capture.check()
        if failed := self._traffic.failed_to_open():
            raise LabFault(f"the program of {failed[0]} failed")

    def _open_sessions(self) -> None:
        self._traffic.start()

        def conversing() -> bool:
            self._check()
            if failed := self._traffic.ended():
                raise LabFault(f"a session did not open: {failed[0]}")
            return self._traffic.opened()

        wait_until("every session to converse", conversing, timeout_s=OPEN_S)
        if self._scenario.virtual_server.mirroring and self._scenario.devices.await_mirror:
            wait_until("the standby to hold every flow", self._mirrored, timeout_s=OPEN_S)

    def _mirrored(self) -> bool:
        """Whether the standby holds every flow, or there is no channel to give it any."""
        active, standby = (self._lab.status(node) for node in DEVICES)
        held = _count(standby, "mirrored_flows") >= self._traffic.held_from_start
        return held or active.get("mirror_channel") == "down"

    def _harm_channel(self, fault: MirrorChannel) -> None:
        self._progress(f"mirroring channel: {fault.fault}")
        inject(self._lab, fault)
        details = fault.model_dump(exclude_none=True, exclude={"fault", "before_failover_s"})
        self._note("fault-injected", fault=fault.fault, where="mirror-channel", **details)

    def _steady_until_failover(self, seconds: float, waited_s: float) -> None:
        """With the fault of the channel that is to come in between; `waited_s` of them are over,
        which count where nothing else has to happen at a time of its own."""
        fault = self._scenario.mirror_channel
        if fault is None or fault.before_failover_s is None:
            self._steady(max(0.0, seconds - waited_s))
            return
        self._steady(seconds - fault.before_failover_s)
        self._harm_channel(fault)
        self._steady(fault.before_failover_s)

    def _steady(self, seconds: float, *, failover: bool = True) -> None:
        """Without a failover this is the experiment, and a session's end is what it shows."""
        since = time.monotonic()

        def over() -> bool:
            self._check()
            if failover and (ended := self._traffic.ended()):
                raise LabFault(f"{ended[0]}, before anything was done to it")
            elapsed_s = time.monotonic() - since
            return self._traffic.steady_over(elapsed_s, seconds, failover=failover)

        longest_s = self._traffic.steady_at_most_s(seconds)
        wait_until("the end of steady traffic", over, timeout_s=longest_s + 10)

    def _look(self) -> None:
        """Both devices' states, while they can still be asked."""
        state, standby = (self._lab.status(node) for node in DEVICES)
        lag = state.get("mirror_lag")
        octets = lag.get("bytes", 0) if isinstance(lag, dict) else 0
        held = _count(standby, "mirrored_flows")
        self.mirror = MirrorState(_count(state, "mirrored_flows"), int(octets), held)
        self._count_drops()  # a device that dies takes its counters along

    def _fail_over(self, failover: Failover) -> None:
        how, back_after_s = failover.how, failover.back_after_s
        if self._behind is not None:
            self._behind(self._lab)
        self._progress(f"failover: {how.value} of {DEVICES[0]}")
        triggered = time.time()
        self._note("failover-triggered", how=how.value, device=DEVICES[0])
        self._traffic.failover_begins()
        trigger(self._lab, DEVICES[0], how)
        if back_after_s is not None:
            wait_until("the other way round", _after(back_after_s), timeout_s=back_after_s + 10)
            self._progress(f"and back: force-standby of {DEVICES[1]}")
            triggered = time.time()
            self._note("failed-back", how=How.FORCE_STANDBY.value, device=DEVICES[1])
            trigger(self._lab, DEVICES[1], How.FORCE_STANDBY)
        if failover.heals_after_s is not None:
            pause_s = failover.heals_after_s
            wait_until("the HA network to heal", _after(pause_s), timeout_s=pause_s + 10)
            self._progress("the heartbeats pass again")
            triggered = time.time()
            self._note("fault-healed", where="heartbeats")
            heartbeats.heal(self._lab)
        self._watch(triggered, self._deadline_s(how) + self._traffic.remaining_s)

    def _deadline_s(self, how: How) -> float:
        """How long to watch. It grows with the outage: a sender's next retransmission comes
        up to as long again after the path is back (RTO doubling, RFC 6298)."""
        assert self._scenario.failover is not None
        if self._scenario.failover.watch_s is not None:
            return self._scenario.failover.watch_s
        devices, cloud = self._scenario.devices, self._scenario.cloud
        detection = 0.0 if how is How.FORCE_STANDBY else devices.failover_timeout_s
        delays = [cloud.propagation_delay_s, *cloud.table_delay_s.values()]
        delay = max(delays) if self._scenario.world == "cloud" else 0.0
        if cloud.load_balancer is not None:
            delay = max(delay, cloud.load_balancer.detection_s)
        delay += API_CALLS * (cloud.api.authentication_s + cloud.api.queue_s)
        return 2 * (detection + delay) + 4 + self._scenario.observe_s

    def _watch(self, triggered: float, deadline_s: float) -> None:
        """Until every session has ended or lives on with the new routes, or the deadline. A
        control plane slower than its settings (a busy host) moves the deadline along: what is
        seen must not depend on the host."""
        began, enough_s = time.monotonic(), deadline_s

        def settled() -> bool:
            nonlocal enough_s
            self._check()
            effective = self._routes_effective(triggered)
            if effective is not None:
                took = effective - triggered
                least_s = 2 * took + 4 + self._scenario.observe_s
                enough_s = max(enough_s, least_s + self._traffic.remaining_s)
            if time.monotonic() > began + enough_s:
                raise _Unsettled
            for news in self._traffic.settled(effective, self._scenario.observe_s):
                self._progress(news)
            return self._traffic.all_settled

        with contextlib.suppress(_Unsettled):
            wait_until("the sessions to settle", settled, timeout_s=WATCH_S, interval_s=0.1)

    def _routes_effective(self, since: float) -> float | None:
        """When the last of the route changes the cloud accepted since then took effect; None
        while one is outstanding or none has been accepted. On-premises: when the new active
        device announced its addresses; neighbours believe it at once."""
        if self._scenario.world == "onprem":
            return self._announced(since)
        moving = expected_changes(self._scenario)
        accepted = effective = 0
        last = since
        for record in self._lab.fabric_log():
            if float(str(record["time"])) >= since:
                accepted += record["what"] == "accepted"
                if record["what"] == "effective" and accepted:
                    effective += 1
                    last = float(str(record["time"]))
        return last if effective >= moving else None

    def _announced(self, since: float) -> float | None:
        for record in (r for node in DEVICES for r in self._lab.journal(node)):
            if record["what"] == "addresses-announced" and float(str(record["time"])) >= since:
                return float(str(record["time"]))
        return None

    def _count_drops(self) -> None:
        for node in (*DEVICES, ROUTER):
            with contextlib.suppress(NamespaceError):
                drops = call_in(self._lab.world.namespace(node), dropped)
                if drops > self._drops.get(node, 0):
                    self.losses.append(f"NFQUEUE of {node} lost {drops} packets")
                    self._drops[node] = drops

    def _note(self, what: str, **details: object) -> None:
        line = {"time": round(time.time(), 6), "node": "lab", "what": what, **details}
        self._journal.write(json.dumps(line) + "\n")


class _Unsettled(Exception):
    """The deadline came first. No fault: it is what STALLED means."""


def _after(seconds: float) -> Callable[[], bool]:
    deadline = time.monotonic() + seconds
    return lambda: time.monotonic() >= deadline


def _count(state: dict[str, object], key: str) -> int:
    value = state.get(key, 0)
    return value if isinstance(value, int) else 0
