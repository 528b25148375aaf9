"""One kernel fact a test: what the device's recipes rest on."""

from __future__ import annotations

import contextlib
import select
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
from netfilterqueue import Packet

from emulator.kernel import rules
from emulator.kernel.conntrack import Conntrack
from emulator.kernel.nfqueue import PacketQueue, dropped
from emulator.kernel.rawsocket import RawSender
from emulator.wire.mirror import FlowRecord, SnatKind
from emulator.wire.segment import ACK, PROTO_UDP, SYN, Endpoint, parse_headers, reset_for
from netns.execute import call_in, run
from tests.kernel.conftest import Small

pytestmark = pytest.mark.root
VIP = Endpoint.of("10.99.0.10:22")
MEMBER = Endpoint.of("10.2.0.2:7")


def record(client: Endpoint, snat: str, kind: SnatKind = SnatKind.POOL) -> FlowRecord:
    return FlowRecord("vs", client, VIP, Endpoint.of(snat), MEMBER, kind, 300)


@contextlib.contextmanager
def queue(small: Small, decide: Callable[[Packet], None]) -> Iterator[None]:
    """The device's rules and a queue whose packets `decide` judges, until the context ends."""
    ready, stop = threading.Event(), threading.Event()

    def serve() -> None:
        rules.apply(["ext", "int"], datagrams=True)
        packets = PacketQueue(rules.QUEUE, decide)
        ready.set()
        while not stop.is_set():
            if select.select([packets], [], [], 0.02)[0]:
                packets.process()
        packets.close()

    thread = small.in_thread(serve)
    assert ready.wait(5)
    try:
        yield
    finally:
        stop.set()
        thread.join(5)


def connect(small: Small, port: int = 40000, to: Endpoint = VIP) -> socket.socket:
    """A client socket from 10.1.0.2:port to the VIP, or elsewhere."""

    def open_() -> socket.socket:
        return socket.create_connection(
            (str(to.address), to.port), timeout=5, source_address=("10.1.0.2", port)
        )

    return small.closing.enter_context(call_in(small.client, open_))


@pytest.mark.parametrize(
    ("snat", "kind"),
    [
        ("10.88.0.1:40000", SnatKind.POOL),
        ("10.88.0.1:50000", SnatKind.POOL),
        ("10.2.0.1:40000", SnatKind.AUTOMAP),
        ("10.1.0.2:40000", SnatKind.NONE),
    ],
)
def test_an_installed_flow_is_translated_both_ways_from_its_first_packet(
    small: Small, snat: str, kind: SnatKind
) -> None:
    """Entry first, then release: the kernel rewrites this SYN and everything after it."""
    conntrack = call_in(small.device, Conntrack)
    client = Endpoint.of("10.1.0.2:40000")
    installed: list[bool] = []

    def decide(packet: Packet) -> None:
        segment = parse_headers(packet.get_payload())
        if segment.flags & (SYN | ACK) == SYN and not installed:
            conntrack.install(record(client, snat, kind))
            installed.append(True)
        packet.accept()

    listener = small.listen()
    with queue(small, decide):
        here = connect(small)
        there, peer = listener.accept()
        small.closing.enter_context(there)
        assert peer == (snat.split(":")[0], int(snat.split(":")[1]))
        for near, far in ((here, there), (there, here)):
            near.sendall(b"x" * 5000)
            assert receive(far, 5000) == b"x" * 5000
    conntrack.close()


def test_a_flow_installed_in_the_middle_goes_on(small: Small) -> None:
    """What takeover rests on: entries removed and installed again, nobody notices."""
    conntrack = call_in(small.device, Conntrack)
    flow = record(Endpoint.of("10.1.0.2:40000"), "10.88.0.1:40000")
    conntrack.install(flow)
    listener = small.listen()
    with queue(small, lambda packet: packet.accept()):
        here = connect(small)
        there, _ = listener.accept()
        small.closing.enter_context(there)
        here.sendall(b"before")
        assert receive(there, 6) == b"before"
        assert conntrack.remove(flow)
        assert not conntrack.remove(flow)
        conntrack.install(flow)
        conntrack.install(flow)  # an older entry gives way
        there.sendall(b"after")  # the server speaks first
        assert receive(here, 5) == b"after"
        here.sendall(b"too")
        assert receive(there, 3) == b"too"
    conntrack.close()


SERVER_ITSELF = FlowRecord(
    "vs", Endpoint.of("10.1.0.2:40000"), MEMBER, Endpoint.of("10.1.0.2:40000"), MEMBER,
    SnatKind.NONE, 300,
)  # fmt: skip


def test_a_forwarded_flow_passes_untranslated(small: Small) -> None:
    """An entry without translation is established, and that alone lets its packets through."""
    conntrack = call_in(small.device, Conntrack)
    listener = small.listen()
    with queue(small, lambda packet: packet.accept()):
        conntrack.install(SERVER_ITSELF)
        here = connect(small, to=MEMBER)
        there, peer = listener.accept()
        small.closing.enter_context(there)
        assert peer == ("10.1.0.2", 40000)
        there.sendall(b"hello")
        assert receive(here, 5) == b"hello"
        assert conntrack.remove(SERVER_ITSELF)
        here.sendall(b"lost")
        assert select.select([there], [], [], 0.5)[0] == []
    conntrack.close()


def test_a_flow_that_was_elsewhere_for_a_while_comes_back(small: Small) -> None:
    """Its numbers have moved on by more than any window: no packet of it is invalid here."""
    conntrack = call_in(small.device, Conntrack)
    elsewhere = (
        ("raw", "PREROUTING", "-p", "tcp", "-j", "CT", "--notrack"),
        ("filter", "FORWARD", "-j", "ACCEPT"),
    )

    def rule(verb: str) -> None:
        for table, chain, *what in elsewhere:
            run(small.device, ["iptables", "-t", table, verb, chain, *what])

    listener = small.listen()
    with queue(small, lambda packet: packet.accept()):
        conntrack.install(SERVER_ITSELF)
        here = connect(small, to=MEMBER)
        there, _ = listener.accept()
        small.closing.enter_context(there)
        here.sendall(b"before")
        assert receive(there, 6) == b"before"
        rule("-I")
        sender = threading.Thread(target=lambda: here.sendall(b"x" * 3_000_000), daemon=True)
        sender.start()
        assert len(receive(there, 3_000_000)) == 3_000_000
        sender.join(5)
        rule("-D")
        here.sendall(b"after")
        assert receive(there, 5) == b"after"
        there.sendall(b"too")
        assert receive(here, 3) == b"too"
    conntrack.close()


def test_a_udp_flow_is_translated_both_ways(small: Small) -> None:
    conntrack = call_in(small.device, Conntrack)
    flow = replace(record(Endpoint.of("10.1.0.2:40000"), "10.88.0.1:50000"), protocol=PROTO_UDP)

    def bound(address: str, port: int) -> socket.socket:
        made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        made.bind((address, port))
        made.settimeout(5)
        return small.closing.enter_context(made)

    here = call_in(small.client, lambda: bound("10.1.0.2", 40000))
    there = call_in(small.server, lambda: bound("10.2.0.2", 7))
    with queue(small, lambda packet: packet.accept()):
        conntrack.install(flow)
        here.sendto(b"who", (str(VIP.address), VIP.port))
        data, peer = there.recvfrom(100)
        assert (data, peer) == (b"who", ("10.88.0.1", 50000))
        there.sendto(b"me", peer)
        assert here.recvfrom(100) == (b"me", (str(VIP.address), VIP.port))
        assert conntrack.remove(flow)
        here.sendto(b"lost", (str(VIP.address), VIP.port))
        assert select.select([there], [], [], 0.5)[0] == []
    conntrack.close()


def test_without_a_flow_nothing_passes(small: Small) -> None:
    """Accepted but not installed: the device forwards only what it translates."""
    small.listen()
    with queue(small, lambda packet: packet.accept()), pytest.raises(TimeoutError):
        call_in(small.client, lambda: socket.create_connection((str(VIP.address), 22), timeout=1.5))


def test_a_reset_of_our_own_making_ends_the_clients_connection(small: Small) -> None:
    """The raw RST leaves although conntrack knows no connection, and the client believes it."""
    raw = call_in(small.device, RawSender)

    def decide(packet: Packet) -> None:
        segment = parse_headers(packet.get_payload())
        packet.drop()
        raw.send(reset_for(segment))

    with queue(small, decide), pytest.raises(ConnectionRefusedError):
        connect(small)
    raw.close()


def test_a_held_packet_goes_on_when_released(small: Small) -> None:
    """Held in raw PREROUTING, before tracking: nothing clashes when it is let go later."""
    conntrack = call_in(small.device, Conntrack)
    client = Endpoint.of("10.1.0.2:40000")
    held: list[Packet] = []
    arrived = threading.Event()

    def decide(packet: Packet) -> None:
        if not arrived.is_set():
            packet.retain()
            held.append(packet)
            arrived.set()
        else:
            packet.accept()

    listener = small.listen()
    with queue(small, decide):
        opening = threading.Thread(target=lambda: connect(small), daemon=True)
        opening.start()
        assert arrived.wait(5)
        conntrack.install(record(client, "10.88.0.1:40000"))
        held.pop().accept()
        there, _ = listener.accept()
        small.closing.enter_context(there)
        opening.join(5)
    conntrack.close()


def test_super_packets_come_whole_and_only_their_headers(small: Small) -> None:
    """With the GSO flag the queue sees segments larger than the MTU, and 128 bytes of each."""
    conntrack = call_in(small.device, Conntrack)
    conntrack.install(record(Endpoint.of("10.1.0.2:40000"), "10.88.0.1:40000"))
    sizes: list[int] = []
    copied: list[int] = []

    def decide(packet: Packet) -> None:
        data = packet.get_payload()
        sizes.append(int.from_bytes(data[2:4], "big"))
        copied.append(len(data))
        packet.accept()

    listener = small.listen()
    with queue(small, decide):
        here = connect(small)
        there, _ = listener.accept()
        small.closing.enter_context(there)
        sender = threading.Thread(target=lambda: here.sendall(b"y" * 2_000_000), daemon=True)
        sender.start()
        assert len(receive(there, 2_000_000)) == 2_000_000
        sender.join(5)
        assert call_in(small.device, dropped) == 0
    assert max(sizes) > 1500
    assert max(copied) <= 128
    conntrack.close()


def test_a_queue_nobody_reads_drops(small: Small) -> None:
    """A dead device is silent: no listener on the queue, no bypass."""
    call_in(small.device, lambda: rules.apply(["ext", "int"]))
    with pytest.raises(TimeoutError):
        call_in(small.client, lambda: socket.create_connection((str(VIP.address), 22), timeout=1.5))


def receive(connection: socket.socket, size: int) -> bytes:
    """Exactly `size` bytes, or what came until the connection's time-out."""
    connection.settimeout(5)
    data = bytearray()
    while len(data) < size:
        chunk = connection.recv(1 << 16)
        if not chunk:
            break
        data += chunk
    return bytes(data)


def test_many_changes_go_in_few_writes_and_an_older_entry_gives_way(small: Small) -> None:
    """More than go together; a flow that is there already is replaced, an unknown one no error."""
    conntrack = call_in(small.device, Conntrack)
    small.closing.callback(conntrack.close)
    flows = [
        record(Endpoint.of(f"10.1.0.2:{port}"), f"10.88.0.1:{port}") for port in range(20000, 20150)
    ]
    moved = replace(flows[100], snat=Endpoint.of("10.88.0.1:30000"))
    stranger = record(Endpoint.of("10.1.0.2:19999"), "10.88.0.1:19999")
    assert conntrack.change([(flow, True) for flow in flows]) == []
    assert conntrack.change([(flows[0], False), (stranger, False), (moved, True)]) == []
    listed = run(small.device, ["conntrack", "-L"])
    assert "dport=30000" in listed
    assert "dport=20100" not in listed
    assert [conntrack.remove(flow) for flow in flows] == [False, *[True] * 149]
