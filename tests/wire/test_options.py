"""TCP options out of segments, whole and broken."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulator.wire.options import DEFAULT_MSS, Options

LINUX_SYN = bytes.fromhex("020405b40402080a00000001000000020103030a")


def test_a_linux_syn() -> None:
    assert Options.parse(LINUX_SYN) == Options(1460, 10, True, (1, 2))


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (b"", Options()),
        (b"\x01\x01\x00\x02\x04\x05\xb4", Options()),  # after the end of the list
        (b"\x02", Options()),  # no length
        (b"\x02\x00\x05\xb4", Options()),  # a length that does not advance
        (b"\x02\x05\x05\xb4", Options()),  # longer than the list
        (b"\xfd\x04ab\x02\x04\x05\xb4", Options(mss=1460)),  # an unknown one before
        (b"\x03\x03\x20", Options(window_scale=14)),  # RFC 7323: 14 is the largest
    ],
)
def test_odd_lists(data: bytes, found: Options) -> None:
    assert Options.parse(data) == found


@given(st.binary(max_size=40))
def test_nothing_breaks_it(data: bytes) -> None:
    assert Options.parse(data).mss >= 0
    assert Options.parse(b"").mss == DEFAULT_MSS
