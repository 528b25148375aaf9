"""A device that restores thousands of flows goes on telling its peer that it is there."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from emulator.core.commands import Note, RequestRoutes, SendHeartbeat
from emulator.device import loop
from tests.support.pair import active_device, config


@pytest.mark.parametrize(("count", "each_s", "beats"), [(1000, 0.01, True), (1000, 0.0001, False)])
def test_heartbeats_are_sent_while_commands_are_carried_out(
    count: int, each_s: float, beats: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = active_device(config())
    done: list[Any] = []
    shell: Any = loop.Shell.__new__(loop.Shell)
    shell._device, shell._now = device, 5.0
    shell._peer = SimpleNamespace(flush=lambda: None)
    shell._flows = SimpleNamespace(settle=lambda: None)
    shell._current = shell._cloud = None
    shell._execute = done.append

    def clock() -> Iterator[float]:
        while True:
            yield 5.0 + each_s * len(done)

    times = clock()
    monkeypatch.setattr(loop.time, "monotonic", lambda: next(times))
    shell._carry_out([Note("restored", {})] * count)
    sent = [c.heartbeat for c in done if isinstance(c, SendHeartbeat)]
    assert all(beat.active for beat in sent)
    assert [b.sequence for b in sent] == sorted({b.sequence for b in sent})
    if beats:  # ten seconds of work, at most an interval and _BREATH commands between two
        assert len(sent) >= 5
    else:
        assert sent == []


@pytest.mark.parametrize("restored", [2, 1000])
def test_the_routes_are_looked_up_while_many_flows_are_restored(restored: int) -> None:
    """And asked for after them, as ever."""
    done: list[str] = []
    shell: Any = loop.Shell.__new__(loop.Shell)
    shell._device, shell._now = active_device(config()), 5.0
    shell._peer = SimpleNamespace(flush=lambda: None)
    shell._flows = SimpleNamespace(settle=lambda: None)
    shell._current, shell._breathe = None, lambda: None
    shell._cloud = SimpleNamespace(prepare=lambda: done.append("prepare"))
    shell._execute = lambda command: done.append(type(command).__name__)
    shell._carry_out([*[Note("flow-restored", {})] * restored, RequestRoutes()])
    assert done == ["prepare"] * (restored > 2) + ["Note"] * restored + ["RequestRoutes"]
