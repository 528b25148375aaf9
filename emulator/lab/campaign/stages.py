"""`mirrorlab run`, with a signal at one named stage: `stages STAGE MOMENT SIGNAL [WORD...]`.

For the clean-up proof: the stage's function sends the command's own process group the signal
(as a terminal does) just before it begins, in its middle, or once it has ended, so each stage
is hit for certain. MOMENT `twice` is an impatient user's: before, and 50 ms later again.
"""

from __future__ import annotations

import os
import runpy
import signal
import sys
import threading
from collections.abc import Callable
from typing import Any

from pyroute2 import netns

from emulator.lab import analysis, capture, experiment, instance, runner
from emulator.lab.report import pages
from emulator.lab.workload import sessions
from netns import build

# In the order of a run: what is hit, and where its name is looked up.
STAGES: dict[str, tuple[Any, str]] = {
    "the run's folder": (runner, "keep_scenario"),
    "build: the lab": (instance.Lab, "create"),
    "build: a namespace": (build, "_create"),
    "build: links and addresses": (build.Routes, "apply"),
    "captures": (capture.Capture, "start"),
    "start": (instance.Lab, "start"),
    "start: fabric and API": (instance.Lab, "start_fabric"),
    "start: files and keys": (instance, "write_keys"),
    "start: a device": (instance.Lab, "start_device"),
    "start: servers": (instance, "start_services"),
    "start: roles": (instance.Lab, "wait_ready"),
    "sessions": (sessions.Sessions, "start"),
    "sessions: mirrored": (experiment.Experiment, "_mirrored"),
    "control plane": (instance.Lab, "wait_control_plane"),
    "steady traffic": (experiment.Experiment, "_steady"),
    "failover": (experiment, "trigger"),
    "observe": (experiment.Experiment, "_watch"),
    "end of captures": (capture.Capture, "stop"),
    "end of sessions": (sessions.Sessions, "stop"),
    "logs": (runner, "_keep_logs"),
    "down": (instance, "_down"),
    "down: processes": (build, "_kill_all"),
    "down: a namespace": (netns, "remove"),
    "reading captures: merge": (analysis, "merge"),
    "reading captures: facts": (analysis, "facts_of"),
    "reading captures: verdict": (analysis, "judge"),
    "reading captures: result": (analysis, "_write"),
    "report": (pages, "write_report"),
    "report: index": (pages, "write_index"),
    "handing over": (runner, "hand_over"),
}
MOMENTS = ("before", "in", "after", "twice")
_MIDDLE_S, _AGAIN_S = 0.02, 0.05


def arm(stage: str, moment: str, send: Callable[[], None]) -> None:
    """The first call of the stage's function sends the signal."""
    holder, name = STAGES[stage]
    function = getattr(holder, name)
    armed = [True]

    def hit(*args: Any, **kw: Any) -> Any:
        first, armed[0] = armed[0], False
        if first and moment in ("in", "twice"):
            wait_s = _MIDDLE_S if moment == "in" else _AGAIN_S
            threading.Timer(wait_s, send).start()
        if first and moment in ("before", "twice"):
            send()
        try:
            return function(*args, **kw)
        finally:
            if first and moment == "after":
                send()

    setattr(holder, name, hit)


def main(words: list[str]) -> None:
    """See the module's description."""
    stage, moment, number, *rest = words
    group, of = os.getpgrp(), signal.Signals[number]
    arm(stage, moment, lambda: os.killpg(group, of))
    sys.argv = ["mirrorlab", "run", *rest]
    runpy.run_module("emulator.cli", run_name="__main__")


if __name__ == "__main__":
    main(sys.argv[1:])
