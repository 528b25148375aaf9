"""The device's loop where it can be tested without a kernel's queues."""

from __future__ import annotations

import selectors
import socket
from ipaddress import IPv4Address

import pytest

from emulator.device.channel import MirrorChannel
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
