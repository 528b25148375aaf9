"""Help, manual page and shell completion."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.shell_completion import BashComplete
from click.testing import CliRunner

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
    done = CliRunner().invoke(cli, ["completion", shell])
    assert done.exit_code == 0
    assert f"_MIRRORLAB_COMPLETE={shell}_complete" in done.output


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
    """The words so far, the last of them to be completed."""
    *arguments, begun = words.split(" ")[1:]
    shell = BashComplete(cli, {}, "mirrorlab", "_MIRRORLAB_COMPLETE")
    assert {item.value for item in shell.get_completions(arguments, begun)} == found


def test_as_bash_asks() -> None:
    asked = {
        "_MIRRORLAB_COMPLETE": "bash_complete", "COMP_WORDS": "mirrorlab run article-snat",
        "COMP_CWORD": "2",
    }  # fmt: skip
    program = Path(sys.executable).parent / "mirrorlab"
    done = subprocess.run(
        [program], capture_output=True, text=True, timeout=60, env={**os.environ, **asked}
    )
    assert done.stdout == "plain,article-snat-pool\n"
