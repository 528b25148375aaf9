"""The device's loop where it can be tested without a kernel's queues."""

from __future__ import annotations

import selectors
import socket
from ipaddress import IPv4Address

import pytest

from emulator.core.refusals import Refused
from emulator.device.channel import HeartbeatSocket, MirrorChannel
from emulator.device.peerlink import PeerLink
from tests.device.test_relay import free_port


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
