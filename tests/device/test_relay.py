"""The relay over real sockets of the loopback: no root, no device, no packets to hold.

client --> listener (127.0.0.2) [Relays] --from 127.0.0.3--> member (127.0.0.4)
"""

from __future__ import annotations

import contextlib
import selectors
import socket
import threading
import time
from collections.abc import Callable, Iterator
from ipaddress import IPv4Address

import pytest

from emulator.core.events import ClientAccepted, Event, RelayEnded, ServerUnreachable
from emulator.device import relay
from emulator.device.relay import HIGH, PASS, Relays
from emulator.wire.mirror import FlowRecord, SnatKind
from emulator.wire.segment import Endpoint

PATIENCE_S = 10.0


class Bench:
    """A relay driven by `until`, a member's listener, and the events posted."""

    def __init__(self) -> None:
        self.selector = selectors.DefaultSelector()
        self.events: list[Event] = []
        self.relays = Relays(self.selector, self.events.append)
        self.member = socket.create_server(("127.0.0.4", 0))
        self.member.settimeout(PATIENCE_S)
        port = free_port("127.0.0.2")
        self.virtual = Endpoint(IPv4Address("127.0.0.2"), port)
        self.relays.listen(self.virtual)
        self.open: list[socket.socket] = []

    def until(self, what: Callable[[], object]) -> None:
        """Serve until the condition holds; fails the test past the deadline."""
        deadline = time.monotonic() + PATIENCE_S
        while not what():
            assert time.monotonic() < deadline, "waited in vain"
            for key, mask in self.selector.select(0.01):
                key.data(mask)
            self.relays.sweep(time.monotonic())

    def connect(self) -> tuple[socket.socket, FlowRecord]:
        """A client, accepted; and its flow."""
        client = socket.create_connection((str(self.virtual.address), self.virtual.port))
        client.settimeout(PATIENCE_S)
        self.open.append(client)
        self.until(lambda: any(isinstance(e, ClientAccepted) for e in self.events))
        [accepted] = [e for e in self.events if isinstance(e, ClientAccepted)]
        self.events.clear()
        member = Endpoint(IPv4Address("127.0.0.4"), self.member.getsockname()[1])
        snat = Endpoint(IPv4Address("127.0.0.3"), 0)
        kind = SnatKind.POOL
        return client, FlowRecord("vs", accepted.client, self.virtual, snat, member, kind, 300)

    def pair(self) -> tuple[socket.socket, socket.socket, FlowRecord]:
        """Client, server, and their flow: connected through."""
        client, record = self.connect()
        self.relays.connect(record)
        server, (address, _) = self.member.accept()
        assert address == "127.0.0.3"
        server.settimeout(PATIENCE_S)
        self.open.append(server)
        return client, server, record

    def receive(self, end: socket.socket, count: int) -> bytes:
        """So many bytes, or all before the end of the stream."""
        end.setblocking(False)
        got = bytearray()
        over = False

        def more() -> bool:
            nonlocal over
            with contextlib.suppress(BlockingIOError):
                data = end.recv(1 << 16)
                over = not data
                got.extend(data)
            return over or len(got) >= count

        self.until(more)
        return bytes(got)

    def close(self) -> None:
        self.relays.abandon()
        for end in [*self.open, self.member]:
            end.close()
        self.selector.close()


def free_port(address: str) -> int:
    with socket.create_server((address, 0)) as probe:
        return int(probe.getsockname()[1])


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    """Without the two options that need root: the loopback owns all its addresses."""
    monkeypatch.setattr(relay, "_socket", plain_socket)
    monkeypatch.setattr(relay.tcprepair, "abandon", lambda s: s.close())
    made = Bench()
    yield made
    made.close()


def plain_socket() -> socket.socket:
    made = socket.socket()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    made.setblocking(False)
    return made


def test_bytes_go_both_ways(bench: Bench) -> None:
    client, server, _ = bench.pair()
    client.sendall(b"hello")
    assert bench.receive(server, 5) == b"hello"
    server.sendall(b"hello yourself")
    assert bench.receive(client, 14) == b"hello yourself"


def test_what_the_client_says_before_the_server_is_there_waits(bench: Bench) -> None:
    client, record = bench.connect()
    client.sendall(b"early")
    bench.relays.connect(record)
    server, _ = bench.member.accept()
    bench.open.append(server)
    assert bench.receive(server, 5) == b"early"


def test_a_fin_goes_on_after_what_was_said_before_it_and_the_other_way_stays_open(
    bench: Bench,
) -> None:
    client, server, _ = bench.pair()
    client.sendall(b"x" * 100_000)
    client.shutdown(socket.SHUT_WR)
    assert bench.receive(server, 1 << 30) == b"x" * 100_000
    server.sendall(b"still here")
    assert bench.receive(client, 10) == b"still here"
    assert bench.events == []


def test_four_fins_end_the_pair(bench: Bench) -> None:
    client, server, record = bench.pair()
    client.close()
    assert bench.receive(server, 1) == b""
    server.close()
    bench.until(lambda: bench.events)
    assert bench.events == [RelayEnded(record.client, record.virtual)]
    assert len(bench.relays) == 0


@pytest.mark.parametrize("first", ["client", "server"])
def test_a_reset_of_one_side_resets_the_other(bench: Bench, first: str) -> None:
    client, server, record = bench.pair()
    client.sendall(b"x")
    bench.receive(server, 1)
    breaking, other = (client, server) if first == "client" else (server, client)
    breaking.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    breaking.close()
    bench.until(lambda: bench.events)
    assert bench.events == [RelayEnded(record.client, record.virtual, f"{first} side: ECONNRESET")]
    other.setblocking(True)
    with pytest.raises(ConnectionResetError):
        other.recv(1)


def test_a_member_that_refuses_is_told_of(bench: Bench) -> None:
    client, record = bench.connect()
    bench.member.close()
    bench.relays.connect(record)
    bench.until(lambda: bench.events)
    assert bench.events == [ServerUnreachable(record.client, record.virtual, "ECONNREFUSED")]
    bench.relays.abort(record.client, record.virtual)
    with pytest.raises(ConnectionResetError):
        client.recv(1)
    assert len(bench.relays) == 0


def test_connecting_what_is_gone_or_connected_does_nothing(bench: Bench) -> None:
    _, _, record = bench.pair()
    bench.relays.connect(record)
    bench.relays.abort(record.client, record.virtual)
    bench.relays.connect(record)
    bench.relays.abort(record.client, record.virtual)
    bench.member.settimeout(0.05)
    with pytest.raises(TimeoutError):
        bench.member.accept()


def test_a_reader_that_does_not_read_slows_its_writer_down(bench: Bench) -> None:
    """What waits in the relay is bounded; when it reads again, every byte is there."""
    client, server, record = bench.pair()
    server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
    sent = bytes(range(256)) * (1 << 16)  # 16 MiB
    written = 0

    def write() -> None:
        nonlocal written
        for at in range(0, len(sent), 1 << 16):
            client.sendall(sent[at : at + (1 << 16)])
            written = at + (1 << 16)

    writer = threading.Thread(target=write, daemon=True)
    writer.start()
    side = bench.relays._pairs[record.client, record.virtual].server
    assert side is not None
    largest = still = before = 0

    def stopped() -> bool:
        nonlocal largest, still, before
        largest = max(largest, len(side.pending))
        still, before = (still + 1, before) if written == before else (0, written)
        return still > 30 and written > 0

    bench.until(stopped)
    assert written < len(sent)
    assert largest < HIGH + PASS
    assert bench.receive(server, len(sent)) == sent
    writer.join(PATIENCE_S)


def test_abandoned_connections_are_forgotten_with_their_listener(bench: Bench) -> None:
    bench.pair()
    bench.relays.abandon()
    assert len(bench.relays) == 0
    assert not bench.selector.get_map()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((str(bench.virtual.address), bench.virtual.port))
    bench.relays.listen(bench.virtual)  # and can be had again
    bench.connect()


def test_many_pairs_at_once_do_not_mix(bench: Bench) -> None:
    pairs = [bench.pair() for _ in range(50)]
    for number, (client, _, _) in enumerate(pairs):
        client.sendall(b"%04d" % number * 1000)
    for number, (_, server, _) in enumerate(pairs):
        assert bench.receive(server, 4000) == b"%04d" % number * 1000
