"""JSON with positions: the same values as the standard library, and errors where they are."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emulator.lab.inputs.cfe import plain
from emulator.lab.inputs.jsontext import parse
from emulator.lab.inputs.tree import InputError
from tests.support.inputs import refusal_of

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@settings(deadline=None)  # a loaded machine is no bug
@given(VALUES, st.sampled_from([None, 1, "\t"]))
def test_it_reads_what_the_standard_library_writes(value: Any, indent: Any) -> None:
    read = plain(parse(json.dumps(value, indent=indent), "x"))
    assert json.dumps(read) == json.dumps(value)


@settings(deadline=None)  # a loaded machine is no bug
@given(st.one_of(st.text(), st.text(alphabet='{}[],:"\\ \n01eé.-tru', max_size=30)))
def test_it_accepts_exactly_what_the_standard_library_does(text: str) -> None:
    refusal = refusal_of(parse, text)
    if refusal is None:
        assert json.dumps(plain(parse(text, "x"))) == json.dumps(json.loads(text))
        return
    with pytest.raises(ValueError):  # noqa: PT011 - whatever the reason
        json.loads(text, object_pairs_hook=_no_repeats, parse_constant=_refuse)


def _no_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key again")
    return found


def _refuse(name: str) -> None:
    raise ValueError(name)


def test_every_node_knows_its_line_and_its_way() -> None:
    root = parse('{\n  "a": {"b": [1,\n    "x"]},\n  "c": {}\n}', "x")
    assert [(n.path, n.place.line, n.text) for n in root.leaves()] == [
        ("a.b[0]", 2, "1"), ("a.b[1]", 3, "x"), ("c", 4, "{}"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ('{\n  "a": 1,\n  "a": 2\n}', "x:3:3: key 'a' again; it is in line 2 already"),
        ('{\n  "a": 1,\n}', "x:2:9: a comma before }"),
        ("[1, 2,]", "x:1:6: a comma before ]"),
        ('{"a" 1}', "x:1:6: a colon is expected"),
        ('{"a": 1 "b": 2}', "x:1:9: a comma or } is expected"),
        ("{'a': 1}", "x:1:2: a key in double quotes"),
        ('{"a": tru}', "x:1:7: not JSON"),
        ('{"a": "b', "x:1:7: not JSON"),
        ('{"a": ', "x:1:7: the document ends"),
        ("", "x:1:1: the document ends"),
        ("{} {}", "x:1:4: something follows"),
        ('{"a": NaN}', "x:1:7: not JSON"),
        ("[" * 100, "levels deep"),
        ("// remark\n{}", "x:1:1: not JSON"),
        ("9" * 5000, "x:1:1: not JSON"),
    ],
)
def test_errors_name_line_and_column(text: str, where: str) -> None:
    with pytest.raises(InputError) as caught:
        parse(text, "x")
    assert where in str(caught.value)


def test_a_byte_order_mark_is_no_part_of_the_text() -> None:
    assert plain(parse('\ufeff{"a": 1}', "x")) == {"a": 1}
