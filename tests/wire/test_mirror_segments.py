"""A mirrored segment on the channel: parse and emit are inverses, sizes bounded."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulator.wire.mirror import Decoder, Message, Mirrored, MirrorError


@given(st.lists(st.binary(max_size=300), min_size=1), st.integers(1, 500))
def test_segments_come_out_as_they_went_in(packets: list[bytes], cut: int) -> None:
    """However the byte stream is cut."""
    sent = [Message(n, Mirrored(packet)) for n, packet in enumerate(packets, 1)]
    data = b"".join(message.emit() for message in sent)
    decoder = Decoder()
    got = [m for at in range(0, len(data), cut) for m in decoder.feed(data[at : at + cut])]
    assert got == sent
    assert [m.octets for m in sent] == [len(m.emit()) for m in sent]


def test_the_largest_packet_fits_and_no_larger_one() -> None:
    [message] = Decoder().feed(Message(1, Mirrored(bytes(0xFFFF))).emit())
    assert message.body == Mirrored(bytes(0xFFFF))
    with pytest.raises(MirrorError, match="65536 bytes"):
        Message(1, Mirrored(bytes(0x10000))).emit()


def test_more_than_a_decoder_has_room_for_comes_out_whole() -> None:
    """In one piece or in whatever pieces it is received in."""
    sent = [Message(n, Mirrored(bytes([n]) * 50_001)) for n in range(1, 60)]
    stream = b"".join(message.emit() for message in sent)
    assert Decoder().feed(stream) == sent
    decoder, got, at = Decoder(), list[Message](), 0
    while at < len(stream):
        room = decoder.room()
        count = min(len(room), 333_333, len(stream) - at)
        room[:count] = stream[at : at + count]
        at += count
        got += decoder.filled(count)
    assert got == sent
