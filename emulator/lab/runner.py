"""One run, from an empty host to result.json, with clean-up on every way out.

    world up -> captures -> fabric, servers, devices -> sessions open and mirrored
      -> steady traffic -> failover -> watch -> captures off -> world down -> analysis

Everything that could make the lab itself the cause of a result is watched: queue drops,
capture losses, cut frames, late processes, a stepped clock. If any occurred the run is
void; so it is when the lab fails half-way, and result.json says why in either case.
"""

from __future__ import annotations

import contextlib
import platform
import secrets
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from emulator.device.control import ControlError
from emulator.lab import analysis
from emulator.lab.experiment import Behind, Experiment, Progress, TrafficOf
from emulator.lab.instance import Lab
from emulator.lab.judge.facts import Facts
from emulator.lab.meter import measure_host
from emulator.lab.ownership import full, hand_over, missing
from emulator.lab.provenance import keep_scenario
from emulator.lab.report import pages
from emulator.lab.result import Disturbance, MirrorState, Result
from emulator.lab.settings.scenario import Scenario
from emulator.lab.wait import LabFault
from emulator.wire.pcapng import PcapngError
from netns.build import BuildError
from netns.execute import NamespaceError

MAX_LAG_S = 1.0  # a third of the failover time-out: later than this and timers lie
MAX_STEP_S = 0.05  # captures, journals and programs are compared on the wall clock


@dataclass(frozen=True, slots=True)
class Run:
    """A finished run."""

    folder: Path
    result: Result
    report: Path | None = None  # None where it could not be made, and `remark` says why
    remark: str = ""


def run_scenario(
    scenario: Scenario,
    runs: Path,
    *,
    progress: Progress = lambda _: None,
    behind: Behind | None = None,
    traffic: TrafficOf | None = None,
) -> Run:
    """Run `scenario`; its folder is made below `runs`.

    `behind` is called just before the failover and may change the world behind the
    scenario's back (tests plant faults with it). `traffic` makes what stands in the place of the
    scenario's sessions. A lab that fails half-way gives a void
    result, never an exception; OSError when `runs` cannot be written to.
    """
    lab_id = secrets.token_hex(3)
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    with handed_over(runs / f"{stamp}-{scenario.name}-{lab_id}") as folder:
        keep_scenario(folder, scenario)
        lab = Lab(lab_id, scenario, folder)
        experiment = Experiment(lab, folder, progress, behind, traffic)
        fault = ""
        with measure_host() as meter:
            try:
                _conduct(lab, experiment)
            except _FAULTS as error:
                fault = _in_words(error)
        reasons = [*([fault] if fault else []), *experiment.losses]
        if meter.lag_s > MAX_LAG_S:
            reasons.append(f"this host scheduled us up to {meter.lag_s:.2f} s late")
        if meter.clock_step_s > MAX_STEP_S:
            reasons.append(f"the host's clock was stepped by {meter.clock_step_s:.3f} s")
        disturbance = Disturbance(
            tuple(reasons), experiment.queue_drops, round(meter.lag_s * 1000, 1), platform.release()
        )
        progress("reading the captures")
        facts: list[Facts] = []
        found = _judged(folder, scenario, disturbance, experiment.mirror, facts)
        progress("writing the report")
        return Run(folder, found, *_report(folder, facts[0] if facts else None))


def _report(folder: Path, facts: Facts | None) -> tuple[Path | None, str]:
    """The run's page, and the index of all that lie beside it. The result is there already:
    whatever goes wrong here must not cost it, and is said."""
    try:
        made = pages.write_report(folder, facts)
        pages.write_index(folder.parent)
    except Exception as error:
        return None, f"no report was written: {type(error).__name__}: {error}"
    return made, ""


def _judged(
    folder: Path,
    scenario: Scenario,
    disturbance: Disturbance,
    mirror: MirrorState,
    facts: list[Facts],
) -> Result:
    """The result, and the facts it rests on; void, whatever goes wrong with reading them."""
    try:
        return analysis.analyse(folder, scenario, disturbance, mirror, facts.append)
    except (PcapngError, OSError) as error:
        why = f"captures: {error}"
    except Exception as error:  # ours, and no reason to leave a traceback in place of a result
        why = f"the analysis failed: {type(error).__name__}: {error}"
    return analysis.give_up(folder, scenario, disturbance, why)


_FAULTS: tuple[type[Exception], ...] = (
    LabFault,
    BuildError,
    NamespaceError,
    ControlError,
    subprocess.SubprocessError,
    OSError,
)


def _in_words(error: Exception) -> str:
    if isinstance(error, subprocess.SubprocessError):
        argv = getattr(error, "cmd", "")
        name = argv if isinstance(argv, str) else " ".join(map(str, argv))
        return f"{name} failed: {error}"
    return str(error)


def _conduct(lab: Lab, experiment: Experiment) -> None:
    """The experiment between the world's rise and its fall."""
    with contextlib.ExitStack() as stack:
        stack.callback(lab.destroy)
        stack.callback(_keep_logs, lab)
        stack.callback(experiment.stop)
        try:
            experiment.run()
        except _FAULTS as error:
            if place := full(lab.folder, lab.evidence):  # whatever has failed for want of it
                raise LabFault(f"no space left on the disk of {place}") from error
            raise


def _keep_logs(lab: Lab) -> None:
    """What the processes printed, where they printed anything, is part of the evidence."""
    for log in lab.folder.glob("*.log"):
        if log.stat().st_size:
            (lab.evidence / "logs").mkdir(exist_ok=True)
            shutil.copy(log, lab.evidence / "logs" / log.name)


@contextlib.contextmanager
def handed_over(folder: Path) -> Iterator[Path]:
    """Make the folder and what is missing above it; in the end, whatever happened, all that
    was made belongs to whoever called sudo."""
    made = missing(folder)
    folder.mkdir(parents=True, mode=0o700)  # captures and journals: the caller's own business
    try:
        yield folder
    finally:
        hand_over([*made, folder.parent / pages.INDEX, *folder.rglob("*")])
