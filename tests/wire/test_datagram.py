"""UDP headers: parse and emit are inverse, nonsense is an error and nothing else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulator.wire.datagram import Datagram
from emulator.wire.segment import SegmentError
from tests.support.segments import CLIENT, VIRTUAL, endpoints, examples, mutated, syn

SENT = Datagram(CLIENT, VIRTUAL, b"hello", 5, 7)
datagrams = st.builds(
    lambda source, destination, payload, number: Datagram(
        source, destination, payload, len(payload), number
    ),
    endpoints, endpoints, st.binary(max_size=200), st.integers(0, 65535),
)  # fmt: skip


def test_fixed_bytes() -> None:
    assert (
        SENT.emit()
        == bytes.fromhex("45000021 00074000 4011061b c633640a 0a63000a 9c400016 000d0000")
        + b"hello"
    )


@given(datagrams)
@examples(100)
def test_what_is_emitted_is_parsed(sent: Datagram) -> None:
    assert Datagram.parse(sent.emit()) == sent


def test_a_copy_of_the_headers_alone_knows_the_length() -> None:
    cut = Datagram.parse(SENT.emit()[:28])
    assert (cut.source, cut.destination, cut.octets, cut.payload) == (CLIENT, VIRTUAL, 5, b"")


@given(st.one_of(st.binary(max_size=60), mutated(datagrams.map(Datagram.emit))))
@examples(300)
def test_nonsense_is_a_segment_error_or_a_datagram(data: bytes) -> None:
    try:
        Datagram.parse(data)
    except SegmentError:
        return
    assert data[9] == 17


@pytest.mark.parametrize("at", [6, 7])
def test_a_fragment_is_none(at: int) -> None:
    data = bytearray(SENT.emit())
    data[at] |= 0x20 if at == 6 else 1
    with pytest.raises(SegmentError, match="fragment"):
        Datagram.parse(bytes(data))


def test_tcp_is_none() -> None:
    with pytest.raises(SegmentError):
        Datagram.parse(syn().emit())
