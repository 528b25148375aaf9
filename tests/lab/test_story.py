"""The run in plain words: what is not in every result has words as well."""

from __future__ import annotations

from typing import Any

import pytest

from emulator.lab import story
from emulator.lab.report import words
from emulator.lab.settings.scenario import How
from tests.support.reportdata import connection, result


def test_every_kind_of_failover_has_words() -> None:
    kinds = {how.value for how in How}
    assert set(story._HOW) == kinds
    assert set(words.HOW) == kinds


@pytest.mark.parametrize(
    ("expected", "note"), [(None, ""), ("other", ""), ("same", " (expected: the same one)")]
)
def test_where_a_returning_clients_connections_went(expected: str | None, note: str) -> None:
    members: dict[str, Any] = {
        "before": ["backend-1"], "after": ["backend-2"], "new": "other", "expected": expected,
        "failed": 3, "each": [],
    }  # fmt: skip
    text = story.story(result(connection("reconnect", members=members)), "there")
    assert f"members: backend-1 before, backend-2 since{note}; 3 without an answer\n" in text
