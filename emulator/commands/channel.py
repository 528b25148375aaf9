"""`channel`: harm or heal the mirroring channel of a running lab."""

from __future__ import annotations

import click
from pydantic import ValidationError

from emulator.commands.choices import name_option
from emulator.commands.terminal import USAGE, Fail, need_root
from emulator.lab.settings.mirror_channel import MirrorChannel

KINDS = ("cut", "slow", "to-standby-lost", "to-active-lost", "heal")


@click.command()
@click.argument("fault", type=click.Choice(KINDS))
@click.option("--bits-per-s", type=int, help="with slow: what passes, headers included")
@name_option
def channel(fault: str, bits_per_s: int | None, name: str) -> None:
    """Harm the mirroring channel of a running lab from now on, or heal it.

    The fault is made in the network between the devices, behind their backs; heartbeats go on.
    `to-standby-lost` loses only what bigip-a sends, `to-active-lost` only what bigip-b does.

    \b
      mirrorlab channel cut
      mirrorlab channel slow --bits-per-s 64000
      mirrorlab channel to-standby-lost && mirrorlab standby-ready
      mirrorlab channel heal
    """
    from emulator.lab.channelfaults import heal, inject
    from emulator.lab.instance import Lab

    wanted = None
    if fault != "heal":
        try:
            wanted = MirrorChannel.model_validate({"fault": fault, "bits_per_s": bits_per_s})
        except ValidationError as error:
            said = error.errors()[0]
            where = f"{'.'.join(map(str, said['loc']))}: " if said["loc"] else ""
            raise Fail(where + said["msg"].removeprefix("Value error, "), USAGE) from error
    need_root()
    lab = Lab.load(name)
    if wanted is not None:
        inject(lab, wanted)
        click.echo(f"mirroring channel: {fault}")
    else:
        click.echo("mirroring channel: " + ("healed" if heal(lab) else "nothing to heal"))
