"""Made-up captures: a conversation through the pair, hop by hop, as frames.

    talk = Conversation()
    talk.open(via="a")
    talk.client("hello", via="a")
    talk.client("lost", via="a", until="router:a-ext")     last seen leaving the router
    talk.client("lost", via="b", again=True, snat="10.0.21.11")

Every segment takes 1 ms a hop; `wait` lets time pass. Nothing but frames comes out, so what
is tested with them is tested on evidence.
"""

from __future__ import annotations

from dataclasses import replace

from emulator.wire import pcapng
from emulator.wire.heartbeat import Heartbeat
from emulator.wire.segment import ACK, FIN, PSH, RST, SYN, Endpoint, Segment
from emulator.wire.seqnum import SeqNum

CLIENT = Endpoint.of("10.0.1.10:40000")
VIP = Endpoint.of("10.99.0.10:23")
SERVER = Endpoint.of("10.0.31.100:23")
MS = 1_000_000

_ADDRESSES = {
    "client:eth0": "10.0.1.10",
    "backend-1:eth0": "10.0.31.100",
    "bigip-a:ext": "10.0.10.11",
    "bigip-a:int": "10.0.11.11",
    "bigip-b:ext": "10.0.20.11",
    "bigip-b:int": "10.0.21.11",
    "bigip-a:ha": "10.0.12.11",
    "bigip-b:ha": "10.0.22.11",
}
_LINKS = {
    "router:client-eth0": "client:eth0",
    "router:be1-eth0": "backend-1:eth0",
    "router:a-ext": "bigip-a:ext",
    "router:a-int": "bigip-a:int",
    "router:b-ext": "bigip-b:ext",
    "router:b-int": "bigip-b:int",
}
POINTS = {
    name: pcapng.Interface(
        name,
        f"mac=02:00:00:00:00:{number:02x} address={_ADDRESSES[_LINKS.get(name, name)]}"
        + (f" peer={_LINKS[name]}" if name in _LINKS else ""),
        pcapng.LINKTYPE_ETHERNET,
        1_000_000_000,
    )
    for number, name in enumerate([*_ADDRESSES, *_LINKS], 1)
}


def hops(origin: str, via: str) -> list[tuple[str, bool]]:
    """(capture point, outgoing) from one end to the other by a device, "a" or "b"."""
    first, second = ("ext", "int") if origin == "client" else ("int", "ext")
    ends = [("client:eth0", "router:client-eth0"), ("backend-1:eth0", "router:be1-eth0")]
    (start, into), (end, out) = ends if origin == "client" else reversed(ends)
    return [
        (start, True),
        (into, False),
        (f"router:{via}-{first}", True),
        (f"bigip-{via}:{first}", False),
        (f"bigip-{via}:{second}", True),
        (f"router:{via}-{second}", False),
        (out, True),
        (end, False),
    ]


class Conversation:
    """One connection's frames; sequence numbers start where the caller says."""

    def __init__(self, *, snat: str = "10.88.0.10", isn: int = 1000) -> None:
        self.frames: list[pcapng.Frame] = []
        self.now = 1_000_000_000 * 1_000_000_000
        self.snat = Endpoint.of(f"{snat}:{CLIENT.port}")
        self.client_next, self.server_next = SeqNum(isn), SeqNum(9000)
        self._ident = 0

    def wait(self, seconds: float) -> None:
        self.now += int(seconds * 1e9)

    def open(self, via: str = "a", **options: object) -> None:
        """The three-way handshake."""
        self._client(b"", SYN, via, **options)
        self._server(b"", SYN | ACK, via)
        self._client(b"", ACK, via)

    def client(self, text: str, via: str, **options: object) -> None:
        """The client sends data; see `_send` for options. `again`: a retransmission."""
        self._client(text.encode(), PSH | ACK, via, **options)

    def server(self, text: str, via: str, **options: object) -> None:
        """The server sends data."""
        self._server(text.encode(), PSH | ACK, via, **options)

    def acks(self, via: str) -> None:
        """Both ends acknowledge what they have."""
        self._client(b"", ACK, via)
        self._server(b"", ACK, via)

    def fins(self, via: str) -> None:
        self._client(b"", FIN | ACK, via)
        self._server(b"", FIN | ACK, via)

    def server_resets(self, via: str, snat: str | None = None) -> None:
        """The backend answers a segment from `snat` with a reset."""
        segment = Segment(SERVER, self._snat(snat), self.server_next, SeqNum(0), RST)
        self._send(segment, hops("server", via), VIP, CLIENT)

    def device_resets(self, via: str, inner: str = "") -> None:
        """The device itself answers the client; `inner`: from this address of its own, which
        the fabric translates to the virtual server's."""
        path = hops("server", via)[4:]
        source = Endpoint.of(f"{inner}:{VIP.port}") if inner else VIP
        reset = Segment(source, CLIENT, self.server_next, SeqNum(0), RST)
        self._send(reset, path[:2], source, CLIENT)
        self._ident -= 1
        self._send(replace(reset, source=VIP), path[2:], VIP, CLIENT)

    def heartbeat(self, device: str, *, active: bool, sequence: int = 1) -> None:
        """What a device says of itself on the HA network; only its own frame."""
        self.now += MS
        point = POINTS[f"bigip-{device}:ha"]
        said = Heartbeat(f"bigip-{device}", active, False, 0, sequence).emit()
        udp = b"\x04\x02\x04\x02" + (8 + len(said)).to_bytes(2, "big") + bytes(2) + said
        ip = b"\x45\0" + (20 + len(udp)).to_bytes(2, "big") + bytes(4) + b"\x40\x11" + bytes(10)
        mac = bytes.fromhex(point.description[4:21].replace(":", ""))
        data = bytes(6) + mac + b"\x08\x00" + ip + udp
        self.frames.append(pcapng.Frame(point, self.now, data, len(data)))

    def _client(self, data: bytes, flags: int, via: str, **options: object) -> None:
        again = bool(options.pop("again", False))
        seq = self.client_next
        segment = Segment(CLIENT, VIP, seq, self.server_next, flags, 500, data)
        if again:
            segment = replace(segment, seq=SeqNum((seq.value - len(data)) % 2**32))
        else:
            self.client_next = segment.end
        snat = options.pop("snat", None)
        self._send(segment, hops("client", via), self._snat(snat), SERVER, **options)

    def _server(self, data: bytes, flags: int, via: str, **options: object) -> None:
        again = bool(options.pop("again", False))
        seq = self.server_next
        segment = Segment(SERVER, self.snat, seq, self.client_next, flags, 500, data)
        if again:
            segment = replace(segment, seq=SeqNum((seq.value - len(data)) % 2**32))
        else:
            self.server_next = segment.end
        self._send(segment, hops("server", via), VIP, CLIENT, **options)

    def _snat(self, address: object) -> Endpoint:
        return Endpoint.of(f"{address}:{CLIENT.port}") if address else self.snat

    def _send(
        self,
        segment: Segment,
        path: list[tuple[str, bool]],
        source: Endpoint,
        destination: Endpoint,
        *,
        until: str = "",
        alter: bytes | None = None,
        inner: str = "",
    ) -> None:
        """Lay the frames of one transmission: `source` and `destination` are what the device
        translates to; `until` is the last point it is seen at; `alter` replaces its payload
        from the device on; `inner` is the address the fabric delivers it to the device for."""
        self._ident += 1
        segment = replace(segment, identification=self._ident)
        for point, outgoing in path:
            self.now += MS
            if inner and point.startswith("router:") and outgoing:
                there = Endpoint.of(f"{inner}:{segment.destination.port}")
                segment = replace(segment, destination=there)
            if point.startswith("bigip-") and outgoing:
                inner = ""
                segment = replace(segment, source=source, destination=destination)
                segment = replace(segment, payload=segment.payload if alter is None else alter)
            mac = bytes.fromhex(POINTS[point].description[4:21].replace(":", ""))
            sender = mac if outgoing else bytes(6)
            data = bytes(6) + sender + b"\x08\x00" + segment.emit()
            self.frames.append(pcapng.Frame(POINTS[point], self.now, data, len(data)))
            if point == until:
                return
