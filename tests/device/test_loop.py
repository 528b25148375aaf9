"""The device's loop where it can be tested without a kernel's queues."""

from __future__ import annotations

import selectors
import socket
from collections import deque
from ipaddress import IPv4Address
from types import SimpleNamespace
from typing import Any

import pytest

from emulator.core.refusals import Refused
from emulator.device import peerlink
from emulator.device.channel import HeartbeatSocket, MirrorChannel
from emulator.device.loop import Shell
from emulator.device.peerlink import PeerLink
from tests.device.test_relay import free_port
from tests.support.pair import active_device, config


@pytest.mark.parametrize("renewed", [False, True])
def test_an_event_of_a_channel_closed_in_the_same_round_is_nothing(renewed: bool) -> None:
    """Forced standby under load: the heartbeat that changes the role and the channel's bytes
    are ready at once, and the former's commands close the channel."""
    address = IPv4Address("127.0.0.7")
    channel = MirrorChannel(address, address, free_port(str(address)))
    link = PeerLink.__new__(PeerLink)
    link._channel = channel
    with socket.socket() as stale, socket.create_server((str(address), channel._port)):
        if renewed:
            channel.connect(0.0)
            assert channel.connecting
        link.on_channel(stale, selectors.EVENT_READ | selectors.EVENT_WRITE)
        assert channel.connecting is renewed  # and a new one's connect is not taken for done
        channel.close()


def test_a_heartbeat_from_another_address_is_named_and_the_peers_is_heard() -> None:
    own, peer, other = (IPv4Address(f"127.0.0.{n}") for n in (7, 8, 9))
    port = free_port(str(own))
    heartbeats = HeartbeatSocket(own, peer, port)
    with heartbeats.socket:
        for source in (other, peer):
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
                out.bind((str(source), 0))
                out.sendto(b"beat", (str(own), port))
        with pytest.raises(Refused, match=r"a heartbeat from 127\.0\.0\.9:"):
            heartbeats.receive()
        assert heartbeats.receive() == b"beat"
        assert heartbeats.receive() is None


@pytest.mark.parametrize("way", ["_on_queue", "_on_copies"])
def test_what_a_held_packet_waits_for_is_sent_before_the_loop_sleeps(way: str) -> None:
    """A first packet is held until the peer has acknowledged the message it gave rise to."""
    sent: list[str] = []
    waiting: list[str] = []
    shell: Any = Shell.__new__(Shell)
    shell._events, shell._device = deque(), active_device(config())
    shell._peer = SimpleNamespace(flush=lambda: (sent.extend(waiting), waiting.clear()))
    shell._mirror_path = SimpleNamespace(let_go=lambda: None)
    queue = SimpleNamespace(process=lambda: waiting.append("flow up") or 1, linger=lambda: False)
    shell._queue = shell._copies = queue
    getattr(shell, way)(selectors.EVENT_READ)
    shell._drain()  # as `run` does after each descriptor
    assert sent == ["flow up"]


def test_messages_wait_for_the_flush_and_a_burst_of_them_does_not() -> None:
    flushed: list[int] = []
    link = PeerLink.__new__(PeerLink)
    link._queued, link._watched = 0, None
    put: list[Any] = []
    link._channel = SimpleNamespace(  # type: ignore[assignment]
        put=put.append, flush=lambda: flushed.append(len(put)), connection=None, wants_write=False
    )
    message: Any = object()
    link.send(message)
    assert flushed == []
    link.flush()
    link.flush()  # nothing new
    assert flushed == [1]
    for _ in range(2 * peerlink._TOGETHER):
        link.send(message)
    assert flushed == [1, 1 + peerlink._TOGETHER, 1 + 2 * peerlink._TOGETHER]
