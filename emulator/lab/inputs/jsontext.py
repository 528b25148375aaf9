"""JSON with the line and column of every node. Pure.

The standard library's decoder reads the scalars; the structure is walked here, since the
decoder forgets positions and lets a repeated key replace an earlier one.
"""

from __future__ import annotations

import json
from bisect import bisect_right
from typing import NoReturn

from emulator.lab.inputs.tree import InputError, Node, Place

DEEPEST = 64
_SPACE = " \t\r\n"


def parse(text: str, file: str) -> Node:
    """The whole document as one node; raises InputError."""
    return _Reader(text.removeprefix("\ufeff"), file).document()


class _Reader:
    def __init__(self, text: str, file: str) -> None:
        self._text, self._file, self._at = text, file, 0
        self._lines = [0, *(n + 1 for n, c in enumerate(text) if c == "\n")]
        self._decoder = json.JSONDecoder(parse_constant=_no_constant)

    def document(self) -> Node:
        self._space()
        root = self._value("", "", 0)
        self._space()
        if self._at < len(self._text):
            self._fail("something follows the end of the document")
        return root

    def _place(self, at: int) -> Place:
        line = bisect_right(self._lines, at)
        return Place(self._file, line, at - self._lines[line - 1] + 1)

    def _fail(self, text: str, at: int | None = None) -> NoReturn:
        raise InputError(self._place(self._at if at is None else at), text)

    def _space(self) -> None:
        while self._at < len(self._text) and self._text[self._at] in _SPACE:
            self._at += 1

    def _next(self) -> str:
        return self._text[self._at : self._at + 1]

    def _value(self, key: str, path: str, depth: int) -> Node:
        if depth > DEEPEST:
            self._fail(f"more than {DEEPEST} levels deep")
        start = self._next()
        if start == "{":
            return self._object(key, path, depth)
        if start == "[":
            return self._list(key, path, depth)
        place = self._place(self._at)
        return Node(place, key, path, self._scalar())

    def _scalar(self) -> str | int | float | bool | None:
        if not self._next():
            self._fail("the document ends where a value is expected")
        try:
            value, self._at = self._decoder.raw_decode(self._text, self._at)
        except json.JSONDecodeError as error:
            what = error.msg[:1].lower() + error.msg[1:]
            self._fail(f"not JSON: {what}", min(error.pos, len(self._text)))
        except (ValueError, RecursionError):
            self._fail("not JSON: not a number JSON has")
        assert value is None or isinstance(value, str | int | float | bool)
        return value

    def _object(self, key: str, path: str, depth: int) -> Node:
        start, children, seen = self._at, list[Node](), dict[str, Place]()
        self._at += 1
        while self._more("}", first=not children):
            at = self._at
            if self._next() != '"':
                self._fail("a key in double quotes is expected")
            name = self._scalar()
            assert isinstance(name, str)
            if name in seen:
                self._fail(f"key {name!r} again; it is in line {seen[name].line} already", at)
            seen[name] = self._place(at)
            self._space()
            if self._next() != ":":
                self._fail(f"a colon is expected after key {name!r}")
            self._at += 1
            self._space()
            inner = f"{path}.{name}" if path else name
            child = self._value(name, inner, depth + 1)
            children.append(Node(seen[name], name, inner, child.value, child.children, child.kind))
        return Node(self._place(start), key, path, None, tuple(children), "object")

    def _list(self, key: str, path: str, depth: int) -> Node:
        start, children = self._at, list[Node]()
        self._at += 1
        while self._more("]", first=not children):
            number = str(len(children))
            children.append(self._value(number, f"{path}[{number}]", depth + 1))
        return Node(self._place(start), key, path, None, tuple(children), "list")

    def _more(self, end: str, *, first: bool) -> bool:
        """Step to the next member; False once the object or list is closed."""
        self._space()
        if self._next() == end:
            self._at += 1
            return False
        if first:
            return True
        if self._next() != ",":
            self._fail(f"a comma or {end} is expected")
        comma = self._at
        self._at += 1
        self._space()
        if self._next() == end:
            self._fail(f"a comma before {end}", comma)
        return True


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")
