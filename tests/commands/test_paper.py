"""Help, manual page and shell completion."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import click
import pytest

from emulator.cli import COMMANDS, cli
from emulator.commands.paper import man_page

PAGE = Path(__file__).resolve().parents[2] / "docs" / "mirrorlab.1"


def test_the_manual_page_is_up_to_date() -> None:
    assert PAGE.read_text() == man_page(cli), "make man, and commit docs/mirrorlab.1"


def test_it_has_every_command_and_no_accidental_request() -> None:
    lines = PAGE.read_text().splitlines()
    for name in COMMANDS:
        assert any(line.startswith(f".SS mirrorlab {name}".replace("-", "\\-")) for line in lines)
    requests = {line.split()[0] for line in lines if line.startswith((".", "'"))}
    assert requests <= {
        '.\\"', ".TH", ".SH", ".SS", ".PP", ".TP", ".B", ".BR", ".I", ".nf", ".fi",
    }  # fmt: skip


@pytest.mark.parametrize("name", COMMANDS)
def test_every_commands_help_has_an_example(name: str) -> None:
    context = click.Context(cli, info_name="mirrorlab")
    command = cli.get_command(context, name)
    assert command is not None
    assert f"mirrorlab {name}" in (command.help or "")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts(shell: str) -> None:
    argv = [sys.executable, "-m", "emulator.cli", "completion", shell]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0
    assert f"_MIRRORLAB_COMPLETE={shell}_complete" in done.stdout


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("mirrorlab stand", {"standby-ready"}),
        ("mirrorlab run article-snat", {"article-snat-pool"}),
        ("mirrorlab up mirror-channel", {"mirror-channel-cut"}),
        ("mirrorlab why article-no-m", {"article-no-mirroring"}),
        ("mirrorlab shell back", {"backend-1", "backend-2"}),
        ("mirrorlab exec sw", {"switch"}),
        ("mirrorlab tmsh ", {"bigip-a", "bigip-b"}),
        ("mirrorlab channel to", {"to-standby-lost", "to-active-lost"}),
        ("mirrorlab failover --how po", {"power-off"}),
    ],
)
def test_what_is_completed(words: str, found: set[str]) -> None:
    """As bash asks: the words so far, and which of them is to be completed."""
    asked = {
        "_MIRRORLAB_COMPLETE": "bash_complete", "COMP_WORDS": words,
        "COMP_CWORD": str(words.count(" ")),
    }  # fmt: skip
    program = Path(sys.executable).parent / "mirrorlab"
    done = subprocess.run(
        [program], capture_output=True, text=True, timeout=60, env={**os.environ, **asked}
    )
    assert {line.split(",")[1] for line in done.stdout.splitlines()} == found
