"""So many labs at a time, however many processes and threads want one.

A lab's processes use half a processor. Without a bound the tests' workers start a dozen labs
at once, and what is measured then is the wait for a processor.
"""

from __future__ import annotations

import fcntl
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

LABS = 3
_AGAIN_S = 0.1


@contextmanager
def slot(folder: Path | None = None, count: int = LABS) -> Iterator[int]:
    """The number of the slot that is held; waits for one, however long that takes.

    A slot is a locked file, so the kernel gives back what a killed process held.
    """
    folder = folder or Path(tempfile.gettempdir()) / f"mirrorlab-tests-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    while True:
        for number in range(count):
            with (folder / f"lab-{number}").open("w") as file:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    continue
                yield number
                return
        time.sleep(_AGAIN_S)
