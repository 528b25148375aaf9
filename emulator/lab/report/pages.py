"""Writes the pages: the only module of the report that touches files.

A page is one file: style, script and drawings are inside it, and it asks for nothing.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, TemplateError
from markupsafe import Markup

from emulator import __version__
from emulator.lab import analysis
from emulator.lab.judge.evidence import CAPTURE
from emulator.lab.judge.facts import Facts, gather
from emulator.lab.judge.tracing import trace
from emulator.lab.provenance import SCENARIO
from emulator.lab.report import index, studies
from emulator.lab.report.summary import summary
from emulator.wire.pcapng import PcapngError

REPORT, INDEX = "report.html", "index.html"
RESULT_SCHEMA = "mirrorlab/result/"


class NoReport(Exception):
    """There is nothing to make a page of; the text says what is missing."""


def write_report(folder: Path, facts: Facts | None = None) -> Path:
    """Make `folder`/report.html from the run's own files; raises NoReport, OSError.

    `facts`: where the caller has them already, the captures are not read again.
    """
    result = read_result(folder)
    if facts is None:
        try:
            facts = analysis.facts_of(folder / CAPTURE, analysis.read_journals(folder))
        except (PcapngError, OSError):
            facts = gather(trace([]), analysis.read_journals(folder))  # a page without drawings
    with _whole(folder / "result.json"):
        why, link = _why(folder, str(result["scenario"]))
        made = summary(result, facts, _read(folder / SCENARIO), why, link)
        return write(folder / REPORT, "report.html.j2", folder=folder.name, **made)


def write_matrix(folder: Path) -> Path:
    """Make `folder`/matrix.html from matrix.json; raises NoReport, OSError."""
    data = _must_read(folder / "matrix.json")
    with _whole(folder / "matrix.json"):
        made = studies.matrix(data, _linker(folder))
        return write(folder / "matrix.html", "matrix.html.j2", **made)


def write_why(folder: Path) -> Path:
    """Make `folder`/why.html from why.json; raises NoReport, OSError."""
    data = _must_read(folder / "why.json")
    with _whole(folder / "why.json"):
        return write(folder / "why.html", "why.html.j2", **studies.why(data, _linker(folder)))


def write_index(runs: Path) -> Path:
    """Make `runs`/index.html of whatever runs and studies lie there; raises OSError."""
    found, others = [], []
    for folder in sorted((p for p in runs.iterdir() if p.is_dir()), reverse=True):
        try:
            if (folder / "result.json").is_file():
                report = (folder / REPORT).is_file()
                with _whole(folder / "result.json"):
                    found.append(index.row(folder.name, read_result(folder), has_report=report))
        except NoReport:
            continue  # not of a run, or one that is being written
        for kind in ("matrix", "why"):
            if (folder / f"{kind}.html").is_file():
                others.append((folder.name, f"{folder.name}/{kind}.html"))
    return write(runs / INDEX, "index.html.j2", runs=found, studies=others)


def read_result(folder: Path) -> dict[str, Any]:
    """A run's result.json; raises NoReport."""
    result = _must_read(folder / "result.json")
    if not str(result.get("schema", "")).startswith(RESULT_SCHEMA):
        raise NoReport(f"{folder / 'result.json'} is no result of a run")
    return result


def write(path: Path, template: str, **values: Any) -> Path:
    """Fill a template in and write it, whole or not at all."""
    made = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    page = _environment().get_template(template).render(version=__version__, made=made, **values)
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        partial.write_text(page, encoding="utf-8")
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    return path


@cache
def _environment() -> Environment:
    loader = PackageLoader("emulator.lab.report")
    made = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    # Our own two files, not anybody's data: they go in as they are.
    for name in ("style.css", "page.js"):
        text, _, _ = loader.get_source(made, name)
        made.globals[name.replace(".", "_")] = Markup(text)
    return made


@contextmanager
def _whole(path: Path) -> Iterator[None]:
    """Data that is not as we write it, by another version or by hand, is one line."""
    try:
        yield
    except (LookupError, TypeError, AttributeError, ValueError, TemplateError) as error:
        raise NoReport(f"{path}: not complete ({type(error).__name__}: {error})") from error


def _read(path: Path) -> dict[str, Any] | None:
    try:
        data = json.loads(path.read_text())
    except (OSError, ValueError):
        return None
    return data if isinstance(data, dict) else None


def _must_read(path: Path) -> dict[str, Any]:
    try:
        data = json.loads(path.read_text())
    except OSError as error:
        raise NoReport(f"{path}: {error.strerror}") from error
    except ValueError as error:
        raise NoReport(f"{path}: not JSON, {error}") from error
    if not isinstance(data, dict):
        raise NoReport(f"{path}: not a JSON object")
    return data


def _why(folder: Path, scenario: str) -> tuple[Mapping[str, Any] | None, str]:
    """The answer of `mirrorlab why` about this scenario that lies beside the run, and a link."""
    beside = folder.parent / f"why-{scenario}"
    link = f"../{beside.name}/why.html" if (beside / "why.html").is_file() else ""
    return _read(beside / "why.json"), link


def _linker(folder: Path) -> studies.Link:
    """From a run's folder, as a study's JSON has it, to a link from the study's page."""

    def link(run: str | None) -> str | None:
        if run is None:
            return None
        parts = Path(run).parts[-3:]  # KEY/runs/FOLDER below the study's own folder
        here = folder.joinpath(*parts) / REPORT
        return "/".join((*parts, REPORT)) if here.is_file() else None

    return link
