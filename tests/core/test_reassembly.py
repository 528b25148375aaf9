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


@given(pieces, st.lists(st.integers(0, 400), max_size=40), st.sampled_from([97, 400]))
def test_large_segments_are_kept_as_they_came(
    segments: list[tuple[int, int]], trims: list[int], scale: int
) -> None:
    """Above and below `LARGE`, whatever of their buffer they are: the same bytes, and no more in
    memory than one of them that is in use in part."""
    whole = b"".join(bytes([n % 251]) * scale for n in range(400))
    stream = Reassembly()
    for index, (start, end) in enumerate(segments):
        stream.insert(start * scale, memoryview(whole)[start * scale : end * scale])
        if index < len(trims):
            stream.trim(trims[index] * scale - 1)
        assert stream.read(stream.start, stream.end) == whole[stream.start : stream.end]
        beyond = stream._ahead_octets
        assert 0 <= stream.held - beyond - (stream.end - stream.start) < 60 * scale


def test_many_small_segments_are_no_more_than_their_bytes() -> None:
    stream = Reassembly()
    for at in range(20_000):
        stream.insert(at, b"x")
    stream.trim(100)
    assert stream._pieces is not None
    assert len(stream._pieces) <= 20_000 // reassembly.LARGE + 1
    assert (stream.held, stream.read(100, 20_000)) == (19_900, b"x" * 19_900)


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
