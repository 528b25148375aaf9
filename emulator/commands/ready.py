"""`standby-ready`: is the standby able to take over now?"""

from __future__ import annotations

import json
import sys
import time

import click

from emulator.commands.choices import format_option, name_option
from emulator.commands.terminal import NOT_AS_EXPECTED, USAGE, Fail, need_root, stdout
from emulator.lab.readiness import MAX_LAG_S, Readiness, judge

LISTED = 20  # differences printed; --format json has all
_AGAIN_S = 0.5


@click.command("standby-ready")
@name_option
@format_option
@click.option(
    "--wait", "wait_s", type=click.FloatRange(0, 3600), default=0.0, metavar="SECONDS",
    help="until it is ready, for so long at most",
)  # fmt: skip
@click.option(
    "--max-lag", "max_lag_s", type=click.FloatRange(0, 3600), default=MAX_LAG_S,
    show_default=True, metavar="SECONDS", help="how old an unacknowledged mirror message may be",
)  # fmt: skip
@click.option("--no-cloud", is_flag=True, help="do not ask the provider's API (a dry run)")
def standby_ready(name: str, form: str, wait_s: float, max_lag_s: float, no_cloud: bool) -> None:
    """Is the standby of a running lab able to take over now? Changes nothing.

    Compares the connection tables of both devices, sends one probe each way over the mirroring
    channel's path, reads the lag, and has the standby's failover extension make a dry run.
    Exit status: 0 ready, 1 not ready, 2 no such lab or one of a peer's data plane, 3 not root.

    \b
      mirrorlab standby-ready
      mirrorlab standby-ready --wait 30 && mirrorlab failover
      mirrorlab standby-ready --format json | jq '.differences[].why'
    """
    from emulator.lab.instance import Lab
    from emulator.lab.lookout import look

    need_root()
    lab = Lab.load(name)
    peer = lab.scenario.devices.data_plane
    if peer != "bigip":
        raise Fail(f"lab {name}: its connections are {peer}'s, the devices know none", USAGE)
    deadline = time.monotonic() + wait_s
    while True:
        found = judge(look(lab, cloud=not no_cloud), max_lag_s=max_lag_s)
        if found.ready or time.monotonic() >= deadline:
            break
        time.sleep(_AGAIN_S)
    if form == "json":
        click.echo(json.dumps(found.as_json(), indent=2))
    else:
        _tell(found)
    if not found.ready:
        sys.exit(NOT_AS_EXPECTED)


def _tell(found: Readiness) -> None:
    for check in found.checks:
        mark = "[green]ok[/green]      " if check.ok else "[red]NOT OK[/red]  "
        stdout.print(f"{mark}{check.name:<9}{check.text}")
    for difference in found.differences[:LISTED]:
        ends = f"{difference.client} -> {difference.virtual}"
        stdout.print(f"  {difference.kind:<9}{ends:<40}{difference.why}")
    if len(found.differences) > LISTED:
        stdout.print(f"  and {len(found.differences) - LISTED} more (--format json)")
    stdout.print("\nReady." if found.ready else "\nNot ready.")
