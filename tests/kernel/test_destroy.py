"""A world is taken down whatever is on its way into it, and whatever is half made."""

from __future__ import annotations

import secrets
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from emulator.lab import instance
from emulator.lab.settings.scenario import Scenario
from emulator.lab.wait import wait_until
from netns import build as module
from netns.build import build, destroy, processes
from netns.execute import RUN_NETNS
from netns.plan import AddNamespace

pytestmark = pytest.mark.root


@pytest.fixture
def name() -> Iterator[str]:
    chosen = f"ml-k{secrets.token_hex(3)}-x"
    yield chosen
    destroy([chosen])


def test_a_process_that_ip_is_about_to_bring_there_is_killed(name: str, tmp_path: Path) -> None:
    """It is still in our own network namespace: only its command line tells. `ip` itself would
    be too quick to be met on its way; a shell with its name reads a script "netns"."""
    build([AddNamespace(name)])
    (tmp_path / "netns").write_text("read forever\n")
    with subprocess.Popen(
        ["ip", "netns", "exec", name, "sleep", "60"],
        executable="/bin/sh", cwd=tmp_path, stdin=subprocess.PIPE,
    ) as waiting:  # fmt: skip
        assert waiting.pid in processes([name])
        destroy([name])
        assert waiting.wait(5) == -signal.SIGKILL


def test_a_process_that_came_in_while_names_were_removed_is_killed(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has opened the namespace, and enters it once no name leads there any longer."""
    build([AddNamespace(name)])
    late: list[subprocess.Popen[bytes]] = []
    remove = module.netns.remove

    def enter_late(wanted: str) -> None:
        late.append(subprocess.Popen(["nsenter", f"--net={RUN_NETNS / name}", "sleep", "60"]))
        wait_until("it to be in", lambda: late[0].pid in processes([name]), timeout_s=10)
        remove(wanted)

    monkeypatch.setattr(module.netns, "remove", enter_late)
    destroy([name])
    monkeypatch.undo()
    assert late[0].wait(5) == -signal.SIGKILL


def test_a_name_without_a_namespace_is_removed(name: str) -> None:
    """What a kill -9 between the two steps of making one leaves behind."""
    (RUN_NETNS / name).touch(mode=0)
    destroy([name])
    assert not (RUN_NETNS / name).exists()


def test_an_interrupt_in_the_middle_of_down_is_heard_when_all_is_down(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    lab = f"k{secrets.token_hex(3)}"
    names = [f"ml-{lab}-{node}" for node in ("a", "b")]
    monkeypatch.setattr(instance, "ROOT", tmp_path)
    (tmp_path / lab).mkdir()
    build([AddNamespace(name) for name in names])
    remove, calls = module.netns.remove, []

    def interrupted(name: str) -> None:
        calls.append(name)
        if len(calls) == 2:
            raise KeyboardInterrupt
        remove(name)

    monkeypatch.setattr(module.netns, "remove", interrupted)
    try:
        with pytest.raises(KeyboardInterrupt):
            instance.down(lab)
        assert not any((RUN_NETNS / name).exists() for name in names)
        assert not (tmp_path / lab).exists()
    finally:
        monkeypatch.undo()
        destroy(names)


def test_a_lab_that_was_not_made_takes_nobody_else_s_down(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """`up` for a lab that is up already, interrupted before it has seen that."""
    lab = f"k{secrets.token_hex(3)}"
    monkeypatch.setattr(instance, "ROOT", tmp_path)
    (tmp_path / lab).mkdir()
    build([AddNamespace(f"ml-{lab}-a")])
    try:
        mine = instance.Lab(lab, Scenario.model_validate({"title": "x", "sessions": ["ssh"]}))
        with pytest.raises(instance.LabExists):
            mine.create()
        mine.destroy()
        assert (RUN_NETNS / f"ml-{lab}-a").exists()
        assert (tmp_path / lab).exists()
    finally:
        destroy([f"ml-{lab}-a"])
