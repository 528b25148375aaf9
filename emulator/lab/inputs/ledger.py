"""The reading list: what became of every leaf of every input. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from emulator.lab.inputs.tree import Node, Place


class Category(StrEnum):
    """What becomes of a leaf."""

    UNDERSTOOD = "understood"
    IGNORED = "ignored"
    NOT_EMULATED = "not emulated"
    REFUSED = "refused"


@dataclass(frozen=True)
class Reading:
    """One leaf: where it stands, what it says, what became of it, in words."""

    place: Place
    path: str
    value: str
    category: Category
    text: str


UNKNOWN = "this lab does not know it: the answer does not take it into account"


class Ledger:
    """Marks leaves; the first mark of a leaf stands, so the particular goes before the rest."""

    def __init__(self) -> None:
        self._marks: dict[Node, tuple[Category, str]] = {}

    def mark(self, node: Node, category: Category, text: str) -> None:
        """All leaves of a node that have no mark yet."""
        for leaf in node.leaves():
            self._marks.setdefault(leaf, (category, text))

    def readings(self, roots: Iterable[Node]) -> list[Reading]:
        """Every leaf of the inputs, once; what nobody marked is not emulated."""
        found = []
        for root in roots:
            for leaf in root.leaves():
                category, text = self._marks.get(leaf, (Category.NOT_EMULATED, UNKNOWN))
                found.append(Reading(leaf.place, leaf.path, leaf.text, category, text))
        return found


def counts(readings: Sequence[Reading]) -> dict[Category, int]:
    """How many leaves are in each category."""
    found = Counter(r.category for r in readings)
    return {category: found[category] for category in Category}
