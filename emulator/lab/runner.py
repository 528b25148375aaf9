"""One run, from an empty host to result.json, with clean-up on every way out.

    world up -> captures -> fabric, servers, devices -> sessions open and mirrored
      -> steady traffic -> failover -> watch -> captures off -> world down -> analysis

Everything that could make the lab itself the cause of a result is watched: queue drops,
capture losses, cut frames, late processes. If any occurred the run is void.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from emulator.device.control import ControlError
from emulator.kernel.nfqueue import dropped
from emulator.lab import analysis
from emulator.lab.capture import Capture
from emulator.lab.deployment import DEVICES
from emulator.lab.faults import trigger
from emulator.lab.instance import Lab
from emulator.lab.result import Disturbance, MirrorState, Result
from emulator.lab.scenario import Scenario
from emulator.lab.sessions import Sessions
from emulator.lab.wait import LabFault, wait_until
from netns.execute import NamespaceError, call_in

MAX_LAG_S = 1.0  # a third of the failover time-out: later than this and timers lie
OPEN_S = 20.0
MIN_LINES = 5  # exchanged by every session before anything is done to it

Progress = Callable[[str], None]
Behind = Callable[[Lab], None]


@dataclass(frozen=True, slots=True)
class Run:
    """A finished run."""

    folder: Path
    result: Result


def run_scenario(
    scenario: Scenario,
    runs: Path,
    *,
    progress: Progress = lambda _: None,
    behind: Behind | None = None,
) -> Run:
    """Run `scenario`; its folder is made below `runs`.

    `behind` is called just before the failover and may change the world behind the
    scenario's back (tests plant faults with it). Raises LabFault, BuildError.
    """
    lab_id = secrets.token_hex(3)
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    folder = runs / f"{stamp}-{scenario.name}-{lab_id}"
    folder.mkdir(parents=True)
    lab = Lab(lab_id, scenario, folder)
    try:
        with contextlib.ExitStack() as stack:
            lag = stack.enter_context(_lag_meter())
            stack.callback(lab.destroy)
            experiment = Experiment(lab, folder, progress, behind)
            stack.callback(experiment.stop)
            experiment.run()
    except (ControlError, NamespaceError) as error:
        raise LabFault(str(error)) from error
    reasons = list(experiment.losses)
    if lag.worst_s > MAX_LAG_S:
        reasons.append(f"this host scheduled us up to {lag.worst_s:.2f} s late")
    progress("reading the captures")
    disturbance = Disturbance(
        tuple(reasons), experiment.queue_drops, round(lag.worst_s * 1000, 1), platform.release()
    )
    found = analysis.analyse(folder, scenario, disturbance, experiment.mirror)
    _hand_over(folder)
    return Run(folder, found)


class Experiment:
    """What happens between the world's rise and its fall."""

    def __init__(self, lab: Lab, folder: Path, progress: Progress, behind: Behind | None) -> None:
        self._lab, self._folder = lab, folder
        self._progress, self._behind = progress, behind
        self._scenario = lab.scenario
        self._capture = Capture(lab.world, folder)
        self._sessions = Sessions(lab, folder)
        self._journal = (folder / "lab.jsonl").open("a", buffering=1)
        self.losses: list[str] = []
        self.queue_drops = 0
        self.mirror = MirrorState()

    def run(self) -> None:
        """The whole experiment; raises LabFault."""
        self._progress("building the world")
        self._lab.create()
        self._capture.start()
        self._progress("starting fabric, servers and devices")
        self._lab.start()
        self._progress(f"opening {', '.join(self._scenario.sessions)}")
        self._open_sessions()
        failover = self._scenario.failover
        if failover is None:
            self._progress("no failover: watching steady traffic")
            self._steady(self._scenario.observe_s)
        else:
            self._progress("steady traffic")
            self._steady(failover.after_s)
        self._look_before()
        if self._behind is not None:
            self._behind(self._lab)
        if failover is not None:
            self._progress(f"failover: {failover.how.value} of {DEVICES[0]}")
            self._note("failover-triggered", how=failover.how.value, device=DEVICES[0])
            trigger(self._lab, DEVICES[0], failover.how)
            self._watch(failover.how.value)
        self._note("observation-ends")
        self._count_drops()
        self._lab.check_processes()

    def stop(self) -> None:
        """End the captures first: what teardown does is no evidence."""
        self.losses += self._capture.stop()
        self._sessions.stop()
        self._journal.close()

    def _open_sessions(self) -> None:
        self._sessions.start()
        wait_until(
            "every session to converse",
            lambda: self._sessions.conversing(MIN_LINES),
            timeout_s=OPEN_S,
        )
        if self._scenario.virtual_server.mirroring:
            flows = len(self._scenario.sessions)
            wait_until(
                "the standby to hold every flow",
                lambda: _count(self._lab.status(DEVICES[1]), "mirrored_flows") >= flows,
                timeout_s=OPEN_S,
            )

    def _steady(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        wait_until(
            "the end of steady traffic",
            lambda: self._alive() and time.monotonic() >= deadline,
            timeout_s=seconds + 10,
        )

    def _alive(self) -> bool:
        self._lab.check_processes()
        ended = self._sessions.ended()
        if ended:
            raise LabFault(f"{ended[0]} ended before anything was done to it")
        return True

    def _look_before(self) -> None:
        state = self._lab.status(DEVICES[0])
        lag = state.get("mirror_lag")
        octets = lag.get("bytes", 0) if isinstance(lag, dict) else 0
        self.mirror = MirrorState(_count(state, "mirrored_flows"), int(octets))
        self._count_drops()  # a device that dies takes its counters along

    def _watch(self, how: str) -> None:
        """Until every session has ended or has lived on for a while, or the deadline.

        The deadline grows with the outage: a sender's next retransmission comes up to as
        long again after the path is back (RTO doubling, RFC 6298).
        """
        devices, cloud = self._scenario.devices, self._scenario.cloud
        detection = 0.0 if how == "force-standby" else devices.failover_timeout_s
        delay = max([cloud.propagation_delay_s, *cloud.table_delay_s.values()])
        outage = detection + delay
        deadline_s = 2 * outage + 4 + self._scenario.observe_s
        triggered = time.time()

        def settled() -> bool:
            for name in self._sessions.settled(triggered, self._scenario.observe_s):
                self._progress(name)
            return self._sessions.all_settled

        with contextlib.suppress(LabFault):  # the deadline is no fault: it is what STALLED means
            wait_until("the sessions to settle", settled, timeout_s=deadline_s, interval_s=0.1)

    def _count_drops(self) -> None:
        drops = 0
        for node in DEVICES:
            with contextlib.suppress(NamespaceError):
                drops += call_in(self._lab.world.namespace(node), dropped)
        if drops > self.queue_drops:
            self.losses.append(f"NFQUEUE lost {drops - self.queue_drops} packets")
            self.queue_drops = drops

    def _note(self, what: str, **details: object) -> None:
        line = {"time": round(time.time(), 6), "node": "lab", "what": what, **details}
        self._journal.write(json.dumps(line) + "\n")


class _Lag:
    """The worst overshoot of a short sleep so far."""

    def __init__(self) -> None:
        self.worst_s = 0.0


@contextlib.contextmanager
def _lag_meter() -> Iterator[_Lag]:
    """Measures how late this host schedules, in a thread, until the context ends."""
    lag, stop = _Lag(), threading.Event()

    def measure() -> None:
        step = 0.02
        before = time.monotonic()
        while not stop.wait(step):
            now = time.monotonic()
            lag.worst_s = max(lag.worst_s, now - before - step)
            before = now

    thread = threading.Thread(target=measure, name="lag-meter", daemon=True)
    thread.start()
    try:
        yield lag
    finally:
        stop.set()
        thread.join()


def _count(state: dict[str, object], key: str) -> int:
    value = state.get(key, 0)
    return value if isinstance(value, int) else 0


def _hand_over(folder: Path) -> None:
    """The files belong to whoever called sudo."""
    user, group = os.environ.get("SUDO_UID"), os.environ.get("SUDO_GID")
    if os.geteuid() == 0 and user and group:
        for path in [folder.parent, folder, *folder.rglob("*")]:
            os.chown(path, int(user), int(group))
