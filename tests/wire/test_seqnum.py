"""Sequence arithmetic, against plain integers that never wrap."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulator.wire.seqnum import SeqNum
from tests.support.segments import examples, seqnums

MOD, HALF = 1 << 32, 1 << 31

# A place in an unwrapped stream, mostly near where its sequence number wraps.
places = st.one_of(
    st.integers(0, 8 * MOD),
    st.builds(lambda turn, by: turn * MOD + by, st.integers(1, 8), st.integers(-70000, 70000)),
)
distances = st.one_of(st.integers(-HALF + 1, HALF - 1), st.integers(-70000, 70000))


@given(places, distances)
@examples(200)
def test_distance_and_order_are_those_of_the_unwrapped_stream(place, distance):
    here = SeqNum(place % MOD)
    there = SeqNum((place + distance) % MOD)
    assert there.octets_from(here) == distance
    assert here.precedes(there) == (distance > 0)
    assert there.precedes(here) == (distance < 0)


@given(places, st.integers(-MOD, 2 * MOD))
@examples(100)
def test_adding_octets_is_adding_to_the_unwrapped_stream(place, octets):
    assert (SeqNum(place % MOD) + octets).value == (place + octets) % MOD


@given(seqnums, seqnums)
@examples(100)
def test_the_distance_leads_from_one_to_the_other(a, b):
    """`octets_from` and `+` are inverses for every pair, half the space apart included."""
    assert a + b.octets_from(a) == b


def test_half_the_space_apart_neither_precedes():
    """RFC 9293 leaves the case open; what matters is that no pair precedes both ways."""
    a, b = SeqNum(7), SeqNum(7 + HALF)
    assert not a.precedes(b)
    assert not b.precedes(a)


@pytest.mark.parametrize("value", [-1, MOD])
def test_only_32_bits_make_a_sequence_number(value):
    with pytest.raises(ValueError, match="not a 32-bit sequence number"):
        SeqNum(value)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda s: s - 1,
        lambda s: s < SeqNum(7),
        lambda s: sorted([s, SeqNum(7)]),
        lambda s: 1 + s,
        lambda s: s + SeqNum(7),
        lambda s: int(s),
    ],
    ids=["minus", "less", "sorted", "int plus seq", "seq plus seq", "int"],
)
def test_it_is_not_an_int(wrong):
    """Each of these would be wrong across the wrap, so each is a TypeError."""
    with pytest.raises(TypeError):
        wrong(SeqNum(4294967290))


def test_it_equals_by_value_and_never_an_int():
    assert SeqNum(7) == SeqNum(7)
    assert SeqNum(7) != 7
    assert str(SeqNum(7)) == "7"
