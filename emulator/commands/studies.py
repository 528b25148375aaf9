"""The commands that run many experiments: `why` and `matrix`."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from emulator.commands.choices import (
    format_option,
    read_scenario,
    scenario_names,
    with_virtual_server,
)
from emulator.commands.terminal import RUNS, USAGE, Fail, need_host, stderr, stdout
from emulator.lab.ownership import hand_over, missing
from emulator.lab.settings.scenario import Failover, How

if TYPE_CHECKING:
    from emulator.lab.study.batch import Done
    from emulator.lab.study.matrix import Matrix
    from emulator.lab.study.why import Answer, Trial

Report = Callable[[str, "Done", int, int], None]

parallel_option = click.option(
    "--parallel", type=click.IntRange(1, 64), help="runs at the same time (default: cores + 1)"
)
output_option = click.option(
    "--output", type=click.Path(path_type=Path), default=RUNS, show_default=True,
    help="where the runs' folders are made",
)  # fmt: skip
fresh_option = click.option(
    "--fresh", is_flag=True, help="run everything again, also what an earlier call has finished"
)


@click.command()
@click.argument("scenario", shell_complete=scenario_names)
@format_option
@click.option("--how", type=click.Choice([h.value for h in How]), help="another kind of failover")
@click.option("--virtual-server", "kind", type=click.Choice(["fastL4", "standard"]))
@parallel_option
@output_option
@fresh_option
def why(
    scenario: str, form: str, how: str | None, kind: str | None, parallel: int | None, output: Path,
    fresh: bool,
) -> None:  # fmt: skip
    """What would have to be true for SCENARIO's connections to live.

    Runs it as it is; then with one thing changed at a time; then, if nothing alone helps, with
    two. Prints the smallest sets of changes that keep every session alive, and what each
    costs. Minutes; an interrupted call goes on where it stopped.

    \b
      mirrorlab why article
      mirrorlab why article --how power-off --format json
    """
    from emulator.lab.endpoints import wanted
    from emulator.lab.study.batch import Batch
    from emulator.lab.study.why import as_data, ask

    chosen = with_virtual_server(read_scenario(scenario), type=kind)
    if how is not None:
        after = chosen.failover.after_s if chosen.failover else Failover().after_s
        chosen = chosen.model_copy(update={"failover": Failover(how=How(how), after_s=after)})
    need_host(wanted(chosen))
    folder = study_folder(output / f"why-{chosen.name}", fresh)
    with reporting() as report, Batch(folder, parallel=parallel) as batch:
        answer = ask(chosen, batch, report)
    data = as_data(answer)
    (folder / "why.json").write_text(json.dumps(data, indent=2) + "\n")
    page = _page("why", folder)
    if form == "json":
        click.echo(json.dumps(data, indent=2))
        return
    _print_answer(answer, folder)
    stdout.print(page)


def _print_answer(answer: Answer, folder: Path) -> None:
    from emulator.lab.study.why import causes

    stdout.print(f"[bold]{answer.scenario.title}[/bold]  ({answer.scenario.name})\n")
    as_it_is = answer.trials[0]
    if as_it_is.saved:
        stdout.print("Every session survives as it is: nothing has to change.")
        return
    stdout.print(f"As it is: {_in_words(as_it_is)}\n")
    table = Table("change", "what becomes of the sessions", title="What was tried")
    for trial in answer.trials[1:]:
        names = " + ".join(f.id for f in trial.factors)
        style = "bold green" if trial.saved else ""
        table.add_row(names, _in_words(trial), style=style)
    stdout.print(table)
    if not answer.answers:
        stdout.print("\nNo single change and no two of them keep every session alive.")
    else:
        number = len(answer.answers[0].factors)
        what = "one change" if number == 1 else f"{number} changes together"
        stdout.print(f"\n[bold]What saves every session ({what}):[/bold]")
        for trial in answer.answers:
            for at, factor in enumerate(trial.factors):
                stdout.print(f"{'  * ' if at == 0 else '  + '}{factor.title}")
                stdout.print(f"    costs: {factor.cost}")
    named = ", ".join(causes(as_it_is))
    stdout.print(f"\nCause as it is: {named or 'none named'}. Every run is kept in {folder}")


def _in_words(trial: Trial) -> str:
    from emulator.lab.study.matrix import summary

    return summary(trial.done)


@click.command()
@click.argument("scenario", default="article", shell_complete=scenario_names)
@format_option
@click.option(
    "--preset", type=click.Choice(["quick", "full"]), default="quick", show_default=True,
    help="quick: a dozen runs; full: some hundred, an hour",
)  # fmt: skip
@click.option("--list", "only_list", is_flag=True, help="print the cells, run nothing")
@parallel_option
@output_option
@fresh_option
def matrix(
    scenario: str, form: str, preset: str, only_list: bool, parallel: int | None, output: Path,
    fresh: bool,
) -> None:  # fmt: skip
    """The survival table: SNAT x mirroring x virtual server (x failover x delay).

    Every cell is a run of SCENARIO with those settings, its outcome by packets. An interrupted
    call goes on where it stopped.

    \b
      mirrorlab matrix
      mirrorlab matrix --preset full --format json > matrix.json
    """
    from emulator.lab.endpoints import wanted
    from emulator.lab.study.batch import Batch
    from emulator.lab.study.matrix import PRESETS, as_data, fill

    base, axes = read_scenario(scenario), PRESETS[preset]
    if only_list:
        for axis in axes:
            click.echo(f"{axis.name:<15} {', '.join(axis.values)}")
        return
    need_host(wanted(base))
    folder = study_folder(output / f"matrix-{base.name}-{preset}", fresh)
    with reporting() as report, Batch(folder, parallel=parallel) as batch:
        found = fill(base, axes, batch, lambda done, at, of: report("matrix", done, at, of))
    data = as_data(found)
    (folder / "matrix.json").write_text(json.dumps(data, indent=2) + "\n")
    page = _page("matrix", folder)
    if form == "json":
        click.echo(json.dumps(data, indent=2))
        return
    _print_matrix(found)
    stdout.print(f"\nEvery run is kept in {folder}")
    stdout.print(page)


def _print_matrix(found: Matrix) -> None:
    from emulator.lab.study.matrix import summary
    from emulator.lab.study.why import all_live

    table = Table(*(axis.name for axis in found.axes), "sessions")
    for cell in found.cells:
        if cell.done is None:
            table.add_row(*cell.labels, f"not possible: {cell.why_not}", style="dim")
            continue
        live = all_live(cell.done.result)
        table.add_row(*cell.labels, summary(cell.done), style="bold green" if live else "")
    stdout.print(table)


def _page(kind: str, folder: Path) -> str:
    """Write the study's page; says where it is, or why there is none."""
    from emulator.lab.report import pages

    try:
        made = {"why": pages.write_why, "matrix": pages.write_matrix}[kind](folder)
        pages.write_index(folder.parent)
    except Exception as error:  # the answer itself is there: a page must not cost it
        return f"No page was written: {type(error).__name__}: {error}"
    return f"The same as a page: {made}"


def study_folder(folder: Path, fresh: bool) -> Path:
    """Make it; all that lies in it when the command ends is the caller's, as a run's is."""
    made = missing(folder)
    context = click.get_current_context(silent=True)
    if context is not None:
        context.call_on_close(
            lambda: hand_over([*made, folder, folder.parent / "index.html", *folder.rglob("*")])
        )
    try:
        if fresh:
            shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Fail(f"{error.filename or folder}: {error.strerror}", USAGE) from error
    return folder


@contextmanager
def reporting() -> Iterator[Report]:
    """A progress bar on a terminal, a line a run elsewhere; on stderr."""
    from emulator.lab.study.matrix import summary

    columns = (
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
    )  # fmt: skip
    with Progress(*columns, console=stderr, disable=not stderr.is_terminal) as progress:
        tasks = {}

        def report(what: str, done: Done, at: int, of: int) -> None:
            if not stderr.is_terminal:
                again = " (finished earlier)" if done.reused else ""
                stderr.print(f"{what} {at}/{of}  {done.job.key}: {summary(done)}{again}")
                return
            if what not in tasks:
                tasks[what] = progress.add_task(what, total=of)
            progress.update(tasks[what], completed=at, total=of)

        yield report
