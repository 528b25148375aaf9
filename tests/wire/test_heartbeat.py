"""Heartbeats: fixed bytes, inverse functions, nonsense."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulator.wire.heartbeat import Heartbeat, HeartbeatError
from tests.support.segments import examples, mutated, names

PACKET_BYTES = bytes.fromhex("4842 01 01 00 02 01020304") + b"bigip-a"
HEARTBEAT = Heartbeat("bigip-a", active=True, resigned=False, order=2, sequence=0x01020304)

heartbeats = st.builds(
    Heartbeat,
    device=names,
    active=st.booleans(),
    resigned=st.booleans(),
    order=st.integers(0, 255),
    sequence=st.integers(0, 0xFFFFFFFF),
    heir=st.booleans(),
    takeovers=st.integers(0, 63),
)


def test_fixed_bytes():
    assert HEARTBEAT.emit() == PACKET_BYTES
    assert Heartbeat.parse(PACKET_BYTES) == HEARTBEAT


@given(heartbeats)
@examples(100)
def test_parse_is_the_inverse_of_emit(heartbeat):
    assert Heartbeat.parse(heartbeat.emit()) == heartbeat


@given(st.one_of(st.binary(max_size=300), mutated(heartbeats.map(Heartbeat.emit))))
@examples(300)
def test_nonsense_is_a_heartbeat_error_or_a_heartbeat(data):
    """What is accepted is accepted byte for byte: nothing in it is guessed or ignored."""
    try:
        heartbeat = Heartbeat.parse(data)
    except HeartbeatError:
        return
    assert heartbeat.emit() == data


@pytest.mark.parametrize(
    "data",
    [
        b"",
        PACKET_BYTES[:9],
        b"BH" + PACKET_BYTES[2:],
        PACKET_BYTES[:2] + b"\x02" + PACKET_BYTES[3:],
        PACKET_BYTES[:3] + b"\x02" + PACKET_BYTES[4:],
        PACKET_BYTES[:10] + b"\xff",
        PACKET_BYTES.ljust(257, b"x"),
    ],
    ids=["empty", "cut", "magic", "version", "role", "not UTF-8", "too long"],
)
def test_what_is_no_heartbeat(data):
    with pytest.raises(HeartbeatError):
        Heartbeat.parse(data)


def test_takeovers_are_counted_modulo_64():
    heartbeat = Heartbeat("bigip-a", False, False, 0, 1, heir=True, takeovers=65)
    assert heartbeat.emit()[4] == 0x06
    assert Heartbeat.parse(heartbeat.emit()).takeovers == 1


def test_the_sequence_wraps_at_32_bits():
    heartbeat = Heartbeat("bigip-a", True, False, 0, (1 << 32) + 5)
    assert Heartbeat.parse(heartbeat.emit()).sequence == 5
