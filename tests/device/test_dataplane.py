"""The program that serves the packets in the device's place is told the role, and heard."""

from __future__ import annotations

from pathlib import Path

import pytest

from emulator.device import dataplane
from emulator.device.dataplane import follow_role


def script(folder: Path, text: str) -> str:
    path = folder / "role.sh"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o700)
    return str(path)


@pytest.mark.parametrize(("active", "word"), [(True, "active"), (False, "standby")])
def test_it_is_told_the_role(tmp_path: Path, active: bool, word: str) -> None:
    follow_role([script(tmp_path, f'echo "$1" > {tmp_path}/told')], active=active)
    assert (tmp_path / "told").read_text() == f"{word}\n"


def test_a_failure_is_told_in_its_own_words(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="no such table"):
        follow_role([script(tmp_path, "echo no such table >&2; exit 1")], active=True)
    with pytest.raises(OSError, match="exited 3"):
        follow_role([script(tmp_path, "exit 3")], active=True)


def test_one_that_does_not_return_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dataplane, "PATIENCE_S", 0.1)
    with pytest.raises(OSError, match="longer than"):
        follow_role([script(tmp_path, "exec sleep 30")], active=True)
