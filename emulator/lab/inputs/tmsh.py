r"""tmsh stanzas: `bigip.conf`, `list` output, and `create` or `modify` commands. Pure.

    ltm virtual /Common/vs {            one object: component words, name, a block
        destination 10.99.0.10:22       a property: key and words, up to the line's end
        profiles {                      a property with a block of its own
            fastL4 { }
        }
        mirror enabled
    }
    modify ltm virtual vs mirror enabled

Quotes protect spaces, braces and line ends; a backslash protects one character. `#` begins a
comment where a line begins. The body of an iRule is Tcl, not tmsh, and is kept as it is: it
ends at the first `}` alone in the first column after which another object or nothing begins,
because braces in its strings and comments need not balance.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NoReturn

from emulator.lab.inputs.tree import InputError, Node, Place

DEEPEST = 64
MODULES = (
    "analytics", "apm", "api-protection", "asm", "auth", "cli", "cm", "gtm", "ilx", "ltm", "net",
    "pem", "security", "sys", "vcmp", "wam", "wom",
)  # fmt: skip
VERBS = ("create", "modify", "mod")
OTHER_VERBS = ("delete", "list", "load", "mv", "run", "save", "show", "reset-stats", "install")
LISTS = (  # what stands in their blocks on one line are items, not keys with values
    "allow-service",
    "default",
    "interfaces",
    "members",
    "persist",
    "policies",
    "profiles",
    "rules",
    "origins",
    "vlans",
    "servers",
    "name-servers",
    "devices",
    "monitor",
)
_WIDE = ("ltm profile", "ltm persistence", "ltm monitor")  # components of three words
_RAW = ("ltm rule", "gtm rule", "cli script", "sys application", "sys icall script", "pem irule")
_HEADER = re.compile(rf"(?:(?:tmsh\s+)?(?:create|modify)\s+)?/?(?:{'|'.join(MODULES)})\s")


@dataclass(frozen=True)
class _Token:
    kind: str  # word, {, }, end (of a line)
    text: str
    at: int


def _split(names: list[str], *, command: bool) -> tuple[str, tuple[str, ...], list[str]]:
    """Component, name (none where there is only one of the kind), what follows on the line."""
    if not command:
        cut = 2 if len(names) < 3 else len(names) - 1
    else:
        cut = 3 if " ".join(names).startswith(_WIDE) else 2
    return " ".join(names[:cut]), tuple(names[cut : cut + 1]), names[cut + 1 :]


def parse(text: str, file: str) -> Node:
    """All objects, as the children of one node; raises InputError.

    An object's key is its component ("ltm virtual"), its `words` its name (none where there is
    only one of its kind).
    """
    return _Reader(text.removeprefix("\ufeff"), file).document()


class _Reader:
    def __init__(self, text: str, file: str) -> None:
        self._text, self._file = text, file
        self._starts = [0, *(n + 1 for n, c in enumerate(text) if c == "\n")]
        self._at = 0
        self._ahead: _Token | None = None

    def document(self) -> Node:
        found = []
        while (token := self._take()).kind != "eof":
            if token.kind == "end":
                continue
            if token.kind != "word":
                self._fail(token.at, f"{token.text} outside of any object")
            found.append(self._top(token))
        return Node(Place(self._file), "", "", None, tuple(found), "object")

    def _top(self, first: _Token) -> Node:
        words = [first]
        while self._peek().kind == "word":
            words.append(self._take())
        names = [w.text for w in words]
        if names[0] == "tmsh":
            names = names[1:]
        verb = names[0] if names and names[0] in VERBS else ""
        names = names[1:] if verb else names
        if names and not verb and names[0] in OTHER_VERBS:
            return self._other(first, names)
        if not names or names[0].removeprefix("/") not in MODULES:
            self._fail(first.at, f"an object is expected, such as `ltm virtual`, not {first.text}")
        names[0] = names[0].removeprefix("/")
        component, name, rest = _split(names, command=bool(verb))
        path = " ".join([component, *name])
        place = self._place(first.at)
        if self._peek().kind == "{" and component.startswith(_RAW) and not rest:
            return self._raw(place, component, path, name)
        children = list(self._inline(rest, words[-1].at, path))
        if self._peek().kind == "{":
            children += self._after_words(children, path)
        elif not verb:
            self._fail(first.at, f"`{path}` has no block {{ }}")
        return Node(place, component, path, None, tuple(children), "object", name)

    def _other(self, first: _Token, names: list[str]) -> Node:
        """A command that sets nothing: kept as one leaf."""
        if self._peek().kind == "{":
            self._block("command", "", 1)
        text, place = " ".join(names[1:]), self._place(first.at)
        path = f"command {names[0]}"
        return Node(place, "command", path, text, (), "leaf", tuple(names[1:]))

    def _after_words(self, children: list[Node], path: str) -> Iterator[Node]:
        """A block after a header, or after a property on a command's line, and what follows."""
        if children:
            last = children.pop()
            block = self._block(last.path, last.key, 1)
            yield Node(last.place, last.key, last.path, "", block, "object", last.words)
        else:
            yield from self._block(path, "", 1)
        yield from self._pairs(path)

    def _pairs(self, path: str) -> Iterator[Node]:
        """What else stands on a command's line: key, value or block, and so on."""
        while self._peek().kind == "word":
            key = self._take()
            words: list[_Token] = []
            while self._peek().kind == "word" and (
                not words or words[-1].text in ("add", "replace-all-with")
            ):
                words.append(self._take())
            inner = f"{path}.{key.text}"
            values = tuple(w.text for w in words)
            if self._peek().kind == "{":
                block = self._block(inner, key.text, 1)
                yield Node(self._place(key.at), key.text, inner, "", block, "object", values)
            else:
                yield Node(self._place(key.at), key.text, inner, " ".join(values), words=values)

    def _inline(self, words: list[str], at: int, path: str) -> Iterator[Node]:
        """Properties on a command's own line, two words each; the last may await its block."""
        place = self._place(at)
        waiting = list(words)
        while waiting:
            key, value = waiting[0], waiting[1:2]
            if value and value[0] in ("add", "replace-all-with"):
                value = []
                waiting = [key, *waiting[2:]]
            yield Node(place, key, f"{path}.{key}", " ".join(value), words=tuple(value))
            waiting = waiting[1 + len(value) :]

    def _raw(self, place: Place, component: str, path: str, name: tuple[str, ...]) -> Node:
        """A body in another language, kept as one leaf."""
        brace = self._take()
        start = brace.at + 1
        first_line_end = self._text.find("\n", start)
        line = self._text[start : first_line_end if first_line_end >= 0 else None]
        if line.rstrip().endswith("}") and line.count("}") == line.count("{") + 1:
            end = start + line.rindex("}")
        else:
            end = self._raw_end(start)
            if end < 0:
                self._fail(brace.at, f"the block of `{path}` is never closed")
        self._at, self._ahead = end + 1, None
        lines = len(self._text[start:end].strip("\n").splitlines())
        body = Node(place, "body", f"{path}.body", f"{lines} lines of another language")
        return Node(place, component, path, None, (body,), "object", name)

    def _raw_end(self, start: int) -> int:
        for found in re.finditer(r"^\}[ \t\r]*$", self._text[start:], re.MULTILINE):
            after = self._text[start + found.end() :]
            stripped = re.sub(r"\A(?:\s+|#[^\n]*(?:\n|\Z))+", "", after[:20000])
            if not stripped or _HEADER.match(stripped):
                return start + found.start()
        return -1

    def _block(self, path: str, name: str, depth: int) -> tuple[Node, ...]:
        opening = self._take()
        if depth > DEEPEST:
            self._fail(opening.at, f"more than {DEEPEST} levels deep")
        found: list[Node] = []
        words: list[_Token] = []
        while True:
            token = self._take()
            if token.kind == "eof":
                line = self._place(opening.at).line
                self._fail(opening.at, f"the {{ of line {line} is never closed")
            if token.kind == "word":
                words.append(token)
                continue
            if token.kind == "{":
                self._ahead = token
                found.append(self._entry(words or [token], path, depth, block=True))
            elif words:
                size = len(words)
                if name in LISTS:  # { a b }: items
                    size = 1
                elif token.kind == "}" and len(words) > 2 and len(words) % 2 == 0:
                    size = 2  # { a 1 b 2 }: keys and values
                parts = [words[n : n + size] for n in range(0, len(words), size)]
                found += [self._entry(part, path, depth, block=False) for part in parts]
            words = []
            if token.kind == "}":
                return tuple(found)

    def _entry(self, words: list[_Token], path: str, depth: int, *, block: bool) -> Node:
        key = words[0].text if words[0].kind == "word" else ""
        inner = f"{path}.{key}"
        values = tuple(w.text for w in words[1:])
        place = self._place(words[0].at)
        if not block:
            return Node(place, key, inner, " ".join(values), words=values)
        children = self._block(inner, key, depth + 1)
        return Node(place, key, inner, "", children, "object", values)

    # -- tokens ------------------------------------------------------------------------------

    def _place(self, at: int) -> Place:
        low, high = 0, len(self._starts)
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if self._starts[middle] <= at else (low, middle)
        return Place(self._file, low + 1, at - self._starts[low] + 1)

    def _fail(self, at: int, text: str) -> NoReturn:
        raise InputError(self._place(at), text)

    def _peek(self) -> _Token:
        if self._ahead is None:
            self._ahead = self._token()
        return self._ahead

    def _take(self) -> _Token:
        token = self._peek()
        self._ahead = None
        return token

    def _token(self) -> _Token:
        text = self._text
        while self._at < len(text):
            char = text[self._at]
            if char == "\\" and text[self._at + 1 : self._at + 2] == "\n":
                self._at += 2  # a command goes on in the next line
            elif char == "\n":
                self._at += 1
                return _Token("end", "the line's end", self._at - 1)
            elif char.isspace():
                self._at += 1
            elif char == "#" and self._begins_line():
                end = text.find("\n", self._at)
                self._at = len(text) if end < 0 else end
            elif char in "{}":
                self._at += 1
                return _Token(char, char, self._at - 1)
            elif char == '"':
                return self._quoted()
            else:
                return self._word()
        return _Token("eof", "the end", len(text))

    def _begins_line(self) -> bool:
        start = self._text.rfind("\n", 0, self._at) + 1
        return not self._text[start : self._at].strip()

    def _quoted(self) -> _Token:
        start, out = self._at, []
        at = start + 1
        while at < len(self._text):
            char = self._text[at]
            if char == "\\" and at + 1 < len(self._text):
                out.append(self._text[at + 1])
                at += 2
                continue
            if char == '"':
                self._at = at + 1
                return _Token("word", "".join(out), start)
            out.append(char)
            at += 1
        self._fail(start, 'the " is never closed')

    def _word(self) -> _Token:
        """Up to a space; a } ends it only if no { of the word itself is open."""
        start, depth = self._at, 0
        while self._at < len(self._text) and not self._text[self._at].isspace():
            char = self._text[self._at]
            if char == "\\" and not self._text[self._at + 1 : self._at + 2].isspace():
                self._at += 2
                continue
            depth += (char == "{") - (char == "}")
            if depth < 0:
                break
            self._at += 1
        return _Token("word", self._text[start : self._at], start)
