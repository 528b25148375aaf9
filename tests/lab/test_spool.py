"""Folders on disk go with their process, killed or not."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from emulator.lab import spool as module
from emulator.lab.spool import PREFIX, spool, sweep

HOLD = """
import sys
from pathlib import Path
from emulator.lab import spool
spool.place = lambda: Path(sys.argv[1])
with spool.spool() as folder:
    (folder / "flow").write_text("bytes")
    print(folder, flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(module, "place", lambda: tmp_path)
    return tmp_path


def holder(disk: Path) -> tuple[subprocess.Popen[str], Path]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(disk)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    return process, Path(process.stdout.readline().strip())


def test_it_is_there_as_long_as_it_is_used(disk: Path) -> None:
    with spool() as folder:
        (folder / "a").mkdir()
        sweep()
        assert folder.is_dir()
    assert list(disk.iterdir()) == []


def test_a_killed_process_s_folder_is_swept_a_living_one_s_is_not(disk: Path) -> None:
    process, folder = holder(disk)
    with process:
        sweep()
        assert (folder / "flow").exists()
        process.kill()
    assert (folder / "flow").exists()
    sweep()
    assert not folder.exists()


def test_what_somebody_else_put_there_is_not_followed(disk: Path, tmp_path: Path) -> None:
    """A link by the name of one of ours."""
    (disk / "theirs").mkdir()
    (disk / f"{PREFIX}trap").symlink_to(disk / "theirs")
    sweep()
    assert (disk / "theirs").is_dir()
