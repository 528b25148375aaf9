"""Folders below /var/tmp for what is too large to keep in memory, as recordings are.

Each is locked by its process and removed with it. One whose process was killed is removed by
whoever looks next: the lock went with the process, and nothing else tells whose it was.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

PREFIX = "mirrorlab-replay-"


def place() -> Path:
    """On disk where there is one: /tmp may be memory."""
    return Path("/var/tmp") if Path("/var/tmp").is_dir() else Path(tempfile.gettempdir())


@contextlib.contextmanager
def spool() -> Iterator[Path]:
    """A folder of this process; raises OSError."""
    sweep()
    while True:
        folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=place()))
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        fcntl.flock(handle, fcntl.LOCK_EX)
        if folder.exists():  # else swept before it was locked
            break
        os.close(handle)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(handle)


def sweep() -> None:
    """Remove our user's folders that no process has."""
    for folder in place().glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError):
            handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                if os.fstat(handle).st_uid == os.geteuid():
                    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    shutil.rmtree(folder)
            finally:
                os.close(handle)
