"""Two devices, a fake link and a fake clock: no sockets, no kernel, no sleeping.

    client --> route --> bigip-a ---+
                         bigip-b ---+  link: heartbeats, and one mirroring connection

Each node carries out its device's commands as the shell does, on values a test can look at:
`kernel` (the flows it forwards), `verdicts`, `sent`, `journal`. Heartbeats and mirror messages
cross the link as bytes, the latter cut in two. Every rule of the contract in `core.commands`
that a fake kernel can see is checked on the way.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network

from emulator.core.commands import (
    CancelRoutes,
    CloseChannel,
    Command,
    ConnectChannel,
    Discard,
    Hold,
    InstallFlow,
    Note,
    Release,
    RemoveFlow,
    RequestRoutes,
    SendArp,
    SendHeartbeat,
    SendSegment,
    SendToPeer,
    SendUnreachable,
    SetMac,
)
from emulator.core.config import Config, SelfIp, Snat, VirtualServer
from emulator.core.device import Device
from emulator.core.events import (
    ChannelDown,
    ChannelUp,
    DatagramQueued,
    Event,
    HeartbeatHeard,
    OperatorStandby,
    PacketQueued,
    PeerMessages,
    Tick,
)
from emulator.core.fastpath import datagram as passes
from emulator.core.fastpath import established
from emulator.core.flow import FlowState
from emulator.wire.datagram import Datagram
from emulator.wire.heartbeat import Heartbeat
from emulator.wire.mirror import Ack, Decoder, FlowRecord, Message
from emulator.wire.segment import Endpoint, Segment
from tests.support.segments import CLIENT, MEMBER, VIRTUAL, syn

A, B = "bigip-a", "bigip-b"
LATENCY_S = 0.001
USER_TIMEOUT_S = 4.0  # as the shell sets it on the mirroring connection

_ADDRESSES = {
    A: {"ext": "10.0.1.11", "int": "10.0.2.11", "ha": "10.0.9.11"},
    B: {"ext": "10.0.11.12", "int": "10.0.12.12", "ha": "10.0.9.12"},
}

SSH = VirtualServer("vs_ssh", VIRTUAL, (MEMBER,), mirroring=True)


def config(name: str = A, server: VirtualServer = SSH, **changes: object) -> Config:
    """One device of the pair: no address in common with the other's, as across zones."""
    own = _ADDRESSES[name]
    inside = (IPv4Network("10.0.2.0/24"), IPv4Network("10.0.12.0/24"), IPv4Network("10.0.30.0/24"))
    plain = Config(
        name=name,
        order=(A, B).index(name),
        traffic_group="traffic-group-1",
        ha_address=IPv4Address(own["ha"]),
        peer_ha_address=IPv4Address(_ADDRESSES[B if name == A else A]["ha"]),
        self_ips=(
            SelfIp("int", IPv4Address(own["int"]), inside),
            SelfIp("ext", IPv4Address(own["ext"]), (IPv4Network("0.0.0.0/0"),)),
        ),
        virtual_servers=(server,),
    )
    return replace(plain, **changes)  # type: ignore[arg-type]


def server(
    *, snat: Snat = Snat.AUTOMAP, mirroring: bool = True, **changes: object
) -> VirtualServer:
    """vs_ssh, a little different."""
    return replace(SSH, snat=snat, mirroring=mirroring, **changes)  # type: ignore[arg-type]


def client(number: int) -> Endpoint:
    """One of many clients of the same host."""
    return Endpoint(CLIENT.address, CLIENT.port + number)


def active_device(config: Config, *, channel: bool = True) -> Device:
    """bigip-a at second 0: the peer stands by; with `channel`, messages 1 to 3 are acknowledged."""
    device = Device(config, 0.0)
    device.handle(HeartbeatHeard(Heartbeat(B, False, False, 1, 1)), 0.0)
    assert device.active
    if channel:
        device.handle(ChannelUp(), 0.0)
        device.handle(PeerMessages((Message(0, Ack(3)),)), 0.0)
    return device


class Connection:
    """One mirroring connection: its two ends, and whether anybody still has it."""

    def __init__(self, *ends: str) -> None:
        self.decoders = {name: Decoder() for name in ends}


class Node:
    """A device and the effects of its commands."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.journal: list[tuple[float, Note]] = []
        self.start(None)

    def start(self, device: Device | None) -> None:
        """A new process: nothing of the old one's state is left."""
        self.device = device
        self.kernel: dict[tuple[Endpoint, Endpoint], FlowRecord] = {}
        self.verdicts: dict[int, str] = {}
        self.sent: list[Segment] = []
        self.unreachable: list[Segment] = []
        self.macs: dict[str, str] = {}
        self.connection: Connection | None = None

    @property
    def active(self) -> bool:
        return self.device is not None and self.device.active

    @property
    def flows(self) -> set[FlowRecord]:
        """What the connection table holds."""
        return {flow.record for flow in self.table()}

    @property
    def mirrored(self) -> set[FlowRecord]:
        """What this node believes to be at both devices."""
        return {flow.record for flow in self.table() if flow.mirrored}

    def table(self) -> list:
        assert self.device is not None, f"{self.name} is off"
        return self.device.traffic.table.flows()

    def notes(self, what: str) -> list[tuple[float, dict[str, object]]]:
        """The journal's lines of that name, with their time."""
        return [(at, note.details) for at, note in self.journal if note.what == what]


class Pair:
    """Drive it with `run`, `client_connects`, `power_off`, `cut_link`... in script order."""

    def __init__(self, server: VirtualServer = SSH, **changes: object) -> None:
        self.now = 0.0
        self.link_up = True
        self.routed_to: str | None = None
        self.neighbours: dict[IPv4Address, str] = {}  # what gratuitous ARP taught them
        self.was_split = False
        self.configs = {name: config(name, server, **changes) for name in (A, B)}
        self.nodes = {name: Node(name) for name in (A, B)}
        self.a, self.b = self.nodes[A], self.nodes[B]
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._count = 0
        self._packet_id = 0

    # What a script says.

    def power_on(self, *names: str) -> Pair:
        for name in names or (A, B):
            self.nodes[name].start(Device(self.configs[name], self.now))
        return self

    def power_off(self, name: str) -> None:
        """Silence: the peer is told nothing, and finds its connection dead later."""
        connection = self.nodes[name].connection
        self.nodes[name].start(None)
        self._end_later(connection)

    def cut_link(self) -> None:
        self.link_up = False
        for connection in {self.a.connection, self.b.connection}:
            self._end_later(connection)

    def mend_link(self) -> None:
        self.link_up = True

    def lose_channel(self) -> None:
        """The mirroring connection alone is reset, at both ends."""
        for node in self.nodes.values():
            if node.connection is not None:
                node.connection = None
                self._handle(node, ChannelDown("ECONNRESET"))

    def force_standby(self, name: str) -> None:
        self._handle(self.nodes[name], OperatorStandby())

    def client_connects(self, source: Endpoint = CLIENT, destination: Endpoint = VIRTUAL) -> str:
        """A SYN; what became of it after the peer had its time to acknowledge."""
        packet_id = self.packet(syn(source, destination))
        self.run(10 * LATENCY_S)
        return self.verdict(packet_id)

    def packet(self, segment: Segment, at: str | None = None) -> int:
        """A segment reaches `at`, or the device the route points to; returns its number."""
        self._packet_id += 1
        node = self.nodes[at or self.routed_to or A]
        if node.device is None:
            return self._packet_id
        sides = node.device.traffic.table.sides
        packet, traffic = segment.emit(), node.device.traffic
        active = node.device.active
        if active and (established(sides, packet, self.now) or traffic.passes(packet, self.now)):
            node.verdicts[self._packet_id] = "passed"
        else:
            self._handle(node, PacketQueued(self._packet_id, "ext", segment))
        return self._packet_id

    def datagram(self, sent: Datagram, at: str | None = None) -> int:
        """A datagram reaches `at`, or the device the route points to; returns its number."""
        self._packet_id += 1
        node = self.nodes[at or self.routed_to or A]
        if node.device is None:
            return self._packet_id
        sides = node.device.traffic.table.sides
        if node.device.active and passes(sides, sent.emit(), self.now):
            node.verdicts[self._packet_id] = "passed"
        else:
            self._handle(node, DatagramQueued(self._packet_id, "ext", sent))
        return self._packet_id

    def verdict(self, packet_id: int) -> str:
        """passed (by the fast path), released, discarded, held, or lost with the device."""
        found = [n.verdicts[packet_id] for n in self.nodes.values() if packet_id in n.verdicts]
        return found[0] if found else "lost"

    def run(self, seconds: float) -> None:
        """Let time pass: deliveries and timers, in order."""
        end = self.now + seconds
        while (step := self._next()) is not None and step[0] <= end:
            self.now = max(self.now, step[0])
            step[1]()
        self.now = end

    @property
    def active(self) -> list[str]:
        return [name for name, node in self.nodes.items() if node.active]

    # The clock.

    def _next(self) -> tuple[float, Callable[[], None]] | None:
        steps = [self._due[0][0::2]] if self._due else []
        for node in self.nodes.values():
            if node.device is not None:
                steps.append((node.device.next_timer(), lambda node=node: self._tick(node)))
        return min(steps, key=lambda step: step[0], default=None)

    def _tick(self, node: Node) -> None:
        self._handle(node, Tick())
        due = node.device.next_timer()
        assert due > self.now, f"{node.name} asks for a tick it has just had"

    def _later(self, seconds: float, action: Callable[[], None]) -> None:
        self._count += 1
        heapq.heappush(self._due, (self.now + seconds, self._count, self._next_due(action)))

    def _next_due(self, action: Callable[[], None]) -> Callable[[], None]:
        def act() -> None:
            heapq.heappop(self._due)
            action()

        return act

    # Commands to effects, as the shell has them.

    def _handle(self, node: Node, event: Event) -> None:
        if node.device is None:
            return
        for command in node.device.handle(event, self.now):
            self._execute(node, command)

    def _execute(self, node: Node, command: Command) -> None:
        match command:
            case Note():
                node.journal.append((self.now, command))
            case Release() | Discard() | Hold():
                self._give_verdict(node, command)
            case InstallFlow() | RemoveFlow():
                self._kernel(node, command)
            case SendSegment(segment):
                node.sent.append(segment)
            case SendUnreachable(quoted):
                node.unreachable.append(quoted)
            case RequestRoutes():
                self._move_routes(node)
            case CancelRoutes():
                pass
            case SendArp(_, packet):
                assert self._restored(node), "announced before everything was restored"
                if packet.gratuitous:
                    self.neighbours[packet.sender] = packet.sender_mac
            case SetMac(interface, mac):
                node.macs[interface] = mac
            case _:
                self._to_peer(node, command)

    def _to_peer(self, node: Node, command: Command) -> None:
        match command:
            case SendHeartbeat(heartbeat):
                data = heartbeat.emit()
                self._cross(node, lambda peer: self._hear(peer, data))
            case ConnectChannel():
                self._connect(node)
            case CloseChannel():
                self._close(node)
            case SendToPeer(message):
                self._send(node, message.emit())
            case _:
                raise AssertionError(f"unexpected command: {command!r}")

    def _give_verdict(self, node: Node, command: Release | Discard | Hold) -> None:
        names = {Release: "released", Discard: "discarded", Hold: "held"}
        before = node.verdicts.get(command.packet_id)
        assert before in (None, "held"), f"a second verdict: {before}, then {command!r}"
        node.verdicts[command.packet_id] = names[type(command)]

    def _kernel(self, node: Node, command: InstallFlow | RemoveFlow) -> None:
        record = command.record
        tuples = (record.client, record.virtual), (record.member, record.snat)
        if isinstance(command, InstallFlow):
            assert not node.kernel.keys() & set(tuples), f"already in the kernel: {record}"
            node.kernel.update(dict.fromkeys(tuples, record))
            return
        for ends in tuples:
            assert node.kernel.pop(ends, None) == record, f"not in the kernel: {record}"

    def _move_routes(self, node: Node) -> None:
        """Restored before routed: the kernel already forwards all the table holds."""
        assert self._restored(node)
        self.routed_to = node.name
        self.was_split = self.was_split or self._peer(node).active

    @staticmethod
    def _restored(node: Node) -> bool:
        open_flows = {f.record for f in node.table() if f.state is not FlowState.PENDING}
        return set(node.kernel.values()) == open_flows

    # The link.

    def _peer(self, node: Node) -> Node:
        return self.b if node is self.a else self.a

    def _cross(self, node: Node, action: Callable[[Node], None]) -> None:
        """What leaves now arrives if link and peer are still there then."""
        peer = self._peer(node)
        if self.link_up:
            self._later(LATENCY_S, lambda: action(peer) if self.link_up else None)

    def _hear(self, node: Node, data: bytes) -> None:
        self._handle(node, HeartbeatHeard(Heartbeat.parse(data)))

    def _connect(self, node: Node) -> None:
        connection = node.connection = Connection(A, B)
        self._cross(node, lambda peer: self._accept(peer, connection))
        self._later(USER_TIMEOUT_S, lambda: self._give_up(node, connection))

    def _accept(self, node: Node, connection: Connection) -> None:
        if node.device is None:
            return
        if node.connection is not None:
            self._close(node)
        node.connection = connection
        self._handle(node, ChannelUp())
        self._cross(node, lambda peer: self._established(peer, connection))

    def _established(self, node: Node, connection: Connection) -> None:
        if node.connection is connection:
            self._handle(node, ChannelUp())

    def _give_up(self, node: Node, connection: Connection) -> None:
        if node.connection is connection and not node.device.channel_up:
            node.connection = None
            self._handle(node, ChannelDown("ETIMEDOUT"))

    def _send(self, node: Node, data: bytes) -> None:
        connection = node.connection
        if connection is None:
            return
        for piece in (data[: len(data) // 2], data[len(data) // 2 :]):
            self._cross(node, lambda peer, piece=piece: self._receive(peer, connection, piece))

    def _receive(self, node: Node, connection: Connection, data: bytes) -> None:
        if node.connection is not connection:
            return
        if messages := connection.decoders[node.name].feed(data):
            self._handle(node, PeerMessages(tuple(messages)))

    def _close(self, node: Node) -> None:
        connection, node.connection = node.connection, None
        if connection is not None:
            self._cross(node, lambda peer: self._closed(peer, connection, "closed by the peer"))

    def _closed(self, node: Node, connection: Connection, reason: str) -> None:
        if node.connection is connection:
            node.connection = None
            self._handle(node, ChannelDown(reason))

    def _end_later(self, connection: Connection | None) -> None:
        """Nobody answers on it any more: whoever still has it gives it up in the end."""
        if connection is None:
            return
        for node in self.nodes.values():
            self._later(
                USER_TIMEOUT_S, lambda node=node: self._closed(node, connection, "ETIMEDOUT")
            )
