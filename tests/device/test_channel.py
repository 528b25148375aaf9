"""The mirroring channel's socket, over the loopback: what it buffers and when it gives up."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from emulator.device.channel import MAX_BUFFERED, ChannelLost, MirrorChannel
from emulator.wire.mirror import Hello, Message, Mirrored
from tests.support.channelends import Ends, connected

BODY = Mirrored(bytes(60_000))
HELLO = Message(1, Hello("bigip-a", "traffic-group-1", True))


@pytest.fixture(params=["clear", "secured"])
def ends(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Ends]:
    """Connected and introduced; the second one was taken in."""
    with connected(tmp_path, secure=request.param == "secured") as made:
        yield made


def test_a_peer_that_does_not_read_fills_the_buffer_then_the_channel_is_lost(ends: Ends) -> None:
    sent = 0

    def send_all() -> None:
        nonlocal sent
        while sent < 1 << 30:
            ends.one.send(Message(1, BODY))
            sent += 60_000

    with pytest.raises(ChannelLost, match="bytes buffered"):
        send_all()
    assert sent >= MAX_BUFFERED - 60_000


def test_what_was_buffered_arrives_whole_and_in_order(ends: Ends) -> None:
    for number in range(1, 101):
        ends.one.send(Message(number, BODY))
    assert ends.one.wants_write
    got: list[Message] = []
    deadline = time.monotonic() + 10
    while len(got) < 100 and time.monotonic() < deadline:
        ends.one.flush()
        got += ends.two.read()
    assert [m.sequence for m in got] == list(range(1, 101))
    assert not ends.one.wants_write
    assert {m.body for m in got} == {BODY}


def test_an_ended_channel_says_so_and_is_no_refusal(ends: Ends) -> None:
    ends.one.close()
    with pytest.raises(ChannelLost, match="closed by the peer") as caught:
        ends.until(ends.two.read)
    assert caught.value.refused is None


def test_the_channels_protection_is_known(ends: Ends) -> None:
    assert ends.one.protection == ends.two.protection
    assert ends.one.protection.startswith("TLSv1.3 ") == ends.secure


def test_a_new_one_takes_the_place_of_the_old(ends: Ends) -> None:
    old = ends.two.connection
    another = MirrorChannel(*ends.addresses, ends.protect_one)
    ends.introduce(another, HELLO)
    assert ends.two.connection is not old
    another.close()


def test_parts_go_together_and_what_is_not_taken_waits_in_order(ends: Ends) -> None:
    """Header and packet apart, more of them than the socket takes at once."""
    one, two = ends.one, ends.two
    for number in range(1, 101):
        data = Message(number, BODY).emit()
        one.queue(data[:12], data[12:])
        if number % 8 == 0:
            one.flush()
    one.flush()
    assert one.wants_write
    got: list[Message] = []
    deadline = time.monotonic() + 20
    while len(got) < 100 and time.monotonic() < deadline:
        one.flush()
        got += two.read()
    assert [m.sequence for m in got] == list(range(1, 101))
    assert {m.body for m in got} == {BODY}


def test_more_parts_than_one_system_call_takes(ends: Ends) -> None:
    one, two = ends.one, ends.two
    small = Mirrored(bytes(range(50)))
    for number in range(1, 1201):
        data = Message(number, small).emit()
        one.queue(data[:12], memoryview(data)[12:])
    one.flush()
    got: list[Message] = []
    deadline = time.monotonic() + 20
    while len(got) < 1200 and time.monotonic() < deadline:
        one.flush()
        got += two.read()
    assert [m.sequence for m in got] == list(range(1, 1201))
    assert {m.body for m in got} == {small}
