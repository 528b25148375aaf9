"""When a session counts as living on, by its own log."""

from __future__ import annotations

import pytest

from emulator.lab.workload.sessions import _echoes, _settled


def progress(*steps: tuple[float, int, int]) -> list[dict[str, object]]:
    return [{"time": t, "what": "progress", "sent": s, "received": r} for t, s, r in steps]


def test_an_echo_lives_on_when_what_it_wrote_afterwards_has_come_back_for_a_while() -> None:
    before = progress((1.0, 100, 100), (1.9, 200, 150))
    assert _settled([*before, *progress((5.0, 300, 200))], 2.0, 1.0) == ""
    after = progress((5.0, 300, 250), (6.1, 400, 350))
    assert _settled([*before, *after], 2.0, 1.0) == "lives on"


def test_a_feed_writes_nothing_and_what_it_received_before_does_not_count() -> None:
    before = progress((0.0, 0, 100), (1.9, 0, 900))
    assert _settled(before, 2.0, 1.0) == ""
    after = progress((5.0, 0, 1000), (6.1, 0, 1100))
    assert _settled([*before, *after], 2.0, 1.0) == "lives on"


@pytest.mark.parametrize("effective", [None, 2.0])
def test_an_end_settles_it_whatever_the_routes(effective: float | None) -> None:
    ended: list[dict[str, object]] = [{"time": 3.0, "what": "ended", "reason": "reset"}]
    assert _settled([*progress((1.0, 1, 1)), *ended], effective, 1.0) == "ended: reset"


def test_a_dead_session_goes_on_writing_and_nothing_of_it_comes_back() -> None:
    before = progress((1.0, 100, 100), (1.9, 200, 150))
    assert _echoes([*before, *progress((5.0, 300, 150), (9.0, 900, 150))], 2.0) == []
    assert _echoes([*before, *progress((5.0, 300, 200))], 2.0) == []  # written before
    assert _echoes([*before, *progress((5.0, 300, 201))], 2.0) == [5.0]
