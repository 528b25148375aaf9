"""`confusion`: whether the verdicts can be trusted."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.table import Table

from emulator.commands.choices import format_option
from emulator.commands.studies import (
    fresh_option,
    output_option,
    parallel_option,
    reporting,
    study_folder,
)
from emulator.commands.terminal import NOT_AS_EXPECTED, need_host, stdout

if TYPE_CHECKING:
    from emulator.lab.study.confusion import Confusion


@click.command()
@format_option
@click.option(
    "--repeat", type=click.IntRange(1, 100), default=3, show_default=True, help="of each plant"
)
@click.option(
    "--healthy",
    type=click.IntRange(0, 1000),
    default=20,
    show_default=True,
    help="runs in which nothing may be named",
)
@parallel_option
@output_option
@fresh_option
def confusion(
    form: str, repeat: int, healthy: int, parallel: int | None, output: Path, fresh: bool
) -> None:
    """Can the verdicts be trusted? Causes planted on purpose against the causes named.

    Some twenty causes, each planted by a scenario or behind its back, each run several times,
    and healthy runs beside them. The judge sees captures, journals and the fabric's log only.
    Exit status 1 if one verdict was wrong. Half an hour; an interrupted call goes on where it
    stopped.

    \b
      mirrorlab confusion
      mirrorlab confusion --repeat 1 --healthy 5
    """
    from emulator.lab.study.batch import Batch
    from emulator.lab.study.confusion import as_data, measure

    need_host()
    folder = study_folder(output / "confusion", fresh)
    with reporting() as report, Batch(folder, parallel=parallel) as batch:
        found = measure(
            batch, lambda done, at, of: report("confusion", done, at, of),
            repeat=repeat, healthy=healthy,
        )  # fmt: skip
    data = as_data(found)
    (folder / "confusion.json").write_text(json.dumps(data, indent=2) + "\n")
    if form == "json":
        click.echo(json.dumps(data, indent=2))
    else:
        _print_confusion(found)
        stdout.print(f"\nEvery run is kept in {folder}")
    if not found.perfect:
        sys.exit(NOT_AS_EXPECTED)


def _print_confusion(found: Confusion) -> None:
    table = Table("planted", "how", "named", "runs right", title="Planted against named")
    for row in found.rows:
        named = ", ".join(f"{n}x {cause}" for cause, n in row.named.most_common())
        style = "" if row.right == len(row.runs) else "bold red"
        table.add_row(
            row.plant.cause, row.plant.id, named, f"{row.right}/{len(row.runs)}", style=style
        )
    stdout.print(table)
    runs = sum(len(row.runs) for row in found.rows)
    good = sum(row.right for row in found.rows)
    causes = len({row.plant.cause for row in found.rows})
    stdout.print(
        f"{causes} causes planted in {len(found.rows)} ways, {runs} runs: {good} named right. "
        f"{len(found.healthy)} healthy runs: {len(found.alarms)} false alarms."
    )
