"""The tutorial, typed as it stands: every fenced command, in order, in one shell.

A fence's info string says what is not as usual: `status=1`, the exit status its last command ends
with; `keys=...`, what is typed into the program it starts (`tests.support.typed`).
"""

from __future__ import annotations

import os
import re
import secrets
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support import typed

ROOT = Path(__file__).resolve().parents[2]
TUTORIAL = ROOT / "docs" / "tutorial.md"
_FENCE = re.compile(r"^```sh ?(?P<info>[^\n]*)\n(?P<body>.*?)^```$", re.M | re.S)
PATIENCE_S = 1500


@dataclass(frozen=True)
class Block:
    """One fence. `line`: where it begins."""

    line: int
    body: str
    status: int
    keys: str


def blocks() -> list[Block]:
    text = TUTORIAL.read_text()
    found = []
    for fence in _FENCE.finditer(text):
        info = dict(word.split("=", 1) for word in fence["info"].split())
        line = text[: fence.start()].count("\n") + 1
        found.append(Block(line, fence["body"], int(info.get("status", 0)), info.get("keys", "")))
    return found


def script() -> str:
    """Says before each command line where it is, and after a fence what it ended with."""
    lines = ["set -u", "cleanup() { mirrorlab down >&2; }", "trap cleanup EXIT"]
    for block in blocks():
        lines.append(f"echo '@@ line {block.line}'")
        if block.keys:
            helper = f"{sys.executable} {Path(typed.__file__)} '{block.keys}'"
            lines.append(f"{helper} {block.body.strip()}")
        elif block.status == 0 and "<<" not in block.body:
            lines += [_checked(line) for line in block.body.splitlines()]
        else:
            lines.append(block.body)
        lines.append(f'echo "@@ status $? {block.status} of line {block.line}"')
    return "\n".join(lines)


def _checked(line: str) -> str:
    if line.endswith("&"):  # it goes on beside the next ones
        return line
    return f"{line} || echo {shlex.quote(f'@@ failed: {line}')}"


def test_the_tutorial_has_what_is_expected_of_it() -> None:
    """No command hides in a fence this test does not read."""
    text = TUTORIAL.read_text()
    assert text.count("```") == 2 * len(blocks())
    said = "".join(block.body for block in blocks())
    for part in ("make lab", "tshark", "tmsh", "top", "standby-ready", "why", "run mine.yaml"):
        assert part in said


@pytest.mark.e2e
@pytest.mark.long
@pytest.mark.timeout(PATIENCE_S + 60)
def test_followed_literally(tmp_path: Path) -> None:
    """In the clone, as root; with a lab name of its own, as another lab may be up."""
    path = tmp_path / "tutorial.sh"
    path.write_text(script())
    name = f"t{secrets.token_hex(3)}"
    environment = {**os.environ, "TERM": "xterm-256color", "MIRRORLAB_NAME": name}
    done = subprocess.run(
        ["bash", str(path)], cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE_S,
        stdin=subprocess.DEVNULL, env=environment,
    )  # fmt: skip
    for leftover in ("mine.yaml", "session.txt"):
        (ROOT / leftover).unlink(missing_ok=True)
    ends = re.findall(r"@@ status (\d+) (\d+) of line (\d+)", done.stdout)
    wrong = [f"line {line}: {was}, not {meant}" for was, meant, line in ends if was != meant]
    assert len(ends) == len(blocks()), done.stdout[-3000:] + done.stderr[-3000:]
    assert wrong == [], done.stdout[-6000:] + done.stderr[-3000:]
    assert "@@ failed" not in done.stdout
    for seen in (
        "snat-address-changed", "could not serve", "HA Mirror Status", "RESET",
        "one way: what bigip-a", "no-flow-reset",
    ):  # fmt: skip
        assert seen in done.stdout, seen
