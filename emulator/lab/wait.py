"""Waiting for a named condition with a deadline; the only place of the lab that sleeps."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


class LabFault(RuntimeError):
    """The lab itself failed: no network result follows from this run (exit status 4)."""


def wait_until(
    what: str, condition: Callable[[], T], *, timeout_s: float, interval_s: float = 0.02
) -> T:
    """The first truthy result of `condition`; raises LabFault naming `what` at the deadline."""
    deadline = time.monotonic() + timeout_s
    while not (result := condition()):
        if time.monotonic() > deadline:
            raise LabFault(f"waited {timeout_s:g} s for {what}, in vain")
        time.sleep(interval_s)
    return result
