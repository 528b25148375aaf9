"""A signal ends a command, wherever it comes."""

from __future__ import annotations

import subprocess
import sys

IN_A_FINALIZER = """
import os, signal, time
from emulator.lab.interrupts import unwind_on_signals

class Dying:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.01)

unwind_on_signals()
try:
    Dying()
    time.sleep(20)
except KeyboardInterrupt:
    print("unwound")
"""


def test_one_that_comes_in_a_finalizer_is_not_swallowed() -> None:
    """Python cannot raise out of one: the run would go on, deaf to any further signal."""
    done = subprocess.run(
        [sys.executable, "-c", IN_A_FINALIZER], capture_output=True, text=True, timeout=60
    )
    assert (done.stdout, done.stderr, done.returncode) == ("unwound\n", "", 0)


AT_THE_END = """
import atexit, os, signal
from emulator.lab.interrupts import unwind_on_signals

# Runs last: then Python puts its handlers aside, and what is ignored stays so.
atexit.register(lambda: print(signal.getsignal(signal.SIGALRM) is signal.SIG_IGN))
unwind_on_signals()
"""


def test_one_that_comes_again_when_all_is_done_does_not_kill() -> None:
    """The second alarm found Python's handlers gone, and a run that was over had status -14."""
    done = subprocess.run(
        [sys.executable, "-c", AT_THE_END], capture_output=True, text=True, timeout=60
    )
    assert (done.stdout, done.returncode) == ("True\n", 0)
