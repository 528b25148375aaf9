"""Where a recording comes from, if it is a run of the lab: scenario, failover."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from emulator.lab import scenario_file
from emulator.lab.provenance import SCENARIO
from emulator.lab.settings.scenario import Scenario

_SAME = ("name", "title", "description", "claims", "sessions", "expect", "observe_s")


@dataclass(frozen=True, slots=True)
class Origin:
    """The run a recording is of. `scenario` is None where its settings are not known any more."""

    name: str
    scenario: Scenario | None
    failover_s: float | None  # wall clock


def origin_of(recording: Path) -> Origin | None:
    """From the run's folder the file lies in; None where it lies in none."""
    try:
        result = json.loads((recording.parent / "result.json").read_text())
        name = str(result["scenario"])
        failover = (result["failover"] or {}).get("triggered")
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return Origin(name, _settings(recording.parent, name), failover)


def _settings(folder: Path, name: str) -> Scenario | None:
    """As the run had them; of a run of before they were kept, those of the built-in scenario."""
    try:
        return Scenario.model_validate_json((folder / SCENARIO).read_text())
    except (OSError, ValidationError):
        pass
    try:
        return scenario_file.load(scenario_file.find(name))
    except scenario_file.ScenarioError:
        return None


def differences(then: Scenario, now: Scenario) -> list[dict[str, Any]]:
    """The settings that differ: `setting`, `recorded`, `replayed`; not what only says what an
    experiment is called or expects."""
    left, right = (dict(_flat(s.model_dump(mode="json"))) for s in (then, now))
    return [
        {"setting": key, "recorded": left.get(key), "replayed": right.get(key)}
        for key in sorted(left.keys() | right.keys())
        if left.get(key) != right.get(key)
    ]


def _flat(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in settings.items():
        if not prefix and key in _SAME:
            continue
        if isinstance(value, dict) and value:
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value
