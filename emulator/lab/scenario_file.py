"""Scenario files: YAML 1.2, errors as FILE:LINE:COLUMN."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from emulator.lab.settings.scenario import Scenario

BUILT_IN = Path(__file__).resolve().parent.parent / "scenarios"


class ScenarioError(ValueError):
    """Not a usable scenario; the text names file, line, column and field."""


def names() -> list[str]:
    """The built-in scenarios."""
    return sorted(path.stem for path in BUILT_IN.glob("*.yaml"))


def find(name: str) -> Path:
    """A built-in scenario by name, or a file by path; raises ScenarioError."""
    path = Path(name)
    if path.suffix in (".yaml", ".yml") or "/" in name:
        if not path.is_file():
            raise ScenarioError(f"no scenario file {name}")
        return path
    built_in = BUILT_IN / f"{name}.yaml"
    if not built_in.is_file():
        raise ScenarioError(f"unknown scenario {name!r}; there are: {', '.join(names())}")
    return built_in


def load(path: Path) -> Scenario:
    """Read and validate; raises ScenarioError."""
    try:
        raw = YAML(typ="rt").load(path.read_text())
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f":{mark.line + 1}:{mark.column + 1}" if mark else ""
        problem = " ".join(str(error.problem or error.context or "not YAML").split())
        raise ScenarioError(f"{path}{where}: {problem}") from error
    except (YAMLError, UnicodeDecodeError, OSError) as error:
        raise ScenarioError(f"{path}: {' '.join(str(error).split())}") from error
    except RecursionError:
        raise ScenarioError(f"{path}: nested too deep for a scenario") from None
    if not isinstance(raw, dict):
        raise ScenarioError(f"{path}:1:1: a scenario is a mapping of settings")
    try:
        # Through JSON: pydantic shall see plain values, not YAML's annotated ones.
        plain = json.loads(json.dumps(raw, default=str))
    except (TypeError, ValueError, RecursionError) as error:
        raise ScenarioError(f"{path}:1:1: {error}") from error
    _read_declaration(path, raw, plain)
    try:
        return Scenario.model_validate({"name": path.stem, **plain})
    except ValidationError as error:
        lines = [_explain(path, raw, e["loc"], e["msg"], e["type"]) for e in error.errors()]
        raise ScenarioError("\n".join(lines)) from error


def places(path: Path) -> dict[str, tuple[int, int]]:
    """Line and column of every setting in a file that `load` has read, by its dotted name."""
    found: dict[str, tuple[int, int]] = {}

    def walk(node: Any, way: tuple[str | int, ...]) -> None:
        children = node.items() if isinstance(node, dict) else enumerate(node)
        for key, child in children:
            here = (*way, key)
            found[".".join(map(str, here))] = _position(raw, here)
            if isinstance(child, dict | list):
                walk(child, here)

    raw = YAML(typ="rt").load(path.read_text())
    walk(raw, ())
    return found


def _read_declaration(path: Path, raw: Any, plain: dict[str, Any]) -> None:
    """Put a Cloud Failover declaration's file in the place of its name; raises ScenarioError.

    The name is relative to the scenario's file, and in its folder. What the declaration says is
    for the device to judge: a wrong one is an experiment, an unreadable one a mistake.
    """
    cloud = plain.get("cloud")
    name = cloud.get("declaration") if isinstance(cloud, dict) else None
    if not isinstance(name, str) or not isinstance(cloud, dict):
        return
    line, column = _position(raw, ("cloud", "declaration"))
    where = f"{path}:{line}:{column}: cloud.declaration"
    shown = name if name.isprintable() else repr(name)
    try:
        file = (path.parent / name).resolve()
        if not file.is_relative_to(path.parent.resolve()):  # root may read more than its author
            raise ScenarioError(f"{where}: {shown} is not in the scenario's own folder")
        declaration = json.loads(file.read_text())
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else f"not JSON: {error}"
        raise ScenarioError(f"{where}: {shown}: {reason}") from error
    if not isinstance(declaration, dict):
        raise ScenarioError(f"{where}: {shown}: a declaration is a JSON object")
    cloud["declaration"] = declaration


def _explain(path: Path, raw: Any, location: Sequence[int | str], text: str, kind: str) -> str:
    line, column = _position(raw, location)
    field = ".".join(str(part) for part in location) or "scenario"
    if kind == "extra_forbidden":
        text = "no such setting"
    return f"{path}:{line}:{column}: {field}: {text.removeprefix('Value error, ')}"


def _position(raw: Any, location: Sequence[int | str]) -> tuple[int, int]:
    """Line and column, from 1, of the deepest part of `location` that is in the file."""
    line, column = 1, 1
    node = raw
    for part in location:
        marks = getattr(node, "lc", None)
        try:
            if isinstance(node, dict) and marks is not None:
                position = marks.key(part)
            elif isinstance(node, list) and marks is not None:
                position = marks.item(part)
            else:
                break
            line, column = position[0] + 1, position[1] + 1
            node = node[part]
        except (KeyError, IndexError, TypeError):
            break
    return line, column
