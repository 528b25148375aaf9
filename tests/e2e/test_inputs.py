"""The article's deployment as its users have it, run by the command: the same verdict."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.conftest import VOID
from tests.support.inputs import ARTICLE

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]
LONGEST_S = 280  # of one run, on a machine that does much else
FULL = ("as3", "as3.json", "cfe", "cfe.json", "bigip-conf", "bigip_base-a.conf",
        "bigip-conf", "bigip_base-b.conf")  # fmt: skip
POOL = ("as3", "as3-snat-pool.json", "cfe", "cfe-snat-pool.json", "do", "do.json")
HALF = ("as3", "as3-snat-pool.json", "cfe", "cfe.json", "do", "do.json")
TMSH = ("bigip-conf", "bigip.conf", "cfe", "cfe.json")


def run(files: tuple[str, ...], output: Path) -> dict[str, tuple[str, str | None]]:
    """`mirrorlab run` on files of the article; what became of its sessions."""
    options = [
        argument
        for kind, name in zip(files[::2], files[1::2], strict=True)
        for argument in (f"--{kind}", str(ARTICLE / name))
    ]
    argv = [sys.executable, "-m", "emulator.cli", "run", *options, "--format", "json"]
    for _ in range(2):
        done = subprocess.run(
            [*argv, "--output", str(output)], capture_output=True, text=True, timeout=LONGEST_S
        )
        if done.returncode != VOID:
            break
    assert done.stdout, done.stderr
    result = json.loads(done.stdout)
    kept = json.loads(max(output.glob("*/inputs.json")).read_text())
    assert kept["counts"]["refused"] == 0
    return {c["name"]: (c["outcome"], c["cause"]["id"]) for c in result["connections"]}


@pytest.mark.long
def test_the_articles_files_give_the_articles_verdict(tmp_path: Path) -> None:
    expected = ("RESET", "snat-address-changed")
    assert run(FULL, tmp_path) == dict.fromkeys(("ssh", "telnet", "echo"), expected)


@pytest.mark.long
@pytest.mark.parametrize(
    ("files", "expected"),
    [
        (TMSH, ("RESET", "snat-address-changed")),
        (POOL, ("SURVIVED", None)),
        (HALF, ("STALLED", "asymmetric-route")),
    ],
)
def test_its_variants_end_as_lint_says(
    files: tuple[str, ...], expected: tuple[str, str | None], tmp_path: Path
) -> None:
    assert run(files, tmp_path) == dict.fromkeys(("ssh", "telnet", "echo"), expected)
