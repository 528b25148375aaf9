"""A running lab by hand: `up`, `down`, `status`, `failover`, `tmsh`, `shell`, `exec`."""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from typing import Any

import click
from rich.table import Table

from emulator.commands.choices import (
    format_option,
    in_world,
    name_option,
    node_names,
    read_scenario,
    scenario_names,
    world_option,
)
from emulator.commands.terminal import USAGE, Fail, need_host, need_peers, need_root, stdout
from emulator.lab.deployment import DEVICES, arp_cache_s, entry_address, world
from emulator.lab.endpoints import endpoint_steps, wanted
from emulator.lab.settings.scenario import How
from emulator.lab.workload.applications import PORTS
from emulator.lab.workload.services import aws_environment
from netns.execute import command_in
from netns.worlds import picture, plan


@click.command()
@click.argument("scenario", default="article", shell_complete=scenario_names)
@name_option
@world_option
@click.option("--dry-run", is_flag=True, help="print the picture and every command, do nothing")
def up(scenario: str, name: str, kind_of_world: str | None, dry_run: bool) -> None:
    """Build SCENARIO's world and leave it running, for use by hand.

    The servers of every kind of session run in it, and the scenario's fault of the mirroring
    channel is in force from the start.

    \b
      mirrorlab up article-snat-pool
      mirrorlab up mirror-channel-cut --name second
      mirrorlab up article --dry-run
    """
    from emulator.lab.instance import Lab, LabExists

    chosen = in_world(read_scenario(scenario), kind_of_world)
    if dry_run:
        built = world(chosen, name)
        steps = [*plan(built, arp_cache_s(chosen)), *endpoint_steps(chosen, built)]
        click.echo(picture(built) + "\n\n" + "\n".join(map(str, steps)))
        return
    need_host(wanted(chosen))
    need_peers({chosen.devices.data_plane})
    start = time.monotonic()
    lab = Lab(name, chosen)
    try:
        lab.create()
        built_s = time.monotonic() - start
        lab.start()
        harm = _harm(lab)
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
        harm + f"\nThe virtual server is {entry_address(chosen)}, port 22 (ssh), 23 (telnet), "
        f"7 (echo),\n{_others()}.\nNow: mirrorlab shell client, and there: ssh vip"
    )


def _others() -> str:
    kinds = {kind: port for kind, port in PORTS.items() if kind not in ("ssh", "telnet", "echo")}
    return ", ".join(f"{port} ({kind})" for kind, port in kinds.items())


def _harm(lab: Any) -> str:
    """Make the scenario's fault of the mirroring channel, where there is one; what to say of it."""
    from emulator.lab.channelfaults import inject

    fault = lab.scenario.mirror_channel
    if fault is None:
        return ""
    if fault.before_failover_s is not None:
        return (
            f"The mirroring channel is whole: its fault ({fault.fault}) belongs "
            f"{fault.before_failover_s:g} s before the failover. mirrorlab channel makes it.\n"
        )
    inject(lab, fault)
    return f"The mirroring channel: {fault.fault}. mirrorlab channel heal ends that.\n"


@click.command()
@name_option
@click.option("--all", "everything", is_flag=True, help="every lab, whatever is left of it")
def down(name: str, everything: bool) -> None:
    """Take a lab down; nothing is left of it. No error if there is none.

    \b
      mirrorlab down
      mirrorlab down --name second
    """
    from emulator.lab import instance

    need_root()
    for lab in instance.all_labs() if everything else [name]:
        click.echo(f"lab {lab}: " + ("down" if instance.down(lab) else "was not up"))


@click.command()
@name_option
@format_option
def status(name: str, form: str) -> None:
    """Roles, channel and flows of both devices.

    \b
      mirrorlab status
      mirrorlab status --format json | jq '.devices."bigip-a".mirror_lag'
    """
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


@click.command()
@name_option
@click.option(
    "--how", type=click.Choice([h.value for h in How]), default="force-standby", show_default=True
)
def failover(name: str, how: str) -> None:
    """Make the active device of a running lab stop being active.

    \b
      mirrorlab failover
      mirrorlab failover --how power-off
    """
    from emulator.lab.faults import trigger
    from emulator.lab.instance import Lab

    need_root()
    lab = Lab.load(name)
    active = [node for node in DEVICES if lab.status(node).get("role") == "active"]
    if not active:
        raise Fail("no device is active: nothing to fail over", USAGE)
    trigger(lab, active[0], How(how))
    click.echo(f"{active[0]}: {how}")


@click.command()
@click.argument("device", type=click.Choice(DEVICES))
@click.argument("line", required=False)
@name_option
def tmsh(device: str, line: str | None, name: str) -> None:
    """Ask a DEVICE of a running lab in its own words, or, without a LINE, at its prompt.

    Words may be shortened as far as they stay unambiguous; `help` lists what the device knows.

    \b
      mirrorlab tmsh bigip-a
      mirrorlab tmsh bigip-b "show sys connection type mirror"
      mirrorlab tmsh bigip-a "sho sys conn cs-server-port 22 all-properties"
      mirrorlab tmsh bigip-a "modify ltm virtual vs_alien mirror disabled"
      mirrorlab tmsh bigip-a "run sys failover standby"
    """
    from emulator.lab.instance import Lab

    need_root()
    lab = Lab.load(name)
    if line is None:
        from emulator.commands.prompt import converse

        converse(lab, device)
    elif text := lab.tmsh(device, line):
        click.echo(text)


def _node(name: str, node: str) -> tuple[Any, str]:
    from emulator.lab.instance import Lab

    need_root()
    lab = Lab.load(name)
    if node not in lab.world.nodes:
        raise Fail(f"no node {node!r}; there are: {', '.join(lab.world.nodes)}", USAGE)
    return lab, lab.world.namespace(node)


@click.command()
@click.argument("node", shell_complete=node_names)
@name_option
def shell(node: str, name: str) -> None:
    """A shell inside NODE: client, router, bigip-a, bigip-b, backend-1, backend-2, and api
    (cloud) or switch (onprem).

    In the client, `ssh vip` and `telnet vip` go through the virtual server. `aws` and boto3
    ask the lab's own cloud.

    \b
      mirrorlab shell client
      mirrorlab shell backend-1
    """
    lab, namespace = _node(name, node)
    rc = lab.folder / "shellrc"
    rc.write_text(f"PS1='[{node}] \\w\\$ '\ncd /root 2>/dev/null\nunset PROMPT_COMMAND\n")
    shell_argv = ["bash", "--rcfile", str(rc), "-i"] if shutil.which("bash") else ["sh", "-i"]
    argv = command_in(namespace, shell_argv, etc=lab.folder / "etc")
    os.execvpe(argv[0], argv, aws_environment(lab.folder, os.environ))


@click.command(context_settings={"ignore_unknown_options": True})
@click.argument("node", shell_complete=node_names)
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
@name_option
def exec(node: str, command: tuple[str, ...], name: str) -> None:
    """Run COMMAND inside NODE.

    \b
      mirrorlab exec backend-1 -- ss -tn
      mirrorlab exec client -- ssh vip hostname
      mirrorlab exec client -- aws ec2 describe-route-tables
    """
    lab, namespace = _node(name, node)
    argv = command_in(namespace, command, etc=lab.folder / "etc")
    sys.stdout.flush()
    os.execvpe(argv[0], argv, aws_environment(lab.folder, os.environ))
