"""Files that runs make: what root makes for a user of sudo belongs to that user; a full disk."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

_LEAST_BYTES = 64 << 10


def hand_over(paths: Iterable[Path]) -> None:
    """Give them (each alone, links themselves) to whoever called sudo; nothing happens where
    nobody did, or a path is not there. Raises OSError."""
    user, group = os.environ.get("SUDO_UID"), os.environ.get("SUDO_GID")
    if os.geteuid() != 0 or not (user and group):
        return
    for path in paths:
        if os.path.lexists(path):
            os.chown(path, int(user), int(group), follow_symlinks=False)


def write_private(path: Path, content: bytes) -> None:
    """A file with something secret in it, its owner's alone from the beginning; raises OSError."""
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as out:
        out.write(content)


def missing(folder: Path) -> list[Path]:
    """The folder and those above it, as far as they are still to be made."""
    return [path for path in (folder, *folder.parents) if not path.exists()]


def full(*folders: Path) -> Path | None:
    """The first of the folders on a disk without space: nothing that is written there can be
    relied upon."""
    for folder in folders:
        try:
            disk = os.statvfs(folder)
        except OSError:
            continue
        if disk.f_bavail * disk.f_frsize < _LEAST_BYTES:
            return folder
    return None
