"""Whatever ends it, the terminal is as it was before."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
import termios

import pytest

BODY = """
import os, sys, time
from emulator.commands.keys import key, single_keys
from emulator.lab.interrupts import unwind_on_signals
unwind_on_signals()
try:
    with single_keys():
        print("raw", flush=True)
        what = sys.argv[1]
        if what == "raise":
            raise RuntimeError("no")
        if what == "exit":
            sys.exit(3)
        while (pressed := key(10.0)) != "q":
            print("key", pressed, flush=True)
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""


def terminal(fd: int) -> list[object]:
    return list(termios.tcgetattr(fd))


@pytest.mark.parametrize(
    "how",
    ["raise", "exit", "q", signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT],
)
def test_it_is_restored(how: str | signal.Signals) -> None:
    master, slave = pty.openpty()
    before = terminal(slave)
    process = subprocess.Popen(
        [sys.executable, "-c", BODY, str(how)], stdin=slave, stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == "raw\n"
        if isinstance(how, signal.Signals):
            assert terminal(slave) != before
            process.send_signal(how)
            assert process.stdout.readline() == "interrupted\n"
        elif how == "q":
            os.write(master, b"x")
            assert process.stdout.readline() == "key x\n"
            os.write(master, b"q")
        process.wait(timeout=20)
        assert terminal(slave) == before
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
        os.close(master)
        os.close(slave)


@pytest.mark.parametrize("typed", [b"\x1a", b"\x1c"])
def test_control_z_and_backslash_do_not_leave_it_behind(typed: bytes) -> None:
    """Stopped or ended by them, the program could not put the terminal right."""
    master, slave = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", BODY, "keys"], stdin=slave, stdout=subprocess.PIPE, text=True,
        start_new_session=True,
    )  # fmt: skip
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == "raw\n"
        os.write(master, typed)
        assert process.stdout.readline() == f"key {typed.decode()}\n"
        os.write(master, b"q")
        assert process.wait(timeout=20) == 0
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
        os.close(master)
        os.close(slave)
