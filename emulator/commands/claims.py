"""`claims`: the article's claims, answered by runs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

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
from emulator.commands.terminal import USAGE, Fail, need_host, stdout
from emulator.lab.study.claimtable import CLAIMS

NAMES = [claim.id for claim in CLAIMS]


@click.command()
@click.argument("names", nargs=-1, metavar="[CLAIM]...")
@format_option
@click.option("--list", "only_list", is_flag=True, help="print the claims, run nothing")
@click.option(
    "--write", type=click.Path(path_type=Path, file_okay=False),
    help="folder to write results.json and results.md into (all claims)",
)  # fmt: skip
@parallel_option
@output_option
@fresh_option
def claims(
    names: tuple[str, ...], form: str, only_list: bool, write: Path | None, parallel: int | None,
    output: Path, fresh: bool,
) -> None:  # fmt: skip
    """The article's claims, each answered by runs: holds, does not hold, or holds when.

    All of them take a quarter of an hour; an interrupted call goes on where it stopped.

    \b
      mirrorlab claims --list
      mirrorlab claims C5 C14
      mirrorlab claims --write docs
    """
    from emulator.lab.study.batch import Batch
    from emulator.lab.study.dispute import CELLS
    from emulator.lab.study.results import answer_all
    from emulator.lab.study.resultspage import markdown

    chosen = [_named(name) for name in names] or [*CLAIMS]
    if only_list:
        for claim in chosen:
            click.echo(f"{claim.id:<4} {claim.text}")
        return
    if write is not None and names:
        raise Fail("--write writes the answers to all claims: name none", USAGE)
    need_host()
    folder = study_folder(output / "claims", fresh)
    with reporting() as report, Batch(folder, parallel=parallel) as batch:
        data = answer_all(
            batch, lambda done, at, of: report("claims", done, at, of),
            claims=chosen, cells=() if names else CELLS,
        )  # fmt: skip
    if write is not None:
        try:
            write.mkdir(parents=True, exist_ok=True)
            (write / "results.json").write_text(json.dumps(data, indent=1) + "\n")
            (write / "results.md").write_text(markdown(data))
        except OSError as error:
            raise Fail(f"{error.filename}: {error.strerror}", USAGE) from error
    if form == "json":
        click.echo(json.dumps(data, indent=2))
        return
    _print(data)
    stdout.print(f"\nEvery run is kept in {folder}")


def _named(name: str) -> Any:
    found = next((claim for claim in CLAIMS if claim.id == name.upper()), None)
    if found is None:
        raise Fail(f"no claim {name!r}; there are: {', '.join(NAMES)}", USAGE)
    return found


def _print(data: Mapping[str, Any]) -> None:
    from emulator.lab.study.dispute import conclusion
    from emulator.lab.study.resultspage import fates

    for claim in data["claims"]:
        stdout.print(f"[bold]{claim['id']}[/bold]  {claim['text']}")
        stdout.print(f"  [bold]{claim['verdict']}[/bold]")
        table = Table("condition", claim["question"] + "?", "sessions")
        for case in claim["cases"]:
            style = "dim" if case["contrast"] else ""
            table.add_row(case["label"], case["answer"], fates(case["sessions"]), style=style)
        stdout.print(table)
    if data["dispute"]:
        stdout.print("[bold]Time, or address and state?[/bold]")
    for sentence in conclusion(data["dispute"]):
        stdout.print(f"  {sentence}")
