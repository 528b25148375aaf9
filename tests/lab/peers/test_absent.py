"""A peer that is not installed is one clear line, not a run that fails half-way."""

from __future__ import annotations

import shutil

import pytest

from emulator.commands.terminal import CANNOT, Fail, need_peers
from emulator.lab.peers.dataplane import absent


@pytest.fixture
def _nothing_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda *_, **__: None)


@pytest.mark.usefixtures("_nothing_installed")
def test_the_packages_are_named() -> None:
    with pytest.raises(Fail, match=r"lacks conntrack conntrackd haproxy: sudo \.ci/") as failure:
        need_peers({"haproxy", "conntrackd", "bigip"})
    assert failure.value.exit_code == CANNOT


@pytest.mark.usefixtures("_nothing_installed")
def test_the_labs_own_data_plane_needs_none() -> None:
    assert absent("bigip") == []
    need_peers({"bigip"})
