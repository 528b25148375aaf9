"""The mirroring channel's socket, over the loopback: what it buffers and when it gives up."""

from __future__ import annotations

import time
from collections.abc import Iterator
from ipaddress import IPv4Address

import pytest

from emulator.device.channel import MAX_BUFFERED, ChannelLost, MirrorChannel
from emulator.wire.mirror import Message, Mirrored
from tests.device.test_relay import free_port

ONE, TWO = IPv4Address("127.0.0.5"), IPv4Address("127.0.0.6")
BODY = Mirrored(bytes(60_000))


@pytest.fixture
def ends() -> Iterator[tuple[MirrorChannel, MirrorChannel]]:
    """Connected; the second one accepted."""
    port = free_port(str(ONE))
    one, two = MirrorChannel(ONE, TWO, port), MirrorChannel(TWO, ONE, port)
    one.connect()
    two.listener.setblocking(True)
    assert two.accept()
    one.finish_connect()
    yield one, two
    for channel in (one, two):
        channel.close()
        channel.listener.close()


def test_a_peer_that_does_not_read_fills_the_buffer_then_the_channel_is_lost(
    ends: tuple[MirrorChannel, MirrorChannel],
) -> None:
    one, _ = ends
    sent = 0

    def send_all() -> None:
        nonlocal sent
        while sent < 1 << 30:
            one.send(Message(1, BODY))
            sent += 60_000

    with pytest.raises(ChannelLost, match="bytes buffered"):
        send_all()
    assert sent >= MAX_BUFFERED - 60_000


def test_what_was_buffered_arrives_whole_and_in_order(
    ends: tuple[MirrorChannel, MirrorChannel],
) -> None:
    one, two = ends
    for number in range(1, 101):
        one.send(Message(number, BODY))
    assert one.wants_write
    got: list[Message] = []
    deadline = time.monotonic() + 10
    while len(got) < 100 and time.monotonic() < deadline:
        one.flush()
        got += two.read()
    assert [m.sequence for m in got] == list(range(1, 101))
    assert not one.wants_write
    assert {m.body for m in got} == {BODY}


def test_an_ended_channel_says_so(ends: tuple[MirrorChannel, MirrorChannel]) -> None:
    one, two = ends
    one.close()
    two.connection.setblocking(True)  # type: ignore[union-attr]
    with pytest.raises(ChannelLost):
        two.read()


def test_parts_go_together_and_what_is_not_taken_waits_in_order(
    ends: tuple[MirrorChannel, MirrorChannel],
) -> None:
    """Header and packet apart, more of them than the socket takes at once."""
    one, two = ends
    for number in range(1, 101):
        data = Message(number, BODY).emit()
        one.queue(data[:12], data[12:])
        if number % 8 == 0:
            one.flush()
    one.flush()
    assert one.wants_write
    got: list[Message] = []
    deadline = time.monotonic() + 10
    while len(got) < 100 and time.monotonic() < deadline:
        one.flush()
        got += two.read()
    assert [m.sequence for m in got] == list(range(1, 101))
    assert {m.body for m in got} == {BODY}
