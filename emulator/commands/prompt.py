"""A device's own prompt: `mirrorlab tmsh DEVICE` without a line.

    root@(bigip-a)(Active)(/Common)(tmos)# show sys fail<TAB>

Line editing, history and completion are readline's; the device says what a word can become. The
same code answers as for a single line.
"""

from __future__ import annotations

import contextlib
import readline
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from emulator.device.control import ControlError, ask
from emulator.device.tmsh import prompt

if TYPE_CHECKING:
    from emulator.lab.instance import Lab

_LEAVE = ("quit", "exit")
_HISTORY = 500


def converse(lab: Lab, device: str) -> None:
    """Until `quit` or the end of input. Lines from a pipe are answered without a prompt's echo."""
    history = lab.folder / f"{device}.history"
    terminal = sys.stdin.isatty()
    if terminal:
        _edit(lab, device, history)
    try:
        while (line := _read(lab, device, terminal)) is not None:
            if (said := line.strip()) in _LEAVE:
                return
            if said:
                _answer(lab, device, said)
    finally:
        if terminal:
            with contextlib.suppress(OSError):
                readline.write_history_file(history)


def _read(lab: Lab, device: str, terminal: bool) -> str | None:
    if not terminal:
        line = sys.stdin.readline()
        return line if line else None
    role = str(lab.status(device).get("role", "offline"))
    try:
        return input(prompt(device, role))
    except EOFError:
        click.echo()
        return None


def _answer(lab: Lab, device: str, line: str) -> None:
    try:
        text = lab.tmsh(device, line)
    except ControlError as error:
        click.echo(str(error), err=True)
        return
    if text:
        click.echo(text)


def _edit(lab: Lab, device: str, history: Path) -> None:
    with contextlib.suppress(OSError):
        readline.read_history_file(history)
    readline.set_history_length(_HISTORY)
    readline.set_completer_delims(" \t\n")
    readline.parse_and_bind("tab: complete")
    found: list[str] = []

    def complete(begun: str, number: int) -> str | None:
        if number == 0:
            before = readline.get_line_buffer()[: readline.get_endidx()]
            found[:] = _words(lab, device, before)
        return f"{found[number]} " if number < len(found) else None

    readline.set_completer(complete)


def _words(lab: Lab, device: str, begun: str) -> list[str]:
    try:
        words = ask(lab.socket(device), {"complete": begun}, timeout_s=2.0).get("words", [])
    except ControlError:
        return []
    return list(map(str, words)) if isinstance(words, list) else []
