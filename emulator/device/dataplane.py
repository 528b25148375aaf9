"""The program that serves the packets in the device's place, where there is one: another data
plane under the same failover. It is called as keepalived calls its notify scripts.
"""

from __future__ import annotations

import subprocess
from collections.abc import Sequence

PATIENCE_S = 10.0


def follow_role(program: Sequence[str], *, active: bool) -> None:
    """Returns once the program has followed; raises OSError with its own words."""
    argv = [*program, "active" if active else "standby"]
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    except subprocess.TimeoutExpired as error:
        raise OSError(f"{argv[0]} takes longer than {PATIENCE_S:g} s") from error
    if done.returncode:
        raise OSError(done.stderr.strip() or f"{argv[0]} exited {done.returncode}")
