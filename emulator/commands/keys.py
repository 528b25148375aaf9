"""A terminal that hands over single keys, and is as it was afterwards, whatever happens."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
import termios
import tty
from collections.abc import Iterator
from types import FrameType
from typing import NoReturn

_SUSPEND_AND_QUIT = (termios.VSUSP, termios.VQUIT)  # both would leave the terminal as it is


@contextlib.contextmanager
def single_keys() -> Iterator[None]:
    """Keys are read one by one, without an echo; SIGQUIT ends the program in an orderly way.

    No effect where stdin is no terminal.
    """
    fd = sys.stdin.fileno()
    if not os.isatty(fd):
        yield
        return
    before = termios.tcgetattr(fd)
    handler = signal.signal(signal.SIGQUIT, _interrupt)
    try:
        tty.setcbreak(fd)
        changed = termios.tcgetattr(fd)
        for key in _SUSPEND_AND_QUIT:
            changed[6][key] = b"\0"
        termios.tcsetattr(fd, termios.TCSADRAIN, changed)
        yield
    finally:
        termios.tcsetattr(fd, termios.TCSAFLUSH, before)
        signal.signal(signal.SIGQUIT, handler)


def key(timeout_s: float) -> str:
    """The next key, or nothing; at the end of the input "q"."""
    if not os.isatty(sys.stdin.fileno()):
        select.select([], [], [], timeout_s)
        return ""
    if not select.select([sys.stdin], [], [], timeout_s)[0]:
        return ""
    data = os.read(sys.stdin.fileno(), 64)
    return data.decode(errors="replace")[-1:] if data else "q"


def _interrupt(_: int, __: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt
