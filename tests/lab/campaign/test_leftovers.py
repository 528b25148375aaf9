"""The proof sees what bears no lab's name, too."""

from __future__ import annotations

from pathlib import Path

import pytest

from emulator.lab.campaign import leftovers


def test_a_namespace_of_no_lab_is_a_leak(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of the host's examination stayed when it was killed, and a hundred kills said clean."""
    names, labs = tmp_path / "netns", tmp_path / "labs"
    for folder in (names, labs, labs / "aaaaaa", tmp_path / "scratch"):
        folder.mkdir()
    monkeypatch.setattr(leftovers, "RUN_NETNS", names)
    monkeypatch.setattr(leftovers, "ROOT", labs)
    monkeypatch.setattr(leftovers, "_lines", lambda *_: frozenset())
    with leftovers.Trace(tmp_path / "scratch") as trace:
        (names / "ml-aaaaaa-client").touch()  # another lab's, which is up
        (names / "ml-probe123456-scratch").touch()
        assert trace.left("bbbbbb") == ["namespace of no lab ml-probe123456-scratch"]
