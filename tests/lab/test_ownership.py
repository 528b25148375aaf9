"""Whose the files are that root makes."""

from __future__ import annotations

import os
from pathlib import Path

import click
import pytest

from emulator.commands.studies import study_folder
from emulator.lab.ownership import hand_over, missing

Given = list[tuple[str, int, int]]


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch) -> Given:
    """What is given to whom; the caller of sudo is 1000:100."""
    found: Given = []

    def chown(path: Path, user: int, group: int, *, follow_symlinks: bool) -> None:
        assert not follow_symlinks
        found.append((path.name, user, group))

    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(os, "chown", chown)
    monkeypatch.setenv("SUDO_UID", "1000")
    monkeypatch.setenv("SUDO_GID", "100")
    return found


def test_what_is_there_is_given_to_the_caller_of_sudo(tmp_path: Path, given: Given) -> None:
    (tmp_path / "link").symlink_to("nowhere")
    hand_over([tmp_path / "link", tmp_path / "gone"])
    assert given == [("link", 1000, 100)]


def test_without_sudo_nothing_changes_hands(
    tmp_path: Path, given: Given, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SUDO_UID")
    hand_over([tmp_path])
    assert given == []


def test_a_studys_folder_is_given_whole_also_when_it_breaks_off(
    tmp_path: Path, given: Given
) -> None:
    @click.command()
    def study() -> None:
        folder = study_folder(tmp_path / "runs" / "why-x", fresh=False)
        (folder / "why.json").write_text("{}")
        raise KeyboardInterrupt

    assert [p.name for p in missing(tmp_path / "runs" / "why-x")] == ["why-x", "runs"]
    with pytest.raises((KeyboardInterrupt, click.Abort)):
        study.main([], standalone_mode=False)
    assert {name for name, _, _ in given} == {"runs", "why-x", "why.json"}
