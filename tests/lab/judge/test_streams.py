"""Every byte against every byte."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from emulator.lab.judge.streams import ByteCount, compare

TEXT = b"".join(b"%08d " % number for number in range(200))
data = st.binary(max_size=400)


@given(data)
def test_what_arrives_whole_is_right(sent: bytes) -> None:
    assert compare(sent, sent) == ByteCount(len(sent), len(sent))


@given(data, st.integers(0, 400))
def test_a_cut_tail_is_missing_unless_in_flight(sent: bytes, keep: int) -> None:
    delivered = sent[:keep]
    lost = len(sent) - len(delivered)
    assert compare(sent, delivered).missing == lost
    assert compare(sent, delivered, in_flight=lost).missing == 0


@given(st.integers(0, len(TEXT) - 200), st.integers(1, 100))
def test_a_hole_is_missing(at: int, size: int) -> None:
    """Numbered text: no two places look alike, so the count is exact."""
    count = compare(TEXT, TEXT[:at] + TEXT[at + size :])
    assert (count.repeated, count.altered) == (0, 0)
    assert count.missing == size


@given(st.integers(100, len(TEXT) - 100), st.integers(20, 90))
def test_a_piece_twice_is_repeated(at: int, size: int) -> None:
    count = compare(TEXT, TEXT[:at] + TEXT[at - size : at] + TEXT[at:])
    assert (count.missing, count.altered) == (0, 0)
    assert count.repeated == size


@given(st.integers(0, len(TEXT) - 20), st.integers(1, 255))
def test_one_wrong_byte_is_altered(at: int, mask: int) -> None:
    wrong = bytearray(TEXT)
    wrong[at] ^= mask
    count = compare(TEXT, bytes(wrong))
    assert (count.missing, count.repeated, count.altered) == (0, 0, 1)


@settings(max_examples=200)
@given(data, data)
def test_any_two_streams_compare(sent: bytes, delivered: bytes) -> None:
    """It ends, nothing is negative, and only equal streams count as right."""
    count = compare(sent, delivered)
    wrong = (count.missing, count.repeated, count.altered)
    assert min(wrong) >= 0
    assert (wrong == (0, 0, 0)) == (sent == delivered)


def test_streams_that_have_nothing_in_common_are_compared_in_bounded_time() -> None:
    """A megabyte of nonsense must not take minutes."""
    count = compare(b"a" * 1_000_000, b"b" * 1_000_000)
    assert count.altered == 1_000_000
