"""tmsh text: structure, quotes, other languages, lines; and one error for what is none of it."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emulator.lab.inputs.tmsh import parse
from emulator.lab.inputs.tree import InputError, Node
from tests.support.inputs import refusal_of


def only(text: str) -> Node:
    (found,) = parse(text, "x.conf").children
    return found


def test_an_object_has_component_name_and_properties_by_line() -> None:
    node = only(
        "ltm virtual /Common/vs {\n    mirror enabled\n    profiles {\n"
        "        fastL4 { }\n    }\n}\n"
    )
    assert (node.key, node.words) == ("ltm virtual", ("/Common/vs",))
    mirror, profiles = node.children
    assert (mirror.key, mirror.value, mirror.place.line, mirror.place.column) == (
        "mirror", "enabled", 2, 5,
    )  # fmt: skip
    assert [c.key for c in profiles.children] == ["fastL4"]
    assert [leaf.place.line for leaf in node.leaves()] == [2, 4]


def test_one_line_objects_and_lists() -> None:
    node = only("cm device a { unicast-address { { effective-ip 1.1.1.1 ip 2.2.2.2 } } }")
    (entry,) = node.children[0].children
    assert [(c.key, c.value) for c in entry.children] == [
        ("effective-ip", "1.1.1.1"), ("ip", "2.2.2.2"),
    ]  # fmt: skip
    assert only('sys db x { value "enable" }').children[0].value == "enable"
    assert only("net self s { allow-service { default } }").children[0].children[0].key == "default"


def test_quotes_keep_spaces_braces_and_line_ends() -> None:
    node = only('ltm virtual vs {\n description "a { \\" b\n }"\n mirror enabled\n}')
    assert [c.value for c in node.children] == ['a { " b\n }', "enabled"]
    assert node.children[1].place.line == 4


def test_a_brace_inside_a_word_belongs_to_it() -> None:
    node = only("ltm monitor http m {\n recv a{2}[{]\n}")
    assert node.children[0].value == "a{2}[{]"


@pytest.mark.parametrize(
    "body",
    [
        'when X {\n if { 1 } { log "}" }\n}',
        "# one { too many\nwhen X {\n}",
        "# one } too many\nwhen X {\n}",
        'when X {\n log "{"\n}\n# ltm rule is only named here\nwhen Y {\n}',
    ],
)
def test_an_irule_ends_where_the_next_object_begins(body: str) -> None:
    text = f"ltm rule /Common/r {{\n{body}\n}}\n# remark\nltm pool p {{\n monitor none\n}}\n"
    rule, pool = parse(text, "x.conf").children
    assert (rule.key, pool.key) == ("ltm rule", "ltm pool")
    assert pool.place.line == text[: text.index("ltm pool")].count("\n") + 1


def test_commands_have_their_properties_on_the_line() -> None:
    root = parse(
        "tmsh create ltm pool p members add { 10.0.0.1:22 { address 10.0.0.1 } } monitor tcp\n"
        "modify /cm device a mirror-ip 10.0.0.2\nmodify sys db x value \\\n  true\n", "x",
    )  # fmt: skip
    pool, device, variable = root.children
    assert [c.key for c in pool.children] == ["members", "monitor"]
    assert pool.children[0].children[0].key == "10.0.0.1:22"
    assert (device.words, device.children[0].value) == (("a",), "10.0.0.2")
    assert variable.children[0].value == "true"


def test_lists_on_one_line_are_items_and_other_commands_are_kept() -> None:
    root = parse(
        "create ltm pool p members add { 10.0.0.1:22 10.0.0.2:22 10.0.0.3:22 10.0.0.4:22 }\n"
        "create ltm snatpool s { members add { 10.0.0.7} members add { 10.0.0.8} }\n"
        "tmsh save sys config\nlist ltm virtual { all-properties }\n", "x",
    )  # fmt: skip
    pool, snat, save, listing = root.children
    assert len(pool.all("members")) == 4
    assert [c.key for c in snat.all("members")] == ["10.0.0.7", "10.0.0.8"]
    assert (save.key, save.value, listing.key) == ("command", "sys config", "command")


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("ltm virtual vs {\n mirror enabled\n", "x.conf:1:16: the { of line 1 is never closed"),
        ("ltm virtual vs {\n}\n}\n", "x.conf:3:1: } outside of any object"),
        ('ltm virtual vs {\n description "a\n}\n', 'x.conf:2:14: the " is never closed'),
        ("hello world {\n}", "x.conf:1:1: an object is expected"),
        ("ltm virtual vs\n", "x.conf:1:1: `ltm virtual vs` has no block"),
        ("ltm rule r {\nwhen X {\n", "x.conf:1:12: the block of `ltm rule r` is never closed"),
        ("ltm a b " + "{ c " * 70, "levels deep"),
        ("{", "x.conf:1:1: { outside"),
    ],
)
def test_errors_name_line_and_column(text: str, where: str) -> None:
    with pytest.raises(InputError) as caught:
        parse(text, "x.conf")
    assert where in str(caught.value)


WORDS = st.sampled_from(
    ["ltm", "virtual", "rule", "{", "}", "\n", " ", '"', "\\", "#", "modify", "sys", "db", "a", "é",
     "net self", "add", "{ }", "\r\n", "\t", "when X {\n}\n"]
)  # fmt: skip


@settings(deadline=None)  # a loaded machine is no bug
@given(st.one_of(st.text(), st.lists(WORDS, max_size=40).map(" ".join)))
def test_any_text_is_read_or_refused_with_its_place(text: str) -> None:
    lines = range(1, text.count("\n") + 2)
    refusal = refusal_of(parse, text)
    if refusal is not None:
        assert refusal.place.line in lines
        return
    assert all(leaf.place.line in lines for leaf in parse(text, "x").leaves())
