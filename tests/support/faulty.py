"""The pair of `tests.support.pair` with a standard virtual server and a faulty channel.

The channel behaves as two kernels' TCP does: bytes that stay unacknowledged end it for their
sender after USER_TIMEOUT_S, silence ends it for the other one after KEEPALIVE_S, a slow one
buffers at its sender up to the shell's limit. Heartbeats are never touched.
"""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address

from emulator.core.commands import (
    AbandonRelays,
    AbortRelay,
    Command,
    ConnectServer,
    Listen,
    RestoreRelay,
)
from emulator.core.config import Commit, ServerType, Snat
from emulator.core.events import ChannelDown, PacketQueued
from emulator.device.channel import MAX_BUFFERED
from emulator.wire.segment import ACK, SYN, Endpoint, Segment
from tests.support.pair import LATENCY_S, SSH, USER_TIMEOUT_S, A, B, Connection, Node, Pair
from tests.support.segments import CLIENT, VIRTUAL, data, segment, syn

KEEPALIVE_S = 5.0
POOL = IPv4Address("10.88.0.10")


class FaultyPair(Pair):
    """`harm` and `slow_down` begin a fault; `open` and `says` are a client's words."""

    def __init__(self, commit: Commit) -> None:
        standard = replace(
            SSH, type=ServerType.STANDARD, commit=commit, snat=Snat.POOL, snat_pool=(POOL,)
        )
        super().__init__(standard)
        self.lost: set[str] = set()  # whose bytes the channel loses
        self.bytes_per_s: float | None = None
        self.relays: list[Command] = []
        self._free_at = 0.0
        self._said = 0

    @property
    def mirrored_at_b(self) -> list:
        """The flows the standby holds."""
        return [flow for flow in self.b.table() if flow.tracker is not None]

    def harm(self, *senders: str) -> None:
        """From now on the channel loses what these send."""
        self.lost = set(senders)
        connection = self.a.connection
        for node in (self.a, self.b):
            if connection is not None:
                self._end_at(KEEPALIVE_S, node, connection)

    def mend(self) -> None:
        self.lost = set()
        self.bytes_per_s = None

    def slow_down(self, bytes_per_s: float) -> None:
        self.bytes_per_s, self._free_at = bytes_per_s, self.now

    def open(self, source: Endpoint = CLIENT) -> None:
        """A client's connection to the virtual server, as far as the handshake goes."""
        for what, outgoing in (
            (syn(source), False),
            (segment(SYN | ACK, VIRTUAL, source, seq=5000, ack=1001), True),
            (segment(ACK, source, seq=1001, ack=5001), False),
        ):
            self.queue(what, outgoing=outgoing)
            self.run(0.01)

    def says(self, octets: int = 1000) -> int:
        """The client's next bytes come in; the packet's number."""
        packet_id = self.queue(data(seq=1001 + self._said, payload=bytes(octets)))
        self._said += octets
        return packet_id

    def queue(self, what: Segment, *, outgoing: bool = False) -> int:
        self._packet_id += 1
        node = self.nodes[self.routed_to or A]
        where = "" if outgoing else "ext"
        self._handle(node, PacketQueued(self._packet_id, where, what, what.emit()))
        return self._packet_id

    def _execute(self, node: Node, command: Command) -> None:
        match command:
            case Listen() | ConnectServer() | AbortRelay() | RestoreRelay() | AbandonRelays():
                self.relays.append(command)
            case _:
                super()._execute(node, command)

    def _move_routes(self, node: Node) -> None:
        self.routed_to = node.name

    def _connect(self, node: Node) -> None:
        if not self.lost:
            super()._connect(node)
            return
        connection = node.connection = Connection(A, B)
        self._later(USER_TIMEOUT_S, lambda: self._give_up(node, connection))

    def _send(self, node: Node, data: bytes) -> None:
        connection = node.connection
        if connection is None:
            return
        if self.lost:
            self._end_at(USER_TIMEOUT_S, node, connection)
        if node.name in self.lost:
            return
        if self.bytes_per_s is None or node is not self.a:
            super()._send(node, data)
            return
        start = max(self.now, self._free_at)
        if (start - self.now) * self.bytes_per_s + len(data) > MAX_BUFFERED:
            self._end(node, connection, "buffer")
            return
        self._free_at = start + len(data) / self.bytes_per_s
        peer = self._peer(node)
        self._later(
            self._free_at - self.now + LATENCY_S, lambda: self._receive(peer, connection, data)
        )

    def _end_at(self, seconds: float, node: Node, connection: Connection) -> None:
        self._later(seconds, lambda: self._end(node, connection, "ETIMEDOUT"))

    def _end(self, node: Node, connection: Connection, reason: str) -> None:
        if node.connection is not connection:
            return
        node.connection = None
        self._free_at = self.now
        if node.name not in self.lost:  # its reset arrives
            self._cross(node, lambda peer: self._closed(peer, connection, "ECONNRESET"))
        # As the shell does: carried out after the event at hand.
        self._later(0.0, lambda: self._handle(node, ChannelDown(reason)))
