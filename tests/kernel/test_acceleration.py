"""The kernel's set of accelerated flows, one fact a test."""

from __future__ import annotations

import socket
import struct

import pytest

from emulator.core.flow import keys
from emulator.kernel.acceleration import Acceleration
from emulator.kernel.conntrack import Conntrack
from emulator.wire.segment import ACK, SYN, Endpoint, parse_headers
from netns.execute import call_in, run
from tests.kernel.conftest import Small
from tests.kernel.test_dataplane import connect, queue, record

pytestmark = pytest.mark.root
FLOW = record(Endpoint.of("10.1.0.2:40000"), "10.88.0.1:40000")


def established(small: Small, seen: list[int]) -> tuple[Acceleration, socket.socket, socket.socket]:
    """An accelerated connection; must be called with a queue that notes flags in `seen`."""
    acceleration = call_in(small.device, Acceleration)
    call_in(small.device, lambda: acceleration.add(keys(FLOW)))
    small.closing.callback(acceleration.close)
    listener = small.listen()
    client = connect(small)
    return acceleration, client, small.closing.enter_context(listener.accept()[0])


def echo(client: socket.socket, server: socket.socket, text: bytes) -> None:
    server.settimeout(5)
    client.sendall(text)
    assert server.recv(100) == text
    server.sendall(text)
    assert client.recv(100) == text


@pytest.fixture
def seen() -> list[int]:
    """Flags of the segments that were queued."""
    return []


def decider(small: Small, seen: list[int]):
    conntrack = call_in(small.device, Conntrack)
    small.closing.callback(conntrack.close)

    def decide(packet) -> None:
        segment = parse_headers(packet.get_payload())
        seen.append(segment.flags)
        if segment.flags & (SYN | ACK) == SYN:
            conntrack.install(FLOW)
        packet.accept()

    return decide


def test_established_segments_are_not_queued_and_counted_all_the_same(small, seen):
    with queue(small, decider(small, seen)):
        acceleration, client, server = established(small, seen)
        echo(client, server, b"hallo")
        assert [flags for flags in seen if not flags & SYN] == []
        counted = call_in(small.device, acceleration.read)
        assert {key for key, _, _ in counted} == set(keys(FLOW))
        for _, packets, octets in counted:
            assert packets >= 1
            assert octets >= 52 * packets + 5


def test_a_fin_and_a_reset_are_queued(small, seen):
    with queue(small, decider(small, seen)):
        _, client, server = established(small, seen)
        echo(client, server, b"hallo")
        client.shutdown(socket.SHUT_WR)
        assert server.recv(10) == b""
        server.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        server.close()
        with pytest.raises(ConnectionResetError):
            client.recv(10)
    assert [flags & 0x07 for flags in seen if not flags & SYN] == [0x01, 0x04]


def test_what_is_taken_out_is_queued_again(small, seen):
    with queue(small, decider(small, seen)):
        acceleration, client, server = established(small, seen)
        call_in(small.device, lambda: acceleration.remove(keys(FLOW)))
        echo(client, server, b"hallo")
        assert len([flags for flags in seen if not flags & SYN]) >= 2
        assert len(acceleration) == 0


def test_the_set_dies_with_the_socket_that_made_it(small, seen):
    """A crashed device forwards nothing: the kernel takes its table away."""
    with queue(small, decider(small, seen)):
        acceleration, client, server = established(small, seen)
        assert "mirrorlab" in run(small.device, ["nft", "list", "tables"])
        acceleration.close()
        echo(client, server, b"hallo")
        assert [flags for flags in seen if not flags & SYN]
        assert "mirrorlab" not in run(small.device, ["nft", "list", "tables"])


def test_ten_thousand_flows_at_once(small):
    acceleration = call_in(small.device, Acceleration)
    many = [n.to_bytes(12, "big") for n in range(20_000)]
    call_in(small.device, lambda: acceleration.add(many))
    assert len(acceleration) == 20_000
    wanted = ["nft", "list", "set", "ip", "mirrorlab", "accelerated"]
    assert run(small.device, wanted).count("counter packets 0") == 20_000
    call_in(small.device, acceleration.clear)
    assert "packets" not in run(small.device, wanted)
    acceleration.close()


def test_a_kernel_that_refuses_is_an_error_and_no_hang(small):
    acceleration = call_in(small.device, Acceleration)
    with pytest.raises(OSError, match="Invalid argument"):
        call_in(small.device, lambda: acceleration.add([b"short"]))
    acceleration.close()
