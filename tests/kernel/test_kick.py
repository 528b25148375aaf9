"""RFC 6069 in the kernel: an ICMP host unreachable makes an overdue sender transmit at once."""

from __future__ import annotations

import socket
import time

import pytest

from emulator.kernel.rawsocket import RawSender
from emulator.lab.wait import wait_until
from emulator.wire.segment import ACK, Endpoint, Segment
from emulator.wire.seqnum import SeqNum
from netns.execute import call_in, run
from tests.kernel.conftest import Small

pytestmark = pytest.mark.root
DEAF = """table ip lost {
    chain in { type filter hook input priority 0; tcp dport 7 drop; }
}
"""
_BACKOFF = 4  # tcp_info: tcpi_backoff
_REPAIR, _QUEUE, _SEQ = 19, 20, 21


def snd_una(connection: socket.socket, queued: int) -> SeqNum:
    connection.setsockopt(socket.IPPROTO_TCP, _REPAIR, 1)
    connection.setsockopt(socket.IPPROTO_TCP, _QUEUE, 2)
    end = connection.getsockopt(socket.IPPROTO_TCP, _SEQ) % (1 << 32)
    connection.setsockopt(socket.IPPROTO_TCP, _REPAIR, -1)
    return SeqNum((end - queued) % (1 << 32))


@pytest.mark.parametrize("right", [True, False], ids=["snd_una", "another number"])
def test_a_quoted_snd_una_undoes_the_back_off(small: Small, right: bool) -> None:
    """Four doublings after a loss the next try is seconds away; with the right number it is
    made now, with another one it is not."""
    listener = call_in(small.device, lambda: socket.create_server(("10.1.0.1", 7)))
    client = call_in(small.client, lambda: socket.create_connection(("10.1.0.1", 7), timeout=5))
    accepted, _ = listener.accept()
    with listener, client, accepted:
        ends = Endpoint.of(f"10.1.0.2:{client.getsockname()[1]}"), Endpoint.of("10.1.0.1:7")
        run(small.device, ["nft", "-f", "-"], stdin=DEAF)
        client.sendall(b"are you there?")

        def backed_off() -> bool:
            return client.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104)[_BACKOFF] >= 4

        wait_until("four doublings", backed_off, timeout_s=10)
        una = snd_una(client, len(b"are you there?"))
        run(small.device, ["nft", "delete", "table", "ip", "lost"])
        quoted = Segment(*ends, una if right else una + 1, SeqNum(0), ACK)
        sender = call_in(small.device, RawSender)
        accepted.settimeout(1.5)  # the timer itself: 3 s
        deadline = time.monotonic() + 1.0
        got = b""
        while not got and time.monotonic() < deadline:
            call_in(small.device, lambda: sender.send_unreachable(quoted))
            accepted.settimeout(0.05)
            try:
                got = accepted.recv(100)
            except TimeoutError:
                continue
        sender.close()
        assert got == (b"are you there?" if right else b"")
