"""One experiment: `run`, and what there is to run on: `scenarios`, `schema`, `doctor`."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import click
from rich.markup import escape

from emulator.commands.choices import (
    format_option,
    read_scenario,
    scenario_names,
    with_virtual_server,
    world_option,
)
from emulator.commands.inputs import Given, input_options, keep_inputs, scenario_or_inputs
from emulator.commands.terminal import (
    CANNOT,
    FAULT,
    NOT_AS_EXPECTED,
    RUNS,
    USAGE,
    Fail,
    need_host,
    need_peers,
    stderr,
    stdout,
    unwritable,
)
from emulator.lab import scenario_file
from emulator.lab.settings.scenario import Failover, How, Scenario
from emulator.lab.study.plants import BEHIND_NAMES, OF_THE_CLOUD
from netns import doctor as host


@click.command()
@click.argument("scenario", required=False, shell_complete=scenario_names)
@input_options
@format_option
@world_option
@click.option("--how", type=click.Choice([h.value for h in How]), help="another kind of failover")
@click.option(
    "--virtual-server", "kind", type=click.Choice(["fastL4", "standard"]),
    help="another type of virtual server",
)  # fmt: skip
@click.option(
    "--commit", type=click.Choice(["async", "sync"]), help="how a standard one is mirrored"
)
@click.option(
    "--behind", type=click.Choice(BEHIND_NAMES), help="also do this behind the scenario's back"
)
@click.option(
    "--output", type=click.Path(path_type=Path), default=RUNS, show_default=True,
    help="where the run's folder is made",
)  # fmt: skip
def run(  # one parameter an option
    scenario: str | None,
    given: Given,
    form: str,
    kind_of_world: str | None,
    how: str | None,
    kind: str | None,
    commit: str | None,
    behind: str | None,
    output: Path,
) -> None:
    """Run SCENARIO (a built-in name or a YAML file) and say what happened, and why.

    Or run what you already have: tmsh stanzas, AS3, Cloud Failover and Declarative Onboarding
    declarations, in any mix; with SCENARIO as well, it says what they do not.

    Builds a world of its own, opens real sessions, fails the active device over, watches,
    takes the world down, and judges from the captures. About 20 seconds.

    \b
      mirrorlab run article
      mirrorlab run article-snat-pool --how power-off
      mirrorlab run article-snat-pool --virtual-server standard --commit sync
      mirrorlab run article-snat-pool --behind api-cut-off
      mirrorlab run --bigip-conf bigip.conf --cfe cfe.json --virtual vs_ssh
      mirrorlab run my.yaml --format json | jq .connections[].outcome
    """
    from emulator.lab.behind import BEHIND
    from emulator.lab.endpoints import wanted
    from emulator.lab.result import as_expected
    from emulator.lab.runner import run_scenario
    from emulator.lab.story import story

    chosen, inputs = scenario_or_inputs(scenario, given, kind_of_world)
    chosen = with_virtual_server(chosen, type=kind, commit=commit)
    if how is not None:
        after = chosen.failover.after_s if chosen.failover else Failover().after_s
        chosen = chosen.model_copy(update={"failover": Failover(how=How(how), after_s=after)})
    _check_behind(behind, chosen)
    need_host(wanted(chosen))
    need_peers({chosen.devices.data_plane})
    start = time.monotonic()
    with stderr.status("starting") as status:

        def progress(text: str) -> None:
            elapsed = time.monotonic() - start
            if stderr.is_terminal:
                status.update(f"{text}  [dim]{elapsed:.0f} s[/dim]")
            else:
                stderr.print(f"{elapsed:6.1f} s  {text}")

        try:
            done = run_scenario(
                chosen, output, progress=progress, behind=BEHIND[behind] if behind else None
            )
        except OSError as error:
            raise unwritable(error, output) from error
    keep_inputs(inputs, done.folder)
    if form == "json":
        click.echo(json.dumps(done.result, indent=2))
    else:
        stdout.print(story(done.result, str(done.folder)))
        if done.report:
            stdout.print(f"The same as a page:             {escape(str(done.report))}")
    if done.remark:
        stderr.print(f"mirrorlab: {escape(done.remark)}")
    if done.result["void"]:
        sys.exit(FAULT)
    if not as_expected(done.result):
        sys.exit(NOT_AS_EXPECTED)


def _check_behind(behind: str | None, scenario: Scenario) -> None:
    """What would not be done, or could not, is an error before anything is built."""
    if behind is not None and scenario.failover is None:
        raise Fail(f"--behind: {scenario.name} has no failover for it to come before", USAGE)
    if behind in OF_THE_CLOUD and scenario.world != "cloud":
        raise Fail(f"--behind {behind} is done to a cloud: world is {scenario.world}", USAGE)


@click.command()
@format_option
def scenarios(form: str) -> None:
    """The built-in scenarios.

    \b
      mirrorlab scenarios
      mirrorlab scenarios --format json | jq -r '.[].title'
    """
    loaded = [read_scenario(name) for name in scenario_file.names()]
    if form == "json":
        click.echo(json.dumps([s.model_dump(mode="json") for s in loaded], indent=2))
        return
    for scenario in loaded:
        click.echo(f"{scenario.name:<26} {scenario.title}")


@click.command()
def schema() -> None:
    """The JSON Schema of scenario files, for editors.

    \b
      mirrorlab schema > scenario.schema.json
    """
    click.echo(json.dumps(Scenario.model_json_schema(), indent=2))


@click.command()
@format_option
def doctor(form: str) -> None:
    """What this host has and lacks; exit status 3 if the lab cannot run on it.

    \b
      mirrorlab doctor
    """
    checks = host.examine()
    if form == "json":
        click.echo(json.dumps([vars(check) for check in checks], indent=2))
    else:
        for check in checks:
            mark = "ok     " if check.ok else ("MISSING" if check.needed else "absent ")
            remedy = "" if check.ok else f"  -> {check.remedy}"
            click.echo(f"{mark} {check.name:<18} {check.detail}{remedy}")
    if host.missing(checks):
        sys.exit(CANNOT)
