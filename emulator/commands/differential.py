"""`differential`: the lab's BIG-IP beside conntrackd and HAProxy, cell by cell."""

from __future__ import annotations

import json
import platform
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.table import Table

from emulator.commands.choices import format_option
from emulator.commands.studies import fresh_option, output_option, parallel_option
from emulator.commands.studies import reporting as reporting
from emulator.commands.studies import study_folder as study_folder
from emulator.commands.terminal import (
    NOT_AS_EXPECTED,
    USAGE,
    Fail,
    need_host,
    need_peers,
    stdout,
)

if TYPE_CHECKING:
    from emulator.lab.study.comparison import Compared


@click.command()
@format_option
@click.option(
    "--only", multiple=True, metavar="WORD",
    help="cells whose name contains it, like standard, pool, power-off; repeat to narrow",
)  # fmt: skip
@click.option("--list", "only_list", is_flag=True, help="print the cells, run nothing")
@click.option(
    "--page", type=click.Path(path_type=Path, dir_okay=False),
    help="write the comparison there, as docs/differential.md is",
)  # fmt: skip
@parallel_option
@output_option
@fresh_option
def differential(
    form: str, only: tuple[str, ...], only_list: bool, page: Path | None, parallel: int | None,
    output: Path, fresh: bool,
) -> None:  # fmt: skip
    """The same worlds with conntrackd and HAProxy in place of the lab's BIG-IP.

    Every cell is run twice, with the lab's data plane and with the peer's, and compared session
    by session. An interrupted call goes on where it stopped. Exit status 1 when a
    difference is not explained. Needs the Debian packages conntrackd, conntrack and haproxy
    (make differential installs them); all cells take half an hour.

    \b
      mirrorlab differential --only standard --only pool
      mirrorlab differential --format json --page docs/differential.md
    """
    from emulator.lab.study.batch import Batch
    from emulator.lab.study.comparison import as_data
    from emulator.lab.study.differential import chosen, run
    from emulator.lab.study.differentialpage import page as written

    wanted = chosen(*only)
    if not wanted:
        raise Fail(f"no cell's name contains {' and '.join(only)} (--list prints them)", USAGE)
    if only_list:
        for cell in wanted:
            click.echo(f"{cell.name:<58} {cell.peer}")
        return
    need_host()
    need_peers({cell.peer for cell in wanted})
    folder = study_folder(output / "differential", fresh)
    with reporting() as report, Batch(folder, parallel=parallel) as batch:
        found = run(wanted, batch, lambda done, at, of: report("differential", done, at, of))
    data = as_data(found)
    (folder / "differential.json").write_text(json.dumps(data, indent=2) + "\n")
    if page is not None:
        page.write_text(written(found, _versions()))
    if form == "json":
        click.echo(json.dumps(data, indent=2))
    else:
        _print(found)
        stdout.print(f"\nEvery run is kept in {folder}")
    if data["count"]["unexplained"]:
        sys.exit(NOT_AS_EXPECTED)


def _versions() -> str:
    said = [f"Linux {platform.release()}"]
    for argv in (["conntrackd", "-v"], ["haproxy", "-v"]):
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        first = (done.stdout or done.stderr).splitlines()[:1]
        said += [line.partition(". ")[0].partition(" - http")[0] for line in first]
    return ", ".join(said)


def _print(found: list[Compared]) -> None:
    from emulator.lab.study.comparison import agreement, count, in_words

    table = Table("cell", "ours", "peer", "agree")
    for compared in found:
        ours = in_words([(p.session, p.ours) for p in compared.pairs])
        peer = in_words([(p.session, p.peer) for p in compared.pairs])
        name = f"{compared.cell.name.replace('_', ' ')} {compared.cell.peer}"
        table.add_row(name, ours, peer, agreement(compared))
    stdout.print(table)
    total = count(found)
    stdout.print("\n" + "\n".join(f"{what.replace('_', ' ')}: {n}" for what, n in total.items()))
