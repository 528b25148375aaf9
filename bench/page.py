"""What was measured, kept: bench/results.json, docs/performance.md and its plots."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.harness import Row, table

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "performance.md"
PLOTS = ROOT / "docs" / "performance"
_HEAD = """\
# Performance

Written by `make bench`; how each figure is measured and what limits it:
[bench/README.md](../bench/README.md).
Ratios are of two things measured one right after the other in the same run, again and again:
the least, the median and the greatest of the rounds. Absolute numbers belong to the machine of
the run and drift with what else it does.

"""


def write(
    rows: Sequence[Row], growth: Sequence[dict[str, Any]], about: dict[str, Any], path: Path
) -> None:
    """All three. What this run left out stays as an earlier one found it."""
    kept = json.loads(path.read_text()) if path.exists() else {}
    fresh = {row.contest for row in rows}
    old = [Row(**row) for row in kept.get("figures", []) if row["contest"] not in fresh]
    names = {series["name"] for series in growth}
    growth = [*(s for s in kept.get("growth", []) if s["name"] not in names), *growth]
    rows = [*old, *rows]
    data = {"host": about, "figures": [row.as_json() for row in rows], "growth": growth}
    path.write_text(json.dumps(data, indent=1) + "\n")
    PLOTS.mkdir(exist_ok=True)
    for series in growth:
        draw(series, PLOTS / f"{series['name']}.svg")
    PAGE.write_text(_HEAD + "\n".join(_page(rows, growth, about)) + "\n")


def _page(
    rows: Sequence[Row], growth: Sequence[dict[str, Any]], about: dict[str, Any]
) -> list[str]:
    lines = [
        f"Linux {about['kernel']}, Python {about['python']}, {about['processors']} processors; "
        f"{about['time']}, {about['minutes']} minutes; load at the start {about['load_at_start']}.",
        "", "| figure | here | peer | least | median | greatest | goal | met |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]  # fmt: skip
    lines += [f"| {' | '.join(cells)} |" for cells in table(rows)]
    lines += ["", "## Growth", ""]
    for series in growth:
        lines += [
            f"### {series['title']}",
            "",
            f"![{series['title']}](performance/{series['name']}.svg)",
            "",
        ]
        lines += _points(series)
    return lines


def _points(series: dict[str, Any]) -> list[str]:
    names = list(series["lines"])
    lines = [
        f"| {series['x_label']} | {' | '.join(names)} |",
        f"| --- |{' --- |' * len(names)}",
    ]
    for at, x in enumerate(series["x"]):
        cells = " | ".join(f"{series['lines'][name][at]:.3g}" for name in names)
        lines.append(f"| {x:,} | {cells} |")
    if series["failed"]:
        lines += ["", f"Not measured to the end: {series['failed']}"]
    return [*lines, "", f"({series['y_label']})", ""]


def draw(series: dict[str, Any], path: Path) -> None:
    """A line for each quantity; the number of them on a logarithmic axis."""
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": series["name"]})
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(6, 3.2), layout="constrained")
    for name, values in series["lines"].items():
        axes.plot(series["x"], values, marker="o", label=name)
    axes.set(xscale="log", xlabel=series["x_label"], ylabel=series["y_label"])
    axes.set_ylim(bottom=0)
    axes.set_xticks(series["x"], [f"{x:,}" for x in series["x"]])
    axes.minorticks_off()
    axes.set_title(series["title"])
    axes.grid(alpha=0.3)
    if series["lines"]:
        axes.legend(fontsize="small")
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)
