"""How a run was made, kept with it for whoever wants to make it again."""

from __future__ import annotations

import json
import platform
import shlex
import sys
from pathlib import Path

from emulator import __version__
from emulator.lab.settings.scenario import Scenario

SCENARIO = "scenario.yaml"


def provenance() -> dict[str, object]:
    """The command line and the versions; the kernel's is among the host's figures."""
    program = Path(sys.argv[0]).name
    name = "mirrorlab" if program == "cli.py" else program
    return {
        "command": shlex.join([name, *sys.argv[1:]]),
        "versions": {"mirrorlab": __version__, "Python": platform.python_version()},
    }


def keep_scenario(folder: Path, scenario: Scenario) -> None:
    """All settings of the run, whatever options changed: `mirrorlab run` takes the file (JSON
    is YAML)."""
    text = json.dumps(scenario.model_dump(mode="json"), indent=1)
    (folder / SCENARIO).write_text(text + "\n")
