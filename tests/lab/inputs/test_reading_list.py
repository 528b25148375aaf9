"""Nothing is dropped in silence: every leaf of every input, in exactly one category."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from emulator.lab.inputs.ledger import UNKNOWN, Category, counts
from emulator.lab.inputs.mapping import KINDS, Source, translate
from emulator.lab.inputs.tree import InputError
from tests.support.inputs import ARTICLE, SAMPLES, failover, of_files, service, source

FILES = sorted(p for p in [*SAMPLES.iterdir(), *ARTICLE.iterdir()] if p.suffix != ".md")
# What is refused as a whole, and the line that says why.
REFUSED = {
    "as3-two-services.json": "15:7: 3 virtual servers; choose one with --virtual: /T/A/any (line",
    "as3-udp.json": "9:9: /T/A/syslog: protocol 'udp'",
    "ipv6.conf": "5:5: /Common/vs_six: ltm virtual /Common/vs_six.destination",
    "two-virtuals.conf": "6:1: 2 virtual servers; choose one with --virtual: /Common/vs_a (line 1)",
    "udp.conf": "3:5: /Common/vs_radius: protocol 'udp'",
}


def test_there_are_samples_of_every_kind() -> None:
    kinds = Counter(source(path).kind for path in FILES)
    assert set(kinds) == set(KINDS)
    assert len(FILES) > 20


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.name)
def test_every_leaf_is_in_exactly_one_category(path: Path) -> None:
    given_ = source(path)
    found = translate([given_])
    parse, _ = KINDS[given_.kind]
    leaves = list(parse(given_.text, given_.file).leaves())
    assert [(r.place, r.path) for r in found.readings] == [(n.place, n.path) for n in leaves]
    assert sum(counts(found.readings).values()) == len(leaves)
    assert all(r.text for r in found.readings)


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.name)
def test_it_makes_a_scenario_or_is_refused_with_the_line(path: Path) -> None:
    found = translate([source(path)])
    if path.name in REFUSED:
        assert str(found.refusal).startswith(f"{path.name}:{REFUSED[path.name]}")
        assert found.scenario is None
        return
    assert (found.refusal, found.scenario is None) == (None, False)
    assert Category.REFUSED not in {r.category for r in found.readings}


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.name)
def test_nothing_in_the_samples_is_unknown(path: Path) -> None:
    """What the samples say has words of its own in the tables."""
    assert [r.path for r in translate([source(path)]).readings if r.text == UNKNOWN] == []


def test_an_unknown_property_is_listed_as_not_emulated() -> None:
    text = json.dumps(service(madeUp={"deep": [1, 2]}))
    found = translate([Source("as3", "x", text)])
    unknown = [(r.path, r.category) for r in found.readings if r.text == UNKNOWN]
    assert unknown == [
        ("T.A.vs.madeUp.deep[0]", Category.NOT_EMULATED),
        ("T.A.vs.madeUp.deep[1]", Category.NOT_EMULATED),
    ]


def test_what_the_virtual_server_taken_does_not_use_is_named_so() -> None:
    found = of_files("two-virtuals.conf", virtual="vs_b")
    other = [r for r in found.readings if r.path.startswith("ltm virtual /Common/vs_a")]
    assert {(r.category, r.text) for r in other} == {
        (Category.IGNORED, "another virtual server; the virtual server taken: /Tenant/vs_b")
    }


@pytest.mark.parametrize(
    ("files", "path", "category"),
    [
        (("standard-tcp.conf",), "/Common/db_pool.members./Common/10.20.31.13:5432.address",
         Category.NOT_EMULATED),  # the lab has two backends
        (("as3-two-zones.json",), "virtualAddresses[1]", Category.NOT_EMULATED),
        (("onprem-base.conf", "article/cfe.json"), "out_float.address", Category.NOT_EMULATED),
        (("onprem-base.conf", "article/cfe.json"), "traffic-group-1.mac", Category.NOT_EMULATED),
        (("onprem-base.conf",), "traffic-group-1.mac", Category.UNDERSTOOD),
        (("cfe-masked-hop.json", "as3-request.json"), "failoverRoutes.routeGroupDefinitions[0]."
         "scopingAddressRanges[1].range", Category.IGNORED),
        (("standard-tcp.conf",), "ltm rule /Common/log_client.body", Category.NOT_EMULATED),
    ],
)  # fmt: skip
def test_what_is_not_taken_is_not_called_understood(
    files: tuple[str, ...], path: str, category: Category
) -> None:
    (found,) = [r for r in of_files(*files).readings if r.path.endswith(path)]
    assert found.category == category


# -- whatever the values are, the readers raise nothing but their own error ------------------------

SCALARS: st.SearchStrategy[Any] = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from(["", "any", "none", "10.0.0.1", "10.0.0.1/24", "::1", "0.0.0.0/0", "L4", "x/y",
                     "/Common/vs", "255.255.255.0", "/T/A/p", "all", "static"]),
    st.text(max_size=6),
)  # fmt: skip
ODD = st.one_of(SCALARS, st.lists(SCALARS, max_size=2), st.dictionaries(
    st.sampled_from(["use", "bigip", "class", "enabled", "range", "address"]), SCALARS, max_size=2,
))  # fmt: skip
JSON_FILES = [p for p in FILES if p.suffix == ".json"]


def _replace(value: Any, way: list[int], odd: Any) -> Any:
    """The document with another value at some place."""
    if not way or not isinstance(value, dict | list) or not value:
        return odd
    keys = list(value) if isinstance(value, dict) else list(range(len(value)))
    key = keys[way[0] % len(keys)]
    copy: Any = dict(value) if isinstance(value, dict) else list(value)
    copy[key] = _replace(value[key], way[1:], odd)
    return copy


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None, max_examples=50)
@given(
    st.sampled_from(JSON_FILES), st.lists(st.integers(0, 9), min_size=1, max_size=7), ODD,
    st.booleans(),
)  # fmt: skip
def test_any_value_at_any_place_of_a_declaration(
    path: Path, way: list[int], odd: Any, alone: bool
) -> None:
    given_ = source(path)
    text = json.dumps(_replace(json.loads(given_.text), way, odd), indent=1)
    beside = [] if alone or given_.kind == "cfe" else [Source("cfe", "cfe", json.dumps(failover()))]
    _reads_or_refuses([Source(given_.kind, "x", text), *beside])


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None, max_examples=50)
@given(
    st.sampled_from([p for p in FILES if p.suffix == ".conf"]), st.integers(0, 999),
    st.sampled_from(["x", "{ }", "", "::1", "10.0.0.1:22", "any", "none", "-1", "9" * 30, "{ a b }",
                     '"a b"', "enabled", "/Common/loose", "automap"]),
)  # fmt: skip
def test_any_word_at_any_place_of_a_configuration(path: Path, number: int, word: str) -> None:
    words = path.read_text().split(" ")
    words[number % len(words)] = word
    _reads_or_refuses([Source("bigip-conf", "x", " ".join(words))])


def _reads_or_refuses(sources: list[Source]) -> None:
    try:
        found = translate(sources)
    except InputError:
        return  # not even a tree, or no declaration at all
    assert (found.scenario is None) == (found.refusal is not None)
    leaves = sum(1 for s in sources for _ in KINDS[s.kind][0](s.text, s.file).leaves())
    assert len(found.readings) == leaves
