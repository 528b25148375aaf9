"""Made-up captures of a proxied connection: two TCP connections and the mirroring channel.

    talk = Proxied()
    talk.channel_opens()
    talk.open("a")
    talk.says(b"hello", "a")                     comes in, is mirrored, acknowledged, relayed
    talk.says(b"lost", "a", mirrored=False, relayed=False)
    talk.device_acks("b", back=4)                bigip-b knows of 4 bytes less

Nothing but frames comes out. Numbers: the client's from 1000, the device's own 3000 towards
the client and 5000 towards the server, the server's from 9000.
"""

from __future__ import annotations

from dataclasses import replace

from emulator.lab.judge.facts import Facts, Record, gather
from emulator.lab.judge.tracing import trace
from emulator.wire import pcapng
from emulator.wire.mirror import Message, Mirrored
from emulator.wire.segment import ACK, FIN, PSH, RST, SYN, Endpoint, Segment
from emulator.wire.seqnum import SeqNum
from tests.support.tape import CLIENT, MS, POINTS, SERVER, VIP, Conversation, hops

SNAT = Endpoint.of("10.88.0.10:40000")
CHANNEL_A, CHANNEL_B = Endpoint.of("10.0.12.11:33000"), Endpoint.of("10.0.22.11:1029")
_TO_B = [("bigip-a:ha", True), ("bigip-b:ha", False)]
_TO_A = [("bigip-b:ha", True), ("bigip-a:ha", False)]


class Proxied:
    """One connection through a proxying pair, bigip-a active first."""

    def __init__(self) -> None:
        self.frames: list[pcapng.Frame] = []
        self.now = 1_000_000_000 * 1_000_000_000
        self.client_next, self.server_next = SeqNum(1000), SeqNum(9000)
        self.to_client, self.to_server = SeqNum(3000), SeqNum(5000)
        self._channel = SeqNum(100)
        self._messages = self._ident = 0
        self.lossy = False  # the channel: what bigip-a sends does not arrive

    def facts(self, *records: Record) -> Facts:
        return gather(trace(self.frames), records)

    def wait(self, seconds: float) -> None:
        self.now += int(seconds * 1e9)

    def put(self, segment: Segment, path: list[tuple[str, bool]], until: str = "") -> Segment:
        """One transmission along `path`, as far as `until`."""
        self._ident += 1
        segment = replace(segment, identification=self._ident)
        for point, outgoing in path:
            self.now += MS
            mac = bytes.fromhex(POINTS[point].description[4:21].replace(":", ""))
            data = bytes(6) + (mac if outgoing else bytes(6)) + b"\x08\x00" + segment.emit()
            self.frames.append(pcapng.Frame(POINTS[point], self.now, data, len(data)))
            if point == until:
                break
        return segment

    # The two connections.

    def open(self, via: str = "a", *, server: bool = True, mirrored: bool = True) -> None:
        """Both handshakes, or only the client's."""
        syn = self.from_client(b"", SYN, via)
        answer = self.from_device(b"", SYN | ACK, via)
        ack = self.from_client(b"", ACK, via)
        parts = [syn, answer, ack]
        if server:
            parts.append(self.put_to_server(b"", SYN, via))
            parts.append(self.from_server(b"", SYN | ACK, via))
            self.put_to_server(b"", ACK, via)
        for part in parts if mirrored else ():
            self.mirror(part)

    def says(
        self, text: bytes, via: str, *, mirrored: bool = True, acked: bool = True,
        relayed: bool = True,
    ) -> None:  # fmt: skip
        """The client's bytes, and what the device does with them."""
        segment = self.from_client(text, PSH | ACK, via)
        if mirrored:
            self.mirror(segment)
        if acked:
            self.device_acks(via)
        if relayed:
            self.put_to_server(text, PSH | ACK, via)
            self.from_server(b"", ACK, via)

    def device_acks(self, via: str, *, back: int = 0) -> None:
        """To the client: all it has sent, less `back` bytes."""
        ack = SeqNum((self.client_next.value - back) % 2**32)
        segment = Segment(VIP, CLIENT, self.to_client, ack, ACK, 500)
        self.put(segment, hops("server", via)[4:])

    def from_client(self, data: bytes, flags: int, via: str, until: str = "") -> Segment:
        segment = Segment(CLIENT, VIP, self.client_next, self.to_client, flags, 500, data)
        self.client_next = segment.end
        return self.put(segment, hops("client", via)[:4], until)

    def from_device(self, data: bytes, flags: int, via: str) -> Segment:
        segment = Segment(VIP, CLIENT, self.to_client, self.client_next, flags, 500, data)
        self.to_client = segment.end
        return self.put(segment, hops("server", via)[4:])

    def put_to_server(self, data: bytes, flags: int, via: str) -> Segment:
        segment = Segment(SNAT, SERVER, self.to_server, self.server_next, flags, 500, data)
        self.to_server = segment.end
        return self.put(segment, hops("client", via)[4:])

    def from_server(self, data: bytes, flags: int, via: str) -> Segment:
        segment = Segment(SERVER, SNAT, self.server_next, self.to_server, flags, 500, data)
        self.server_next = segment.end
        return self.put(segment, hops("server", via)[:4])

    def client_closes(self, via: str, *, mirrored: bool = True, relayed: bool = True) -> None:
        segment = self.from_client(b"", FIN | ACK, via)
        if mirrored:
            self.mirror(segment)
        self.device_acks(via)
        if relayed:
            self.put_to_server(b"", FIN | ACK, via)

    def device_resets_client(self, via: str) -> None:
        """In answer to what the client sends once more."""
        self.from_client(b"again", PSH | ACK, via)
        self.put(Segment(VIP, CLIENT, self.to_client, SeqNum(0), RST), hops("server", via)[4:])

    # Between the devices.

    def channel_opens(self) -> None:
        a, b = CHANNEL_A, CHANNEL_B
        self.put(Segment(a, b, self._channel, SeqNum(0), SYN), _TO_B, self._until())
        if not self.lossy:
            self.put(Segment(b, a, SeqNum(700), self._channel + 1, SYN | ACK), _TO_A)
        self._channel = self._channel + 1

    def channel_ends(self) -> None:
        self.put(Segment(CHANNEL_A, CHANNEL_B, self._channel, SeqNum(701), RST), _TO_B)

    def mirror(self, segment: Segment) -> None:
        """bigip-a mirrors it; bigip-b's TCP acknowledges what arrives."""
        self._messages += 1
        body = Message(self._messages, Mirrored(segment.emit())).emit()
        carried = Segment(CHANNEL_A, CHANNEL_B, self._channel, SeqNum(701), PSH | ACK, 9, body)
        self.put(carried, _TO_B, self._until())
        self._channel = carried.end
        if not self.lossy:
            self.put(Segment(CHANNEL_B, CHANNEL_A, SeqNum(701), carried.end, ACK, 9), _TO_A)

    def heartbeat(self, device: str, *, active: bool, sequence: int = 1) -> None:
        said = Conversation()
        said.now = self.now
        said.heartbeat(device, active=active, sequence=sequence)
        self.frames += said.frames
        self.now = said.now

    def _until(self) -> str:
        return "bigip-a:ha" if self.lossy else ""
