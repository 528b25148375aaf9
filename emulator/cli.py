"""The `mirrorlab` command. Results on stdout, progress and logs on stderr.

Exit status: 0 as expected, 1 not as expected, 2 usage or configuration, 3 this host
cannot, 4 lab fault (the run is void), 130 interrupted.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from pathlib import Path
from typing import Any

import click
from rich.table import Table

from emulator import __version__, studies
from emulator.choices import (
    format_option,
    in_world,
    read_scenario,
    with_virtual_server,
    world_option,
)
from emulator.lab import scenario_file
from emulator.lab.deployment import DEVICES, arp_cache_s, entry_address, world
from emulator.lab.settings.scenario import Failover, How, Scenario
from emulator.lab.workload.services import aws_environment
from emulator.terminal import (
    CANNOT,
    FAULT,
    NOT_AS_EXPECTED,
    RUNS,
    USAGE,
    Fail,
    Main,
    need_host,
    need_root,
    run_command,
    stderr,
    stdout,
)
from netns import doctor as host
from netns.execute import command_in
from netns.worlds import picture, plan


@click.group(cls=Main, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="mirrorlab")
def cli() -> None:
    """What happens to long-lived TCP connections when a BIG-IP pair fails over, and why.

    \b
    See one experiment, end to end:      mirrorlab run article
    Have a look around by hand:          mirrorlab up
                                         mirrorlab shell client      (then: ssh vip)
                                         mirrorlab failover
                                         mirrorlab status
                                         mirrorlab down
    What would have saved them?          mirrorlab why article
    Is this host fit for it?             mirrorlab doctor

    Needs root, for network namespaces; nothing of the host's own network is touched.
    """


def _lab_name(_: click.Context, __: click.Parameter, value: str) -> str:
    from emulator.lab.instance import check_id

    try:
        return check_id(value)
    except ValueError as error:
        raise Fail(str(error), USAGE) from error


name_option = click.option(
    "--name", default="lab0", show_default=True, envvar="MIRRORLAB_NAME", help="which lab",
    callback=_lab_name,
)  # fmt: skip


@cli.command()
@click.argument("scenario")
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
    "--output", type=click.Path(path_type=Path), default=RUNS, show_default=True,
    help="where the run's folder is made",
)  # fmt: skip
def run(  # one parameter an option
    scenario: str,
    form: str,
    kind_of_world: str | None,
    how: str | None,
    kind: str | None,
    commit: str | None,
    output: Path,
) -> None:
    """Run SCENARIO (a built-in name or a YAML file) and say what happened, and why.

    Builds a world of its own, opens real sessions, fails the active device over, watches,
    takes the world down, and judges from the captures. About 20 seconds.

    \b
      mirrorlab run article
      mirrorlab run article-snat-pool --how power-off
      mirrorlab run article-snat-pool --virtual-server standard --commit sync
      mirrorlab run my.yaml --format json | jq .connections[].outcome
    """
    from emulator.lab.result import as_expected
    from emulator.lab.runner import run_scenario
    from emulator.lab.story import story

    chosen = in_world(read_scenario(scenario), kind_of_world)
    chosen = with_virtual_server(chosen, type=kind, commit=commit)
    if how is not None:
        after = chosen.failover.after_s if chosen.failover else Failover().after_s
        chosen = chosen.model_copy(update={"failover": Failover(how=How(how), after_s=after)})
    need_host()
    start = time.monotonic()
    with stderr.status("starting") as status:

        def progress(text: str) -> None:
            elapsed = time.monotonic() - start
            if stderr.is_terminal:
                status.update(f"{text}  [dim]{elapsed:.0f} s[/dim]")
            else:
                stderr.print(f"{elapsed:6.1f} s  {text}")

        try:
            done = run_scenario(chosen, output, progress=progress)
        except OSError as error:
            raise Fail(f"{error.filename or output}: {error.strerror}", USAGE) from error
    if form == "json":
        click.echo(json.dumps(done.result, indent=2))
    else:
        stdout.print(story(done.result, str(done.folder)))
    if done.result["void"]:
        sys.exit(FAULT)
    if not as_expected(done.result):
        sys.exit(NOT_AS_EXPECTED)


@cli.command()
@click.argument("scenario", default="article")
@name_option
@world_option
@click.option("--dry-run", is_flag=True, help="print the picture and every command, do nothing")
def up(scenario: str, name: str, kind_of_world: str | None, dry_run: bool) -> None:
    """Build SCENARIO's world and leave it running, for use by hand."""
    from emulator.lab.instance import Lab, LabExists

    chosen = in_world(read_scenario(scenario), kind_of_world)
    if dry_run:
        built = world(chosen, name)
        steps = plan(built, arp_cache_s(chosen))
        click.echo(picture(built) + "\n\n" + "\n".join(map(str, steps)))
        return
    need_host()
    start = time.monotonic()
    lab = Lab(name, chosen)
    try:
        lab.create()
        built_s = time.monotonic() - start
        lab.start()
    except LabExists:
        raise
    except BaseException:
        lab.destroy()
        raise
    click.echo(
        f"lab {name} is up ({chosen.name}): world in {built_s:.2f} s, "
        f"servers and devices in {time.monotonic() - start - built_s:.2f} s more"
    )
    click.echo(picture(lab.world))
    click.echo(
        f"\nThe virtual server is {entry_address(chosen)}, port 22 (ssh), 23 (telnet), "
        "7 (echo).\nNow: mirrorlab shell client, and there: ssh vip"
    )


@cli.command()
@name_option
@click.option("--all", "everything", is_flag=True, help="every lab, whatever is left of it")
def down(name: str, everything: bool) -> None:
    """Take a lab down; nothing is left of it. No error if there is none."""
    from emulator.lab import instance

    need_root()
    for lab in instance.all_labs() if everything else [name]:
        click.echo(f"lab {lab}: " + ("down" if instance.down(lab) else "was not up"))


@cli.command()
@name_option
@format_option
def status(name: str, form: str) -> None:
    """Roles, channel and flows of both devices."""
    from emulator.lab.instance import Lab

    need_root()
    lab = Lab.load(name)
    states = {node: lab.status(node) for node in DEVICES}
    if form == "json":
        click.echo(json.dumps({"lab": name, "devices": states}, indent=2))
        return
    table = Table("device", "role", "for", "mirror channel", "flows", "mirrored", "resets sent")
    for node, state in states.items():
        if not state:
            table.add_row(node, "dead", "", "", "", "", "")
            continue
        causes = state["reset_causes"]
        resets = (
            ", ".join(f"{n}x {c}" for c, n in causes.items()) if isinstance(causes, dict) else ""
        )
        keys = ("role", "since_s", "mirror_channel", "flows", "mirrored_flows")
        role, since, *rest = (str(state[key]) for key in keys)
        table.add_row(node, role, f"{since} s", *rest, resets or "-")
    stdout.print(f"lab {name}: {lab.scenario.name}")
    stdout.print(table)


@cli.command()
@name_option
@click.option(
    "--how", type=click.Choice([h.value for h in How]), default="force-standby", show_default=True
)
def failover(name: str, how: str) -> None:
    """Make the active device of a running lab stop being active."""
    from emulator.lab.faults import trigger
    from emulator.lab.instance import Lab

    need_root()
    lab = Lab.load(name)
    active = [node for node in DEVICES if lab.status(node).get("role") == "active"]
    if not active:
        raise Fail("no device is active: nothing to fail over", USAGE)
    trigger(lab, active[0], How(how))
    click.echo(f"{active[0]}: {how}")


@cli.command()
@click.argument("device", type=click.Choice(DEVICES))
@click.argument("line")
@name_option
def tmsh(device: str, line: str, name: str) -> None:
    """Ask a DEVICE of a running lab in its own words.

    \b
      mirrorlab tmsh bigip-b "show sys connection type mirror"
      mirrorlab tmsh bigip-a "run sys failover standby"
    """
    from emulator.lab.instance import Lab

    need_root()
    text = Lab.load(name).tmsh(device, line)
    if text:
        click.echo(text)


def _node(name: str, node: str) -> tuple[Any, str]:
    from emulator.lab.instance import Lab

    need_root()
    lab = Lab.load(name)
    if node not in lab.world.nodes:
        raise Fail(f"no node {node!r}; there are: {', '.join(lab.world.nodes)}", USAGE)
    return lab, lab.world.namespace(node)


@cli.command()
@click.argument("node")
@name_option
def shell(node: str, name: str) -> None:
    """A shell inside NODE: client, router, bigip-a, bigip-b, backend-1, backend-2, and api
    (cloud) or switch (onprem).

    In the client, `ssh vip` and `telnet vip` go through the virtual server. `aws` and boto3
    ask the lab's own cloud.
    """
    lab, namespace = _node(name, node)
    rc = lab.folder / "shellrc"
    rc.write_text(f"PS1='[{node}] \\w\\$ '\ncd /root 2>/dev/null\nunset PROMPT_COMMAND\n")
    shell_argv = ["bash", "--rcfile", str(rc), "-i"] if shutil.which("bash") else ["sh", "-i"]
    argv = command_in(namespace, shell_argv, etc=lab.folder / "etc")
    os.execvpe(argv[0], argv, aws_environment(lab.folder, os.environ))


@cli.command(context_settings={"ignore_unknown_options": True})
@click.argument("node")
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
@name_option
def exec(node: str, command: tuple[str, ...], name: str) -> None:
    """Run COMMAND inside NODE:  mirrorlab exec backend-1 -- ss -tn"""
    lab, namespace = _node(name, node)
    argv = command_in(namespace, command, etc=lab.folder / "etc")
    sys.stdout.flush()
    os.execvpe(argv[0], argv, aws_environment(lab.folder, os.environ))


@cli.command()
@format_option
def scenarios(form: str) -> None:
    """The built-in scenarios."""
    loaded = [read_scenario(name) for name in scenario_file.names()]
    if form == "json":
        click.echo(json.dumps([s.model_dump(mode="json") for s in loaded], indent=2))
        return
    for scenario in loaded:
        click.echo(f"{scenario.name:<26} {scenario.title}")


@cli.command()
def schema() -> None:
    """The JSON Schema of scenario files, for editors."""
    click.echo(json.dumps(Scenario.model_json_schema(), indent=2))


@cli.command()
@format_option
def doctor(form: str) -> None:
    """What this host has and lacks; exit status 3 if the lab cannot run on it."""
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


cli.add_command(studies.why)
cli.add_command(studies.matrix)


def main() -> None:
    """Entry point of the `mirrorlab` command."""
    run_command(cli)


if __name__ == "__main__":
    main()
