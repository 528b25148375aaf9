"""What one more costs, as there are more: `python bench/growth.py [SERIES ...]` (root).

Each series is one quantity over a growing number; the cost per unit should stay flat. Written
to bench/results.json by `run.py`, drawn into docs/performance/ by `page.py`.
"""

from __future__ import annotations

import argparse
import json
import secrets
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench.single import one_takeover
from bench.traffic import ABREAST, FAST
from bench.worlds import lab, scenario
from emulator.lab.instance import Lab
from emulator.lab.interrupts import unwind_on_signals
from emulator.lab.wait import LabFault


@dataclass
class Series:
    """`lines`: by name, y for each x. `bend`: why it is not flat, where it is not."""

    name: str
    title: str
    x_label: str
    y_label: str
    x: list[int] = field(default_factory=list)
    lines: dict[str, list[float]] = field(default_factory=dict)
    failed: str = ""

    def add(self, x: int, values: dict[str, float]) -> None:
        """One point of each line."""
        self.x.append(x)
        for name, value in values.items():
            self.lines.setdefault(name, []).append(value)


def connections(series: Series, *, quick: bool) -> None:
    """Mirrored ones, taken over: per connection."""
    for count in (10, 100, 1000) if quick else (10, 100, 1000, 10_000):
        values: dict[str, float] = {}
        for kind in ("fastL4", "standard"):
            reading = one_takeover(kind, count)
            values[f"{kind}, restored"] = reading["restore_ms_each"]
            values[f"{kind}, opened"] = reading["open_ms_each"]
        series.add(count, values)


def memory(series: Series, *, quick: bool) -> None:
    """The standby's, per mirrored idle connection; of ten the resident set would tell nothing."""
    for count in (100, 1000) if quick else (100, 1000, 3000):
        series.add(count, {k: one_takeover(k, count)["memory_kib"] for k in ("fastL4", "standard")})


def flows(series: Series, *, quick: bool) -> None:
    """New mirrored fastL4 flows at a given rate: processor time of both devices per flow."""
    with lab({**FAST, "mirroring": True}) as made:
        nodes, seconds = ("bigip-a", "bigip-b"), 2 if quick else 4
        for rate in (50, 200, 800) if quick else (50, 100, 200, 400, 800, 1600):
            before = [made.cpu_s(node) for node in nodes]
            reading = made.load("connect", seconds, ABREAST, rate)
            made.check_queues()
            used = [made.cpu_s(node) - b for node, b in zip(nodes, before, strict=True)]
            if not reading["done"]:
                raise LabFault(f"no connection was made at {rate} a second")
            each = {
                f"{node}, processor": spent * 1e3 / reading["done"]
                for node, spent in zip(nodes, used, strict=True)
            }
            series.add(rate, each | {"connection, p50": reading["p50_us"] / 1e3})


def labs(series: Series, *, quick: bool) -> None:
    """Labs brought up at the same time: seconds per lab, until each is ready."""
    for count in (1, 2, 4) if quick else (1, 2, 4, 8, 16):
        with (
            tempfile.TemporaryDirectory(prefix="mirrorlab-bench-") as folder,
            ThreadPoolExecutor(count) as pool,
        ):
            made = [
                Lab(secrets.token_hex(3), scenario({}), Path(folder) / str(n)) for n in range(count)
            ]
            try:
                began = time.monotonic()
                list(pool.map(_up, made))
                up = time.monotonic() - began
            finally:
                began = time.monotonic()
                list(pool.map(lambda one: one.destroy(), made))
            down = time.monotonic() - began
        series.add(count, {"up and ready": up / count, "down": down / count})


def _up(one: Lab) -> None:
    one.create()
    one.start()


SERIES: dict[str, tuple[Callable[..., None], Series]] = {
    series.name: (function, series)
    for function, series in (
        (connections, Series("connections", "Takeover of mirrored connections", "connections",
                             "milliseconds per connection")),
        (memory, Series("memory", "Memory at the standby", "mirrored idle connections",
                        "KiB per connection")),
        (flows, Series("flows", "New mirrored fastL4 flows", "flows per second",
                       "milliseconds per flow")),
        (labs, Series("labs", "Labs side by side", "labs", "seconds per lab")),
    )
}  # fmt: skip


def grow(name: str, *, quick: bool) -> Series:
    """Measure one series; a failure is noted in it, with the points there are."""
    function, series = SERIES[name]
    try:
        function(series, quick=quick)
    except Exception as error:  # whatever it is, the other series go on
        series.failed = f"{type(error).__name__}: {error}"
    return series


def main() -> int:
    """Prints JSON; exit 1 when a series failed."""
    unwind_on_signals()
    parser = argparse.ArgumentParser(prog="bench/growth.py")
    parser.add_argument("series", nargs="*", default=list(SERIES))
    parser.add_argument("--quick", action="store_true")
    arguments = parser.parse_args()
    found = [grow(name, quick=arguments.quick) for name in arguments.series]
    print(json.dumps([asdict(series) for series in found]))
    return int(any(series.failed for series in found))


if __name__ == "__main__":
    sys.exit(main())
