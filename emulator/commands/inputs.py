"""What users already have: options for their files, and the commands `lint` and `translate`."""

from __future__ import annotations

import functools
import io
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
from ruamel.yaml import YAML

from emulator.commands.choices import format_option, in_world, read_scenario, world_option
from emulator.commands.terminal import NOT_AS_EXPECTED, USAGE, Fail, stderr
from emulator.lab import scenario_file
from emulator.lab.inputs.ledger import Category, Reading, counts
from emulator.lab.inputs.mapping import Source, Translation
from emulator.lab.inputs.mapping import translate as make
from emulator.lab.inputs.tree import InputError, Place
from emulator.lab.lint.rules import lint as check
from emulator.lab.lint.subject import Finding, Subject
from emulator.lab.ownership import hand_over
from emulator.lab.settings.scenario import Scenario

LARGEST = 32 * 2**20  # bytes of one input
FILES = {
    "bigip_conf": "tmsh stanzas: bigip.conf, bigip_base.conf, or create and modify commands",
    "as3": "an AS3 declaration",
    "cfe": "a Cloud Failover declaration",
    "do": "a Declarative Onboarding declaration, of one device",
}
Decorated = Callable[..., Any]


@dataclass(frozen=True)
class Given:
    """The files a user named, by kind, and the virtual server chosen among them."""

    files: tuple[tuple[str, str], ...]
    virtual: str | None


def input_options(command: Decorated) -> Decorated:
    """--bigip-conf, --as3, --cfe, --do and --virtual, as one argument `given`."""

    @functools.wraps(command)
    def bundled(*args: Any, **options: Any) -> Any:
        files = [(kind.replace("_", "-"), f) for kind in FILES for f in options.pop(kind)]
        given = Given(tuple(files), options.pop("virtual"))
        if given.virtual is not None and not files:
            raise Fail("--virtual chooses among the virtual servers of input files", USAGE)
        return command(*args, given=given, **options)

    wrapped: Decorated = click.option(
        "--virtual", metavar="NAME", help="which virtual server of the inputs"
    )(bundled)
    for kind, text in reversed(FILES.items()):
        flag = f"--{kind.replace('_', '-')}"
        wrapped = click.option(flag, kind, multiple=True, metavar="FILE", help=text)(wrapped)
    return wrapped


def _text(name: str) -> str:
    """A file's text, - for standard input; errors as usage errors."""
    try:
        raw = sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()
        if len(raw) > LARGEST:
            raise Fail(f"{name}: larger than {LARGEST // 2**20} MiB", USAGE)
        return raw.decode()
    except OSError as error:
        raise Fail(f"{name}: {error.strerror}", USAGE) from error
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise Fail(f"{name}:{line}: not UTF-8 text", USAGE) from error


def read_inputs(given: Given, scenario: str | None, world: str | None) -> Translation:
    """What the files make; a file that cannot be read at all is a usage error."""
    sources = [
        Source(kind, "stdin" if name == "-" else name, _text(name)) for kind, name in given.files
    ]
    base = None
    if scenario is not None:
        base = read_scenario(scenario).model_dump(mode="json", exclude_unset=True)
    try:
        return make(sources, virtual=given.virtual, world=world, base=base)
    except InputError as error:
        raise Fail(str(error), USAGE) from error


def scenario_or_inputs(
    scenario: str | None, given: Given, world: str | None
) -> tuple[Scenario, Translation | None]:
    """What to run: a scenario, or what the inputs make (said on stderr)."""
    if not given.files:
        if scenario is None:
            raise Fail("what shall run? A SCENARIO, or --bigip-conf, --as3, --cfe, --do", USAGE)
        return in_world(read_scenario(scenario), world), None
    found = read_inputs(given, scenario, world)
    if found.scenario is None:
        raise Fail(str(found.refusal), USAGE)
    for line in _summary(found):
        stderr.print(line, markup=False)
    return found.scenario, found


def keep_inputs(found: Translation | None, folder: Path) -> None:
    """The reading list beside the run's other files."""
    if found is not None:
        path = folder / "inputs.json"
        path.write_text(json.dumps(_as_data(found), indent=2) + "\n")
        hand_over([path])


def _summary(found: Translation) -> list[str]:
    total = ", ".join(f"{n} {category}" for category, n in counts(found.readings).items() if n)
    lines = [f"inputs: {total} (each by line: mirrorlab translate --list)"]
    lines += [f"inputs: {line}" for line in _mapping_lines(found)]
    findings = check(_subject(found), inputs_only=found.server is None)
    lines += [f"lint: {f.place}: {f.text} ({f.claim})" for f in findings if f.severity == "warning"]
    return lines


def _mapping_lines(found: Translation) -> list[str]:
    return [f"{m.what} -> {m.becomes}" + (f" ({m.why})" if m.why else "") for m in found.mapping]


def _as_data(found: Translation) -> dict[str, Any]:
    scenario = found.scenario
    return {
        "scenario": scenario.model_dump(mode="json", exclude_unset=True) if scenario else None,
        "refusal": str(found.refusal) if found.refusal else None,
        "virtual_server": found.server.name if found.server else None,
        "mapping": [
            {"what": m.what, "becomes": m.becomes, "why": m.why, **_where(m.place)}
            for m in found.mapping
        ],
        "counts": {str(k): v for k, v in counts(found.readings).items()},
        "readings": [_reading(r) for r in found.readings],
    }


def _where(place: Place | None) -> dict[str, Any]:
    return {} if place is None else {
        "file": place.file, "line": place.line, "column": place.column,
    }  # fmt: skip


def _reading(reading: Reading) -> dict[str, Any]:
    return {
        **_where(reading.place), "path": reading.path, "value": reading.value,
        "category": str(reading.category), "text": reading.text,
    }  # fmt: skip


# -- translate ------------------------------------------------------------------------------------


@click.command()
@click.argument("scenario", required=False)
@input_options
@format_option
@world_option
@click.option(
    "--list", "only_list", is_flag=True, help="each line of the inputs, and what it became"
)
def translate(
    scenario: str | None, given: Given, form: str, kind_of_world: str | None, only_list: bool
) -> None:
    """Print the scenario that input files make, without running it.

    With --list instead: each property of the inputs by line, as understood (became what),
    ignored (no bearing here), not emulated (and what that means) or refused.

    \b
      mirrorlab translate --bigip-conf bigip.conf --cfe cfe.json > mine.yaml
      mirrorlab translate --as3 as3.json --list
    """
    if not given.files:
        raise Fail("nothing to translate: name --bigip-conf, --as3, --cfe or --do", USAGE)
    found = read_inputs(given, scenario, kind_of_world)
    if form == "json":
        click.echo(json.dumps(_as_data(found), indent=2))
    elif only_list:
        _print_readings(found)
    elif found.scenario is not None:
        click.echo(_yaml(found), nl=False)
        stderr.print(_summary(found)[0], markup=False)
    if found.refusal is not None:
        raise Fail(str(found.refusal), USAGE)


def _print_readings(found: Translation) -> None:
    for reading in found.readings:
        value = reading.value if len(reading.value) < 60 else reading.value[:57] + "..."
        click.echo(
            f"{reading.place.file}:{reading.place.line}: {reading.category}: "
            f"{reading.path} {value}: {reading.text}"
        )
    total = counts(found.readings)
    click.echo(", ".join(f"{total[category]} {category}" for category in Category))


def _yaml(found: Translation) -> str:
    assert found.scenario is not None
    out = io.StringIO()
    for line in _mapping_lines(found):
        out.write(f"# {line}\n")
    yaml = YAML()
    yaml.width = 100
    yaml.dump(found.scenario.model_dump(mode="json", exclude_unset=True), out)
    return out.getvalue()


# -- lint -----------------------------------------------------------------------------------------


@click.command()
@click.argument("scenarios", nargs=-1)
@input_options
@format_option
@world_option
def lint(scenarios: Sequence[str], given: Given, form: str, kind_of_world: str | None) -> None:
    """Warn of what cannot work, or not as it may be meant, before any run.

    Of SCENARIOS (built-in names or files), or of input files. Each warning cites the claim of
    the article it bears on and says what a run would show; the run decides.
    Exit status: 0 clean (notes do not count), 1 warnings, 2 cannot be read or taken.

    \b
      mirrorlab lint --as3 as3.json --cfe cfe.json --do do.json
      mirrorlab lint article my.yaml
    """
    refusal = None
    if given.files:
        if len(scenarios) > 1:
            raise Fail("with input files one SCENARIO at most, which they are laid over", USAGE)
        found = read_inputs(given, scenarios[0] if scenarios else None, kind_of_world)
        refusal = found.refusal
        alone = found.server is None and not scenarios
        findings = check(_subject(found), inputs_only=alone or refusal is not None)
    elif scenarios:
        findings = [f for name in scenarios for f in _of_scenario(name, kind_of_world)]
    else:
        raise Fail("nothing to lint: SCENARIOS, or --bigip-conf, --as3, --cfe, --do", USAGE)
    if form == "json":
        data = {"findings": [_finding(f) for f in findings], "refusal": refusal and str(refusal)}
        click.echo(json.dumps(data, indent=2))
    else:
        _print_findings(findings)
    if refusal is not None:
        raise Fail(str(refusal), USAGE)
    if any(f.severity == "warning" for f in findings):
        sys.exit(NOT_AS_EXPECTED)


def _subject(found: Translation) -> Subject:
    scenario = found.scenario or Scenario(title="refused")
    return Subject(scenario, found.origins, found.declared, found.server)


def _of_scenario(name: str, world: str | None) -> list[Finding]:
    scenario = in_world(read_scenario(name), world)
    path = scenario_file.find(name)
    origins = {
        key: Place(str(name), line, column)
        for key, (line, column) in scenario_file.places(path).items()
    }
    return check(Subject(scenario, {"name": Place(str(name)), **origins}))


def _print_findings(findings: Sequence[Finding]) -> None:
    for f in findings:
        click.echo(f"{f.place}: {f.severity}: {f.text} [{f.rule}, {f.claim}]")
        click.echo(f"    a run would show: {f.shows}")
        click.echo(f"    source: {f.source}")
    if not findings:
        click.echo("nothing to warn of")


def _finding(finding: Finding) -> dict[str, Any]:
    return {
        "rule": finding.rule, "severity": finding.severity, "claim": finding.claim,
        **_where(finding.place), "text": finding.text, "shows": finding.shows,
        "source": finding.source,
    }  # fmt: skip
