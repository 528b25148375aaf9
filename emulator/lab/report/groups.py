"""Sessions that ended alike, together: fifty must stay as readable as three. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from emulator.lab.judge.causes import CAUSES
from emulator.lab.report.words import Outcome, listed, outcome, rank

SEPARATE = 4  # up to so many sessions each is shown by itself, ladder and all
LADDERS = 6  # at most
NAMED = 8  # so many sessions are called by their names


@dataclass(frozen=True, slots=True)
class Group:
    """Sessions of one outcome and one cause. `of`: their places in result.json."""

    outcome: str
    words: Outcome
    cause: str | None
    doc: str
    text: str
    of: tuple[int, ...]
    names: tuple[str, ...]

    @property
    def listed(self) -> str:
        return listed(self.names)

    @property
    def who(self) -> str:
        """Its sessions by name, or of a fleet how many."""
        return self.listed if self.count <= NAMED else f"{self.count} sessions"

    @property
    def count(self) -> int:
        return len(self.of)


def groups(result: Mapping[str, Any]) -> list[Group]:
    """The worst first, then the largest."""
    found: dict[tuple[str, str | None], list[int]] = {}
    connections = result["connections"]
    for index, connection in enumerate(connections):
        key = (connection["outcome"], connection["cause"]["id"])
        found.setdefault(key, []).append(index)
    made = [
        Group(
            ended, outcome(ended), cause, _sentence(CAUSES.get(cause or "", "")),
            connections[of[0]]["cause"]["text"], tuple(of),
            tuple(connections[i]["name"] for i in of),
        )
        for (ended, cause), of in found.items()
    ]  # fmt: skip
    return sorted(made, key=lambda group: (rank(group.outcome), -group.count))


def representatives(made: list[Group]) -> list[tuple[int, Group]]:
    """Which sessions get a ladder: all of a few, else one of each group."""
    if sum(group.count for group in made) <= SEPARATE:
        return [(index, group) for group in made for index in group.of]
    return [(group.of[0], group) for group in made][:LADDERS]


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}." if text else ""
