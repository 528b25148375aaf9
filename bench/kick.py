"""What the takeover kick saves: runs with and without it, side by side, for growing outages.

`python bench/kick.py [--outage S ...] [--type fastL4|standard ...]` (root)

Each row is two runs of one scenario (power-off of the active device, routed SNAT pool,
mirrored; standard with `commit: sync`) that differ in `takeover_kick` only, run at the same
time. "outage" is from the power-off to the last route change in effect; "after" is from there
to the first new byte each end of each session received, the worst of them.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from emulator.lab.runner import run_scenario
from emulator.lab.settings.scenario import Scenario

DETECTION_S = 0.8  # of the outage: from the power-off to the takeover, about
TIMEOUT_S = 1.0


def scenario(kind: str, outage_s: float, *, kick: bool) -> Scenario:
    """One run's."""
    return Scenario.model_validate(
        {
            "name": f"kick-{kind}-{outage_s:g}-{'on' if kick else 'off'}", "title": "takeover kick",
            "virtual_server": {"type": kind, "snat": "pool", "commit": "sync"},
            "devices": {"failover_timeout_s": TIMEOUT_S, "takeover_kick": kick},
            "cloud": {"propagation_delay_s": outage_s - DETECTION_S},
            "failover": {"how": "power-off"},
        }
    )  # fmt: skip


def measure(kind: str, outage_s: float, kick: bool, folder: Path) -> dict[str, Any]:
    """The outage, and by how much each session's ends were later; seconds."""
    found: dict[str, Any] = run_scenario(scenario(kind, outage_s, kick=kick), folder).result
    failover = found["failover"]
    return {
        "void": found["void"],
        "outage": failover["effective"] - failover["triggered"],
        "after": after_outage(found),
        "survived": sum(c["outcome"] == "SURVIVED" for c in found["connections"]),
        "missing": sum(c["bytes"]["missing"] for c in found["connections"]),
    }


def after_outage(result: dict[str, Any]) -> list[float]:
    """By how much the first new byte of each session, either way, was later than the last route."""
    return [
        evidence["time"] - result["failover"]["effective"]
        for connection in result["connections"]
        for evidence in connection["cause"]["evidence"]
        if "first new byte" in evidence["text"]
    ]


def main() -> int:
    """Exit 1 when a run was void or a session did not survive."""
    parser = argparse.ArgumentParser(prog="bench/kick.py", description="the takeover kick")
    parser.add_argument("--outage", type=float, nargs="+", default=[5.0, 20.0, 45.0])
    parser.add_argument("--type", nargs="+", default=["fastL4", "standard"])
    arguments = parser.parse_args()
    print(f"{'type':<9} {'kick':<4} {'outage s':>9} {'after s':>8} {'survived':>9} {'missing':>8}")
    failed = False
    with tempfile.TemporaryDirectory(prefix="mirrorlab-kick-") as scratch:
        for kind in arguments.type:
            for outage in arguments.outage:
                with ThreadPoolExecutor(2) as pool:
                    kicks = (True, False)
                    runs = [pool.submit(measure, kind, outage, k, Path(scratch)) for k in kicks]
                for kick, run in zip(kicks, (r.result() for r in runs), strict=True):
                    worst = f"{max(run['after']):8.3f}" if run["after"] else "       -"
                    print(
                        f"{kind:<9} {'on' if kick else 'off':<4} {run['outage']:9.2f} {worst} "
                        f"{run['survived']:>7}/3 {run['missing']:>8}  {run['void'] or ''}",
                        flush=True,
                    )
                    failed = failed or bool(run["void"]) or run["survived"] < 3
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
