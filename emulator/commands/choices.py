"""What several commands let the user choose: a scenario, changes to it, the output's form."""

from __future__ import annotations

import contextlib

import click
from click.shell_completion import CompletionItem
from pydantic import ValidationError

from emulator.commands.terminal import USAGE, Fail
from emulator.lab import scenario_file
from emulator.lab.settings.scenario import Scenario
from netns.onprem import onprem
from netns.topology import cloud

format_option = click.option(
    "--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True
)


world_option = click.option(
    "--world", "kind_of_world", type=click.Choice(["cloud", "onprem"]), help="in another world"
)


def scenario_names(_: click.Context, __: click.Parameter, begun: str) -> list[CompletionItem]:
    """For the shell's completion: the built-in scenarios, or files."""
    if "/" in begun or begun.startswith("."):
        return [CompletionItem(begun, type="file")]
    return [CompletionItem(name) for name in scenario_file.names() if name.startswith(begun)]


def node_names(_: click.Context, __: click.Parameter, begun: str) -> list[CompletionItem]:
    """For the shell's completion: the nodes of either world."""
    nodes = {*cloud("x", {}).nodes, *onprem("x").nodes}
    return [CompletionItem(name) for name in sorted(nodes) if name.startswith(begun)]


def lab_names(_: click.Context, __: click.Parameter, begun: str) -> list[CompletionItem]:
    """For the shell's completion: the labs that are up; none where we may not look."""
    from emulator.lab.instance import ROOT

    with contextlib.suppress(OSError):
        return [
            CompletionItem(p.name)
            for p in ROOT.iterdir()
            if p.is_dir() and p.name.startswith(begun)
        ]
    return []


def _lab_name(_: click.Context, __: click.Parameter, value: str) -> str:
    from emulator.lab.instance import check_id

    try:
        return check_id(value)
    except ValueError as error:
        raise Fail(str(error), USAGE) from error


name_option = click.option(
    "--name", default="lab0", show_default=True, envvar="MIRRORLAB_NAME", help="which lab",
    callback=_lab_name, shell_complete=lab_names,
)  # fmt: skip


def read_scenario(name: str) -> Scenario:
    """A scenario by name or path, errors as usage errors."""
    try:
        return scenario_file.load(scenario_file.find(name))
    except scenario_file.ScenarioError as error:
        raise Fail(str(error), USAGE) from error


def with_virtual_server(scenario: Scenario, **changes: str | None) -> Scenario:
    """The scenario with another virtual server; options that were not given change nothing."""
    given = {key: value for key, value in changes.items() if value is not None}
    plain = scenario.model_dump()
    try:
        return Scenario.model_validate(
            {**plain, "virtual_server": {**plain["virtual_server"], **given}}
        )
    except ValidationError as error:
        text = error.errors()[0]["msg"].removeprefix("Value error, ")
        raise Fail(f"{scenario.name}: {text}", USAGE) from error


def in_world(scenario: Scenario, kind: str | None) -> Scenario:
    """The scenario in another world, which has settings of its own and for which the file
    expects nothing."""
    if kind in (None, scenario.world):
        return scenario
    plain = scenario.model_dump(exclude={"cloud", "onprem", "expect"})
    try:
        return Scenario.model_validate({**plain, "world": kind})
    except ValidationError as error:
        text = error.errors()[0]["msg"].removeprefix("Value error, ")
        raise Fail(f"{scenario.name}: {text}", USAGE) from error
