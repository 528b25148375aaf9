"""Reassembly against an oracle that knows nothing of it: a dictionary of bytes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from emulator.core import reassembly
from emulator.core.reassembly import Reassembly

STREAM = bytes(range(256)) * 2
pieces = st.lists(
    st.tuples(st.integers(0, 300), st.integers(0, 60)).map(lambda p: (p[0], p[0] + p[1])),
    max_size=40,
)


def contiguous(places: set[int]) -> int:
    return next(at for at in range(len(STREAM) + 1) if at not in places)


@given(pieces)
def test_whatever_the_order_the_stream_is_what_arrived(segments: list[tuple[int, int]]) -> None:
    """Late, twice, overlapping: end is the first byte never seen, and every byte is right."""
    stream, seen = Reassembly(), set[int]()
    for start, end in segments:
        stream.insert(start, STREAM[start:end])
        seen.update(range(start, end))
        assert stream.end == contiguous(seen)
        assert stream.read(0, stream.end) == STREAM[: stream.end]


@given(pieces, st.lists(st.integers(0, 400), max_size=40))
def test_trimming_forgets_only_what_was_trimmed(
    segments: list[tuple[int, int]], trims: list[int]
) -> None:
    stream, seen, floor = Reassembly(), set[int](), 0
    for index, (start, end) in enumerate(segments):
        stream.insert(start, STREAM[start:end])
        seen.update(range(start, end))
        if index < len(trims):
            stream.trim(trims[index])
            floor = max(floor, min(trims[index], contiguous(seen)))
        assert (stream.start, stream.end) == (floor, contiguous(seen))
        assert stream.read(floor, stream.end) == STREAM[floor : stream.end]


def test_the_first_copy_of_a_byte_counts() -> None:
    stream = Reassembly()
    stream.insert(2, b"cd")
    stream.insert(2, b"XYe")
    stream.insert(0, b"ab")
    stream.insert(0, b"??")
    assert stream.read(0, stream.end) == b"abcde"


def test_memory_is_bounded() -> None:
    """Neither a long in-order stream nor pieces beyond a gap are kept without limit."""
    stream, piece = Reassembly(), b"x" * (1 << 20)
    for index in range(40):
        stream.insert(index << 20, piece)
    assert stream.end == stream.held == reassembly.LIMIT
    gap = Reassembly()
    for index in range(40):
        gap.insert(1 + (index << 20), piece)
    assert (gap.end, gap.held <= reassembly.LIMIT) == (0, True)
    stream.trim(1 << 20)
    stream.insert(stream.end, piece)
    assert stream.end == reassembly.LIMIT + (1 << 20)
