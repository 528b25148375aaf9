"""What the host does to a run: how late it schedules, and whether its clock is stepped."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass

_STEP_S = 0.02


@dataclass(slots=True)
class Meter:
    """`lag_s`: the worst overshoot of a short sleep; `clock_step_s`: how far the wall clock
    came away from the monotonic one."""

    lag_s: float = 0.0
    clock_step_s: float = 0.0


@contextlib.contextmanager
def measure_host() -> Iterator[Meter]:
    """Measure in a thread, until the context ends."""
    meter, stop = Meter(), threading.Event()

    def measure() -> None:
        before = time.monotonic()
        offset = time.time() - before
        while not stop.wait(_STEP_S):
            now = time.monotonic()
            meter.lag_s = max(meter.lag_s, now - before - _STEP_S)
            meter.clock_step_s = max(meter.clock_step_s, abs(time.time() - now - offset))
            before = now

    thread = threading.Thread(target=measure, name="host-meter", daemon=True)
    thread.start()
    try:
        yield meter
    finally:
        stop.set()
        thread.join()
