"""The pages of what was run: `report`."""

from __future__ import annotations

from pathlib import Path

import click

from emulator.commands.terminal import RUNS, USAGE, Fail, stderr
from emulator.lab.ownership import hand_over

LATEST = "LATEST"


@click.command()
@click.argument("run", default=LATEST)
@click.option(
    "--runs", type=click.Path(path_type=Path), default=RUNS, show_default=True,
    help="where the runs' folders are",
)  # fmt: skip
@click.option("--index", "only_index", is_flag=True, help="only the index of all runs")
def report(run: str, runs: Path, only_index: bool) -> None:
    """Make RUN's page again, from its folder alone: report.html (LATEST: the newest run's).

    RUN is a run's folder or its name below --runs; the folder of a `matrix` or a `why` gives
    that study's page. The index of all runs, index.html, is made as well. Needs no root.

    \b
      mirrorlab report
      mirrorlab report captures/runs/why-article
      mirrorlab report --index
    """
    from emulator.lab.report import pages

    try:
        if only_index:
            index = pages.write_index(runs)
            hand_over([index])
            click.echo(index)
            return
        folder = _latest(runs) if run == LATEST else _folder(run, runs)
        with stderr.status("reading the captures"):
            made = _make(folder)
        hand_over([made])
        if folder.resolve().parent == runs.resolve():
            hand_over([pages.write_index(runs)])
    except pages.NoReport as error:
        raise Fail(str(error), USAGE) from error
    except OSError as error:
        raise Fail(f"{error.filename or runs}: {error.strerror}", USAGE) from error
    click.echo(made)


def _make(folder: Path) -> Path:
    from emulator.lab.report import pages

    if (folder / "matrix.json").is_file():
        return pages.write_matrix(folder)
    if (folder / "why.json").is_file():
        return pages.write_why(folder)
    return pages.write_report(folder)


def _folder(run: str, runs: Path) -> Path:
    for folder in (Path(run), runs / run):
        if folder.is_dir():
            return folder
    raise Fail(f"no run {run!r}, neither as a folder nor below {runs}", USAGE)


def _latest(runs: Path) -> Path:
    """The newest by its name, which begins with the time it was made."""
    found = [p for p in runs.glob("[0-9]*Z-*") if (p / "result.json").is_file()]
    if not found:
        raise Fail(f"no finished run lies in {runs}", USAGE)
    return max(found, key=lambda p: p.name)
