"""An input as a tree whose every node knows its line. Pure; made by `tmsh` and `jsontext`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

Scalar = str | int | float | bool | None


@dataclass(frozen=True)
class Place:
    """Where something stands in an input; lines and columns from 1."""

    file: str
    line: int = 1
    column: int = 1

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


class InputError(ValueError):
    """An input that cannot be read, or cannot be taken; the text begins with FILE:LINE:COLUMN."""

    def __init__(self, place: Place, text: str) -> None:
        super().__init__(f"{place}: {text}")
        self.place = place


@dataclass(frozen=True, eq=False)
class Node:
    """A property, an object or a list item.

    `key`: its name in what contains it; of a list item its number, from 0. `value`: of a leaf
    of JSON the scalar, of tmsh the words after the key, joined by spaces. `words`: of tmsh, the
    words after the key. `kind`: "leaf", "object" or "list"; one without children is a leaf as
    far as the reading list is concerned.
    """

    place: Place
    key: str
    path: str
    value: Scalar = None
    children: tuple[Node, ...] = ()
    kind: str = "leaf"
    words: tuple[str, ...] = ()

    def get(self, key: str) -> Node | None:
        """The last child of that name, as a later setting replaces an earlier one."""
        for child in reversed(self.children):
            if child.key == key:
                return child
        return None

    def all(self, key: str) -> tuple[Node, ...]:
        """The children of all children of that name, as a list may be given in parts."""
        return tuple(item for c in self.children if c.key == key for item in c.children)

    def leaves(self) -> Iterator[Node]:
        """Whatever has no children, in the order of the text."""
        waiting = [self]
        while waiting:
            node = waiting.pop()
            if node.children:
                waiting.extend(reversed(node.children))
            else:
                yield node

    @property
    def text(self) -> str:
        """A leaf's value for a reader."""
        if self.kind != "leaf":
            return "[]" if self.kind == "list" else "{}"
        if self.value is None or isinstance(self.value, bool):
            return {None: "null", True: "true", False: "false"}[self.value]
        return str(self.value)
