"""Signals that end a command: everything is cleaned up first."""

from __future__ import annotations

import atexit
import os
import signal
import sys
from types import FrameType
from typing import NoReturn

_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_AGAIN_S = 0.01


def unwind_on_signals() -> None:
    """SIGINT, SIGTERM and SIGHUP unwind the stack once, so that everything is cleaned up; a second
    one must not stop the clean-up.

    Only here: pyroute2 forks helpers and ends them with SIGTERM, and a helper must die of
    it, not unwind our stack a second time: what it closed on its way would be gone from the
    epoll instances it shares with us, and we would wait for the kernel's answers for ever.
    """
    owner = os.getpid()

    def swallowed(what: sys.UnraisableHookArgs) -> None:
        """It came while Python ran a finalizer, which cannot be unwound: so it comes again."""
        if not issubclass(what.exc_type, KeyboardInterrupt):
            sys.__unraisablehook__(what)
        elif os.getpid() == owner:
            signal.setitimer(signal.ITIMER_REAL, _AGAIN_S)

    def interrupt(_: int, __: FrameType | None) -> NoReturn:
        if os.getpid() != owner:
            os._exit(128 + signal.SIGTERM)
        for number in _ENDING:
            signal.signal(number, signal.SIG_IGN)
        raise KeyboardInterrupt

    def too_late() -> None:
        """Nothing is left to unwind, and Python gives up its handlers before it ends: what comes
        again after that would kill a command that is done."""
        if os.getpid() == owner:
            signal.signal(signal.SIGALRM, signal.SIG_IGN)

    for number in (*_ENDING, signal.SIGALRM):
        signal.signal(number, interrupt)
    sys.unraisablehook = swallowed
    atexit.register(too_late)
