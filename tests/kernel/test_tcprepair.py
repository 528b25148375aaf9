"""TCP_REPAIR, one fact a test: a connection moves from one socket to another, same host."""

from __future__ import annotations

import fcntl
import select
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass, replace
from ipaddress import IPv4Address

import pytest

from emulator.core.tracker import LegPlan
from emulator.kernel import tcprepair
from emulator.kernel.rawsocket import RawSender
from emulator.lab.wait import wait_until
from emulator.wire.segment import ACK, FIN, Endpoint, Segment
from emulator.wire.seqnum import SeqNum
from netns.execute import call_in, run
from tests.kernel.conftest import Small

pytestmark = pytest.mark.root
_QUEUE, _SEQ, _TIMESTAMP = 20, 21, 24


@dataclass
class Moved:
    """A client's socket, and a plan for the device's end of its connection, whose socket is
    gone without a packet."""

    client: socket.socket
    plan: LegPlan
    small: Small

    def restore(self, **changes: object) -> socket.socket:
        """The device's end again; `changes` to the plan."""
        plan = replace(self.plan, **changes)  # type: ignore[arg-type]
        made = call_in(self.small.device, lambda: tcprepair.restore(plan))
        made.settimeout(5)
        return self.small.closing.enter_context(made)


def endpoint(name: tuple[str, int]) -> Endpoint:
    return Endpoint(IPv4Address(name[0]), name[1])


def freeze(connection: socket.socket) -> LegPlan:
    """The state of an idle connection; then it is gone."""
    info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104)
    connection.setsockopt(socket.IPPROTO_TCP, 19, 1)
    numbers = []
    for queue in (1, 2):
        connection.setsockopt(socket.IPPROTO_TCP, _QUEUE, queue)
        raw = connection.getsockopt(socket.IPPROTO_TCP, _SEQ, 4)
        numbers.append(SeqNum(struct.unpack("I", raw)[0]))
    clock = struct.unpack("I", connection.getsockopt(socket.IPPROTO_TCP, _TIMESTAMP, 4))[0]
    plan = LegPlan(
        local=endpoint(connection.getsockname()), remote=endpoint(connection.getpeername()),
        rcv_nxt=numbers[0], snd_una=numbers[1], sent=b"", unsent=b"",
        mss_clamp=connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG),
        snd_wscale=info[6] & 15, rcv_wscale=info[6] >> 4, sack=bool(info[5] & 2),
        timestamp=clock + 50, snd_wnd=60000, rcv_wnd=0xFFFF << (info[6] >> 4),
    )  # fmt: skip
    tcprepair.abandon(connection)
    return plan


def unsent(connection: socket.socket) -> int:
    """Bytes the peer has not acknowledged (SIOCOUTQ)."""
    return int(struct.unpack("i", fcntl.ioctl(connection, 0x5411, bytes(4)))[0])


@pytest.fixture
def moved(small: Small) -> Iterator[Moved]:
    """A line was said each way before."""
    listener = call_in(small.device, lambda: socket.create_server(("10.1.0.1", 7)))
    client = call_in(small.client, lambda: socket.create_connection(("10.1.0.1", 7), timeout=5))
    accepted, _ = listener.accept()
    with client, listener:
        client.sendall(b"hello")
        assert accepted.recv(10) == b"hello"
        accepted.sendall(b"welcome")
        assert client.recv(10) == b"welcome"
        client.sendall(b"!")  # carries the acknowledgement of the last bytes
        assert accepted.recv(10) == b"!"
        # Else the client repeats it, and a host that knows no such connection resets it.
        wait_until("the last byte's acknowledgement", lambda: not unsent(client), timeout_s=5)
        plan = freeze(accepted)
        listener.close()
        yield Moved(client, plan, small)


def test_an_abandoned_socket_is_silent(moved: Moved) -> None:
    """Neither FIN nor reset: the client's end does not notice."""
    assert select.select([moved.client], [], [], 0.2)[0] == []


def test_a_restored_connection_goes_on_both_ways(moved: Moved) -> None:
    made = moved.restore()
    moved.client.sendall(b"more")
    made.setblocking(True)
    assert made.recv(10) == b"more"
    made.sendall(b"of it")
    assert moved.client.recv(10) == b"of it"


def test_a_restored_send_queue_is_sent_though_nobody_writes(moved: Moved) -> None:
    """What the peer has not acknowledged may be lost; the kernel repeats it by its own timer."""
    moved.restore(sent=b"not acknowledged")
    assert moved.client.recv(100) == b"not acknowledged"


def test_what_the_peer_has_already_is_not_delivered_twice(moved: Moved) -> None:
    """The old host had sent it, its acknowledgement was under way: snd_una is seven back."""
    back = SeqNum((moved.plan.snd_una.value - 7) % (1 << 32))
    made = moved.restore(snd_una=back, sent=b"welcome on")
    assert moved.client.recv(100) == b" on"
    made.close()
    assert moved.client.recv(100) == b""


def test_a_large_send_queue_fits(moved: Moved) -> None:
    queue = bytes(range(256)) * (3 << 12)
    moved.restore(sent=queue, snd_wnd=4 << 20)
    got = bytearray()
    while len(got) < len(queue):
        got += moved.client.recv(1 << 20)
    assert bytes(got) == queue


def test_timestamps_go_on_in_milliseconds(moved: Moved) -> None:
    """An odd value would switch the clock to microseconds: it is made even."""
    assert moved.plan.timestamp is not None
    made = moved.restore(timestamp=moved.plan.timestamp | 1)
    before = struct.unpack("I", made.getsockopt(socket.IPPROTO_TCP, _TIMESTAMP, 4))[0]
    select.select([], [], [], 0.3)
    after = struct.unpack("I", made.getsockopt(socket.IPPROTO_TCP, _TIMESTAMP, 4))[0]
    assert 250 <= after - before <= 2000


def test_a_fin_received_before_is_told_by_a_segment(moved: Moved) -> None:
    """Sent to ourselves over lo, from the peer's address; after it the stream ends."""
    made = moved.restore()
    plan = moved.plan
    fin = Segment(plan.remote, plan.local, plan.rcv_nxt, plan.snd_una, FIN | ACK, 0xFFFF)
    raw = call_in(moved.small.device, RawSender)
    raw.send(fin)
    raw.close()
    made.setblocking(True)
    made.settimeout(2)
    assert made.recv(10) == b""


def test_a_listener_can_be_opened_beside_a_restored_connection(moved: Moved) -> None:
    """Leaving repair mode turns SO_REUSEADDR off; restore turns it on again."""
    moved.restore()
    with call_in(moved.small.device, lambda: socket.create_server(("10.1.0.1", 7))):
        pass


def test_an_address_the_host_does_not_have_yet(moved: Moved) -> None:
    """IP_TRANSPARENT: a route to the peer is all it takes."""
    run(moved.small.device, ["ip", "address", "flush", "dev", "ext"])
    run(moved.small.device, ["ip", "route", "add", "10.1.0.2/32", "dev", "ext"])
    made = moved.restore()
    assert made.getsockname() == ("10.1.0.1", 7)


def test_a_refused_plan_leaves_no_socket_behind(moved: Moved) -> None:
    """The same four addresses twice: the kernel's own word, and nothing sent."""
    first = moved.restore()
    with pytest.raises(OSError, match=r"Address already in use|Cannot assign requested address"):
        moved.restore()
    moved.client.sendall(b"still")
    first.setblocking(True)
    assert first.recv(10) == b"still"


def test_a_snapshot_tells_both_queues_and_disturbs_nothing(small: Small) -> None:
    """What the peer has not acknowledged, what was not read; then both go on."""
    listener = call_in(small.device, lambda: socket.create_server(("10.1.0.1", 7)))
    client = call_in(small.client, lambda: socket.create_connection(("10.1.0.1", 7), timeout=5))
    accepted, _ = listener.accept()
    with listener, client, accepted:
        accepted.settimeout(5)
        client.sendall(b"unread")
        assert accepted.recv(6, socket.MSG_PEEK) == b"unread"
        run(small.client, ["nft", "add", "table", "ip", "deaf"])
        run(small.client, ["nft", "add", "chain ip deaf in { type filter hook input priority 0; }"])
        run(small.client, ["nft", "add", "rule ip deaf in tcp sport 7 drop"])
        accepted.sendall(b"not acknowledged")
        first = tcprepair.snapshot(accepted, shut=False)
        again = tcprepair.snapshot(accepted, shut=False)
        assert (first.unread, first.unacknowledged) == (b"unread", b"not acknowledged")
        assert first.snd_una == again.snd_una
        assert first.snd_wnd > 0
        assert first.mss_clamp == 1460
        assert first.timestamp is not None
        assert not first.fin_received
        run(small.client, ["nft", "delete", "table", "ip", "deaf"])
        assert client.recv(100) == b"not acknowledged"
        assert accepted.recv(100) == b"unread"
        client.shutdown(socket.SHUT_WR)
        assert accepted.recv(100) == b""
        done = tcprepair.snapshot(accepted, shut=False)
        assert done.fin_received
        assert done.rcv_nxt == first.rcv_nxt + 1
        assert done.snd_una == first.snd_una + len(b"not acknowledged")
        assert (done.unread, done.unacknowledged) == (b"", b"")


def test_a_restored_connection_waits_no_longer_than_a_second_to_repeat(moved: Moved) -> None:
    """Its first round trip may look as long as the outage was. It gives up as late as ever."""
    made = moved.restore()
    try:
        longest = made.getsockopt(socket.IPPROTO_TCP, 44)
    except OSError:
        pytest.skip("this kernel has no TCP_RTO_MAX_MS")
    assert longest == tcprepair.RTO_MAX_MS
    assert made.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) > 900_000


@pytest.mark.parametrize("octets", [4096, 65_536, 400_000])
def test_a_send_queue_is_restored_whole_in_small_segments(moved: Moved, octets: int) -> None:
    """A new socket's buffer counts every small segment several times over, and how large it is
    depends on the congestion control."""
    run(moved.small.device, ["sysctl", "-qw", "net.ipv4.tcp_congestion_control=reno"])
    run(moved.small.device, ["ethtool", "-K", "ext", "tx", "off", "tso", "off", "gso", "off"])
    queue = bytes(range(256)) * (octets // 256)
    window = 65_536  # the client's own, as it advertised it
    first = moved.restore(sent=queue, mss_clamp=536, snd_wnd=window)
    with first:
        got = b""
        while len(got) < len(queue):
            got += moved.client.recv(1 << 16)
        assert got == queue
