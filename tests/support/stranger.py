"""A stranger on the HA network of an on-premises lab, who speaks the mirroring protocol.

    bigip-a:ha ---+
                  +--- switch: bridge "ha" --- stranger:eth0  10.77.0.66, and 10.77.0.11 at times
    bigip-b:ha ---+

He has his own host on the segment, so he can say whatever he likes at layer 2: he tells
bigip-b by gratuitous ARP that bigip-a's address is his (`posing`), listens to the switch (`Tap`)
and connects, sends and plays back what he wants.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Interface
from typing import TypeVar

from emulator.kernel.arp import ArpSocket
from emulator.lab.instance import Lab
from emulator.wire.arp import announcement
from emulator.wire.mirror import Ack, Body, Decoder, Message
from emulator.wire.segment import Segment, SegmentError
from netns.build import build
from netns.execute import call_in
from netns.plan import AddAddress, AddLink, AddNamespace, JoinBridge, own_tcp
from netns.topology import SWITCH

T = TypeVar("T")
MAC, OWN = "02:6d:6c:00:66:66", IPv4Address("10.77.0.66")
MIRROR_PORT, HEARTBEAT_PORT = 1029, 1026
ETH_P_ALL = 3  # a bridge takes the rest before anybody else sees it
PATIENCE_S = 10.0


class Stranger:
    """`peer` and `victim`: whom he poses as, and to whom."""

    def __init__(self, lab: Lab, peer: str = "bigip-a", victim: str = "bigip-b") -> None:
        self._lab = lab
        self.namespace = lab.world.namespace("stranger")
        self.peer = lab.world.interface(peer, "ha")
        self.victim = lab.world.interface(victim, "ha")
        switch = lab.world.namespace(SWITCH)
        steps = (
            AddNamespace(self.namespace),
            own_tcp(self.namespace),
            AddLink(self.namespace, "eth0", MAC, switch, "stranger", "02:6d:6c:00:66:67"),
            JoinBridge(switch, "stranger", "ha"),
            AddAddress(self.namespace, "eth0", IPv4Interface(f"{OWN}/24")),
            AddAddress(self.namespace, "lo", IPv4Interface(f"{self.peer.address}/32")),
        )
        build(steps)

    def inside(self, action: Callable[[], T]) -> T:
        return call_in(self.namespace, action)

    @contextlib.contextmanager
    def posing(self) -> Iterator[None]:
        """The victim sends him what is meant for the peer."""
        arp, over = self.inside(lambda: ArpSocket("eth0")), threading.Event()
        claim = replace(announcement(MAC, self.peer.address), to=self.victim.mac)

        def tell() -> None:
            while not over.wait(0.1):
                arp.send(claim)

        arp.send(claim)
        teller = threading.Thread(target=tell)
        teller.start()
        try:
            yield
        finally:
            over.set()
            teller.join()
            arp.send(replace(claim, sender_mac=self.peer.mac))
            arp.close()

    def connect(self, source: IPv4Address | None = None) -> socket.socket:
        """To the victim's mirroring port, with the peer's address or another."""
        ends = (str(self.victim.address), MIRROR_PORT), (str(source or self.peer.address), 0)

        def once() -> socket.socket:
            return socket.create_connection(ends[0], timeout=PATIENCE_S, source_address=ends[1])

        there = self.inside(once)
        there.settimeout(PATIENCE_S)
        return there

    def listen(self) -> socket.socket:
        """At the peer's address and mirroring port."""
        ear = self.inside(lambda: socket.create_server((str(self.peer.address), MIRROR_PORT)))
        ear.settimeout(PATIENCE_S)
        return ear

    def datagram(self, data: bytes) -> None:
        """To the victim's failover port, from the peer's address and port."""

        def send() -> None:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
                out.bind((str(self.peer.address), HEARTBEAT_PORT))
                out.sendto(data, (str(self.victim.address), HEARTBEAT_PORT))

        self.inside(send)

    @contextlib.contextmanager
    def tap(self, *, port: int) -> Iterator[Tap]:
        """What the peer sends from now on to a port."""
        tap = Tap(self._lab, self.peer.router_name, str(self.peer.address), port)
        try:
            yield tap
        finally:
            tap.close()


class Tap:
    """What a device sends, read at the switch."""

    def __init__(self, lab: Lab, interface: str, source: str, port: int) -> None:
        self._source, self._port = socket.inet_aton(source), port

        def ear() -> socket.socket:
            made = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
            made.bind((interface, ETH_P_ALL))
            made.settimeout(0.05)
            return made

        self._ear = call_in(lab.world.namespace(SWITCH), ear)

    def packets(self, seconds: float) -> Iterator[bytes]:
        """IP packets, as they come, for so long."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            with contextlib.suppress(TimeoutError):
                frame = self._ear.recv(65535)
                if frame[26:30] == self._source:
                    yield frame[14:]

    def datagram(self) -> bytes:
        """The next datagram to the port."""
        for packet in self.packets(PATIENCE_S):
            if packet[9] == 17 and packet[22:24] == self._port.to_bytes(2, "big"):
                return packet[28:]
        raise AssertionError("no datagram came")

    def stream(self, octets: int) -> bytes:
        """A connection's bytes from its SYN on, so many at least."""
        base, data = None, bytearray()
        for packet in self.packets(PATIENCE_S):
            with contextlib.suppress(SegmentError):
                segment = Segment.parse(packet)
                if packet[9] != 6 or segment.destination.port != self._port:
                    continue
                if segment.flags & 2:
                    base, data = segment.seq + 1, bytearray()
                elif base is not None and segment.seq == base and segment.payload:
                    data += segment.payload
                    base = segment.end
            if len(data) >= octets:
                return bytes(data)
        raise AssertionError(f"{len(data)} bytes came")

    def close(self) -> None:
        self._ear.close()


def say(there: socket.socket, bodies: Sequence[Body], first: int = 1) -> int:
    """Mirror messages, and what the victim acknowledges of them; 0 when it closes instead."""
    decoder = Decoder()
    try:
        there.sendall(b"".join(Message(n, b).emit() for n, b in enumerate(bodies, start=first)))
        while data := there.recv(65536):
            for message in decoder.feed(data):
                if isinstance(message.body, Ack):
                    return message.body.acknowledged
    except (OSError, ssl.SSLError):
        pass
    return 0


def shake_hands(there: socket.socket, folder: str | None) -> str:
    """TLS as a device does it, with the certificate in `folder` or none; why it failed."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if folder is not None:
        context.load_cert_chain(f"{folder}/device.crt", f"{folder}/device.key")
    try:
        with context.wrap_socket(there) as tls:
            return "" if tls.recv(1) else "closed"
    except (OSError, ssl.SSLError) as error:
        return str(error)
