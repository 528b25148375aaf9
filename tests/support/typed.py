"""Run a command in a pseudo-terminal and type into it: `typed.py KEYS COMMAND [ARGUMENT ...]`.

KEYS are separated by `;`. Each is typed once the program waits for it: a single character as it
is, a longer one (`_` for a blank) as a line; `wait` lets the program go on for ten seconds. What it
printed goes to stdout, its exit status is ours.
"""

from __future__ import annotations

import contextlib
import sys
import time

import pexpect

READY = [r"\)# ", "q quit"]  # tmsh's prompt, top's keys
PATIENCE_S = 120
PAUSE_S = 10.0


def main(keys: str, *argv: str) -> int:
    child = pexpect.spawn(
        argv[0], list(argv[1:]), dimensions=(24, 80), timeout=PATIENCE_S, encoding="utf-8"
    )
    child.logfile_read = sys.stdout
    for key in keys.split(";"):
        if key == "wait":
            until = time.monotonic() + PAUSE_S
            while (left := until - time.monotonic()) > 0:
                with contextlib.suppress(pexpect.TIMEOUT):
                    child.read_nonblocking(4096, timeout=left)
            continue
        child.expect(READY)
        child.send(key if len(key) == 1 else f"{key.replace('_', ' ')}\r")
    child.expect(pexpect.EOF)
    child.wait()
    return child.exitstatus or 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
