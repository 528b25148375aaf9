"""A pair of devices, conversations through it, and bad weather: thousands of schedules.

`tests.support.pair` with the kernel's part of a standard virtual server (`Relay`), ends that
check every byte (`tests.support.tcpends`), a cloud API that may be out, and a network between
the devices that loses, repeats and reorders heartbeats, and stops carrying the mirroring
channel one way or both.

Invariants, asserted on the way or by `settle`:

    an end never hears a byte that was not said, in its place
    sync: what is let in on the standby's word is held by the standby
    restored before routed
    no packet is held for ever
    the weather being fine: one active device, SETTLE_S later, the other one in sync with it
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address

from emulator.core.commands import (
    AbandonRelays,
    AbortRelay,
    CancelRoutes,
    Command,
    ConnectServer,
    Discard,
    Hold,
    Listen,
    Release,
    RequestRoutes,
    RestoreRelay,
    SendHeartbeat,
    SendSegment,
    SnapshotRelay,
)
from emulator.core.config import Commit, ServerType, Snat
from emulator.core.device import Device
from emulator.core.events import (
    ChannelDown,
    ClientAccepted,
    LegSnapshot,
    OperatorStandby,
    PacketQueued,
    PeerMessages,
    RelayEnded,
    RelaySnapshot,
)
from emulator.core.flow import FlowState
from emulator.core.tracker import LegPlan, RelayPlan
from emulator.wire.mirror import MirrorError
from emulator.wire.segment import ACK, FIN, RST, SYN, Endpoint, Segment
from emulator.wire.seqnum import SeqNum
from tests.support.pair import LATENCY_S, SSH, USER_TIMEOUT_S, A, B, Connection, Node, Pair, client
from tests.support.segments import MEMBER, VIRTUAL
from tests.support.tcpends import RTO_S, Socket, stream

KEEPALIVE_S = 5.0
SETTLE_S = 8.0
POOL = IPv4Address("10.88.0.10")
Key = tuple[Endpoint, Endpoint]


@dataclass(eq=False)
class Relay:
    """A proxied connection in one node's kernel, and the bytes relayed between its two."""

    client: Socket
    server: Socket | None = None
    early: bytes = b""

    def sockets(self) -> list[Socket]:
        return [self.client] if self.server is None else [self.client, self.server]


class StormNode(Node):
    """A node with relays in its kernel."""

    def start(self, device: Device | None) -> None:
        super().start(device)
        self.relays: dict[Key, Relay] = {}
        self.listening = False
        self.queued: dict[int, tuple[Segment, bool]] = {}  # by packet: and whether outgoing
        self.events: deque = deque()
        self.due: float | None = None  # the device's next timer, as long as that is known


@dataclass(eq=False)
class Conversation:
    """A client, and the server's end of it once there is one."""

    number: int
    octets: int  # each way
    client: Socket
    server: Socket | None = None
    done: bool = False


@dataclass
class Weather:
    """The network between the devices, and the cloud."""

    beat_loss: float = 0.0
    beat_repeat: float = 0.0
    beat_delay_s: float = 0.0  # at most; larger ones overtake
    lost: set[str] = field(default_factory=set)  # whose channel bytes are
    corrupt: float = 0.0  # share of the pieces of the channel with an altered byte
    channel_s: float = 0.0  # bytes of the channel wait so long at their sender
    api_out: bool = False


class Storm(Pair):
    """`commit` None: fastL4."""

    def __init__(self, commit: Commit | None = Commit.SYNC, seed: int = 0) -> None:
        kind = ServerType.FASTL4 if commit is None else ServerType.STANDARD
        served = replace(
            SSH, type=kind, snat=Snat.POOL, snat_pool=(POOL,),
            commit=commit or Commit.ASYNC, remirror=commit is Commit.SYNC,
        )  # fmt: skip
        super().__init__(served)
        self.commit, self.standard = commit, commit is not None
        self.dice = random.Random(seed)
        self.nodes = {name: StormNode(name) for name in (A, B)}
        self.a, self.b = self.nodes[A], self.nodes[B]
        self.weather = Weather()
        self.talks: dict[Endpoint, Conversation] = {}
        self.wanting: set[str] = set()  # devices whose failover extension still asks
        self.resets = self.completed = 0
        self.promised = False
        self._stuck: dict[tuple[Connection, str], list[bytes]] = {}
        self._last: dict[tuple[Connection, str], float] = {}
        self._handling: object = None

    def _next(self) -> tuple[float, Callable[[], None]] | None:
        """As the pair's, asking a device for its timer only after it has handled something."""
        best = self._due[0][0::2] if self._due else None
        for node in self.nodes.values():
            if node.device is not None:
                if node.due is None:
                    node.due = node.device.next_timer()
                if best is None or node.due < best[0]:
                    best = (node.due, lambda node=node: self._tick(node))
        return best

    def later(self, seconds: float, action: Callable[[], None]) -> None:
        self._later(seconds, action)

    # Weather.

    def crash(self, name: str) -> None:
        if self.nodes[name].device is not None:
            self.power_off(name)
            self.wanting.discard(name)

    def restart(self, name: str) -> None:
        if self.nodes[name].device is None:
            self.power_on(name)

    def stand_by(self, name: str) -> None:
        if self.nodes[name].device is not None:
            self._handle(self.nodes[name], OperatorStandby())

    def lose(self, *senders: str) -> None:
        """From now on nothing of the channel that these send arrives."""
        self.weather.lost = set(senders)
        connection = self.a.connection or self.b.connection
        if connection is None or not senders:
            return
        for node in self.nodes.values():
            self._later(KEEPALIVE_S, lambda n=node: self._times_out(n, connection))

    def mend(self) -> None:
        """What TCP still holds arrives now."""
        self.weather.lost = set()
        for (connection, name), pieces in list(self._stuck.items()):
            node = self.nodes[name]
            if node.connection is connection:
                for piece in pieces:
                    self._cross(node, lambda p, d=piece, c=connection: self._receive(p, c, d))
        self._stuck.clear()

    def fine(self) -> None:
        """All that can be mended is."""
        self.weather.api_out = False
        self.mend()
        self.weather = Weather()
        for name in (A, B):
            self.restart(name)
        self._ask_again()

    def _times_out(self, node: Node, connection: Connection) -> None:
        if node.connection is connection and self.weather.lost:
            self._drop(node, connection)

    def _drop(self, node: Node, connection: Connection) -> None:
        node.connection = None
        self._stuck.pop((connection, node.name), None)
        if node.name not in self.weather.lost:
            self._cross(node, lambda peer: self._closed(peer, connection, "ECONNRESET"))
        self._later(0.0, lambda: self._handle(node, ChannelDown("ETIMEDOUT")))

    def _connect(self, node: Node) -> None:
        if not self.weather.lost:
            super()._connect(node)
            return
        connection = node.connection = Connection(A, B)
        self._later(USER_TIMEOUT_S, lambda: self._give_up(node, connection))

    def _send(self, node: Node, data: bytes) -> None:
        connection = node.connection
        if connection is None:
            return
        waiting = self._stuck.get((connection, node.name))
        if node.name in self.weather.lost or waiting is not None:
            self._stuck.setdefault((connection, node.name), []).append(data)
        elif (due := self._leaves(node, connection)) > self.now:
            self._send_later(node, connection, data, due - self.now)
        else:
            super()._send(node, data)
        if self.weather.lost:  # unacknowledged, whichever way is shut
            self._later(USER_TIMEOUT_S, lambda: self._times_out(node, connection))

    def _receive(self, node: Node, connection: Connection, data: bytes) -> None:
        """As the shell does: what cannot be decoded ends the channel."""
        if data and self.dice.random() < self.weather.corrupt:
            altered = bytearray(data)
            altered[self.dice.randrange(len(data))] ^= self.dice.randrange(1, 256)
            data = bytes(altered)
        try:
            super()._receive(node, connection, data)
        except MirrorError as error:
            self._close(node)
            self._handle(node, ChannelDown(f"malformed: {error}"))

    def _leaves(self, node: Node, connection: Connection) -> float:
        """When what is sent now leaves: in order, also when the channel becomes faster."""
        due = max(self.now + self.weather.channel_s, self._last.get((connection, node.name), 0.0))
        self._last[connection, node.name] = due
        return due

    def _send_later(self, node: Node, connection: Connection, data: bytes, seconds: float) -> None:
        """What waits at a device that dies is never sent."""
        device = node.device

        def send() -> None:
            if node.device is device and node.connection is connection:
                self._cross(node, lambda peer: self._receive(peer, connection, data))

        self._later(seconds, send)

    def _execute(self, node: StormNode, command: Command) -> None:
        match command:
            case SendHeartbeat(heartbeat):
                self._beat(node, heartbeat.emit())
            case RequestRoutes():
                self._check_restored(node)
                self.wanting.add(node.name)
                self._later(self.dice.uniform(0.05, 0.6), self._ask_again)
            case CancelRoutes():
                self.wanting.discard(node.name)
            case SendSegment(segment):
                self._deliver(segment)
            case Listen() | ConnectServer() | AbortRelay() | RestoreRelay() | AbandonRelays():
                self._in_kernel(node, command)
            case SnapshotRelay(of, virtual):
                snapshot = self._snapshot(node, (of, virtual))
                if snapshot is not None:
                    self._handle(node, snapshot)
            case _:
                super()._execute(node, command)

    def _handle(self, node: StormNode, event: object) -> None:
        """Events that effects gave rise to come after all commands, as in the shell."""
        node.due = None
        before, self._handling = self._handling, event
        super()._handle(node, event)
        self._handling = before
        while before is None and node.events and node.device is not None:
            self._handle(node, node.events.popleft())

    def _beat(self, node: Node, data: bytes) -> None:
        weather, peer = self.weather, self._peer(node)
        for _ in range(1 + (self.dice.random() < weather.beat_repeat)):
            if self.dice.random() >= weather.beat_loss:
                late = self.dice.uniform(0.0, weather.beat_delay_s)
                self._later(LATENCY_S + late, lambda: self._hear(peer, data))

    def _hear(self, node: Node, data: bytes) -> None:
        if node.device is not None:
            super()._hear(node, data)

    def _ask_again(self) -> None:
        """The failover extensions whose calls the cloud takes now."""
        if self.weather.api_out:
            if self.wanting:
                self._later(1.0, self._ask_again)
            return
        for name in sorted(self.wanting):
            self._move_routes(self.nodes[name])
        self.wanting.clear()

    def _move_routes(self, node: StormNode) -> None:
        if node.device is None:
            return
        self.routed_to = node.name

    def _check_restored(self, node: StormNode) -> None:
        """Restored before routed: at a takeover what the table calls open is in the kernel."""
        if not self.standard:
            assert self._restored(node), "routes are asked for before all is restored"
        elif node.device.failover.since == self.now:
            lacking = [
                f.record for f in node.table()
                if f.state is FlowState.OPEN
                and (f.record.client, f.record.virtual) not in node.relays
            ]  # fmt: skip
            assert not lacking, f"routes are asked for before {lacking[0]} is restored"

    # Conversations.

    def talk(self, octets: int) -> Endpoint:
        """A client connects and will say so many bytes; so will the server."""
        number = len(self.talks)
        source = client(number)
        end = Socket(source, VIRTUAL, SeqNum(self.dice.getrandbits(32)), self._to_device)
        self.talks[source] = Conversation(number, octets, end)
        self._timer(source)
        return source

    def _timer(self, source: Endpoint) -> None:
        """Both ends say a little more, or again what is unacknowledged."""
        talk = self.talks[source]
        if talk.done:
            return
        self._say(talk, talk.client, from_client=True)
        if talk.server is not None:
            self._say(talk, talk.server, from_client=False)
        self._later(self.dice.uniform(0.5, 1.0) * RTO_S, lambda: self._timer(source))

    def _say(self, talk: Conversation, end: Socket, *, from_client: bool) -> None:
        if end.established and not end.said and not end.ended:
            left = talk.octets - end.end
            more = min(left, self.dice.choice((1, 100, 1200, 3000)))
            end.said += stream(talk.number, from_client=from_client, at=end.end, count=more)
            end.ended = end.end == talk.octets and (from_client or end.heard_fin)
        elif not from_client and end.heard_fin and end.end == talk.octets:
            end.ended = True
        end.transmit()

    def _to_device(self, segment: Segment) -> None:
        """From an end, to whichever device the routes lead to by then."""
        self._later(LATENCY_S, lambda: self._arrive(segment))

    def _arrive(self, segment: Segment) -> None:
        node = self.nodes[self.routed_to or A]
        if node.device is not None:
            self._queue(node, segment, outgoing=False)

    def _queue(self, node: StormNode, segment: Segment, *, outgoing: bool) -> None:
        self._packet_id += 1
        node.queued[self._packet_id] = (segment, outgoing)
        interface = "" if outgoing else "ext" if segment.source != MEMBER else "int"
        event = PacketQueued(self._packet_id, interface, segment, segment.emit())
        if self._handling is None:
            self._handle(node, event)
        else:
            node.events.append(event)

    def _give_verdict(self, node: StormNode, command: Release | Discard | Hold) -> None:
        super()._give_verdict(node, command)
        if isinstance(command, Hold):
            return
        segment, outgoing = node.queued.pop(command.packet_id)
        if isinstance(command, Release):
            self._check_held(node, segment, outgoing=outgoing)
            if outgoing:
                self._deliver(segment)
            elif self.standard:
                self._let_in(node, segment)
            else:
                self._forward(node, segment)

    def _check_held(self, node: StormNode, segment: Segment, *, outgoing: bool) -> None:
        """Sync: a segment that was held is released on the standby's word; it has it."""
        peer = self._peer(node)
        if self.commit is not Commit.SYNC or not isinstance(self._handling, PeerMessages):
            return
        if outgoing or not segment.payload or node.connection is None:
            return
        if peer.device is None or peer.connection is not node.connection:
            return  # it died, or dropped it, after its word
        flow = peer.device.traffic.table.get(segment.source, segment.destination)
        if flow is None or flow.tracker is None:
            return  # closed meanwhile, by the messages behind
        leg = flow.tracker.client if segment.source == flow.record.client else flow.tracker.server
        assert leg.irs is not None, f"let in, and the standby knows no beginning: {segment}"
        end = segment.seq.octets_from(leg.irs + 1) + len(segment.payload)
        assert leg.received.end >= end, f"let in, and not held by the standby: {segment}"

    def _forward(self, node: StormNode, segment: Segment) -> None:
        """fastL4: translated as the kernel has it."""
        record = node.kernel.get((segment.source, segment.destination))
        if record is None:
            return
        toward_member = segment.source == record.client
        ends = (record.snat, record.member) if toward_member else (record.virtual, record.client)
        self._deliver(replace(segment, source=ends[0], destination=ends[1]))

    def _deliver(self, segment: Segment) -> None:
        """From a device to an end."""
        self._later(LATENCY_S, lambda: self._reach(segment))

    def _reach(self, segment: Segment) -> None:
        if segment.destination == MEMBER:
            talk = self._talk_of(segment.source)
            if talk is None:
                return
            anew = segment.flags & SYN and (talk.server is None or talk.server.irs != segment.seq)
            if anew and talk.server is not None and (talk.server.heard or talk.server.base):
                talk.server.closed = "opened anew"  # by a device that had forgotten it
            if talk.server is None or anew:
                if not segment.flags & SYN:
                    return
                iss = SeqNum(self.dice.getrandbits(32))
                talk.server = Socket(MEMBER, segment.source, iss, self._to_device)
            self._hears(talk, talk.server, segment, from_client=True)
        elif (talk := self.talks.get(segment.destination)) is not None:
            self._hears(talk, talk.client, segment, from_client=False)

    def _talk_of(self, snat: Endpoint) -> Conversation | None:
        """The pool keeps the client's port."""
        return next((t for s, t in self.talks.items() if s.port == snat.port), None)

    def _hears(
        self, talk: Conversation, end: Socket, segment: Segment, *, from_client: bool
    ) -> None:
        if talk.done:
            return
        at = end.heard
        fresh, answer = end.take(segment)
        said = stream(talk.number, from_client=from_client, at=at, count=len(fresh))
        assert fresh == said, f"{end.local} hears wrong bytes at {at}: {segment}"
        assert end.heard <= talk.octets, f"{end.local} hears more than was said"
        if end.heard_fin:
            assert end.heard == talk.octets, f"{end.local}: the stream ends at {end.heard}"
        if end.closed:
            talk.done = True
            self.resets += 1
        if answer and end.irs is not None and end.established:
            end.send(end.segment(ACK, end.end + (end.ended and end.fin_acknowledged)))
        ends = (talk.client, talk.server)
        if all(one is not None and one.over for one in ends):
            talk.done = True
            self.completed += 1

    # The kernel's part of a standard virtual server.

    def _in_kernel(self, node: StormNode, command: Command) -> None:
        match command:
            case Listen():
                node.listening = True
            case ConnectServer(record):
                relay = node.relays.get((record.client, record.virtual))
                if relay is not None and relay.server is None:
                    send = self._sender(node)
                    iss = SeqNum(self.dice.getrandbits(32))
                    relay.server = Socket(record.snat, record.member, iss, send)
                    relay.server.said += relay.early
                    relay.server.ended = relay.client.heard_fin
                    relay.server.transmit()
                    self._kernel_timer(node, relay)
            case AbortRelay(of, virtual):
                relay = node.relays.pop((of, virtual), None)
                for socket in relay.sockets() if relay else ():
                    self._queue(node, socket.segment(RST, socket.end), outgoing=True)
            case AbandonRelays():
                node.relays.clear()
                node.listening = False
            case RestoreRelay(plan):
                self._restore(node, plan)

    def _sender(self, node: StormNode) -> Callable[[Segment], None]:
        device = node.device

        def send(segment: Segment) -> None:
            if node.device is not device:
                return
            if segment.flags & (SYN | FIN | RST):
                self._queue(node, segment, outgoing=True)
            else:
                self._deliver(segment)

        return send

    def _kernel_timer(self, node: StormNode, relay: Relay) -> None:
        """Retransmission; ends with the relay."""
        device = node.device

        def again() -> None:
            if node.device is device and relay in node.relays.values():
                for socket in relay.sockets():
                    socket.transmit()
                self._later(RTO_S, again)

        self._later(RTO_S, again)

    def _let_in(self, node: StormNode, segment: Segment) -> None:
        """A segment the device has released to its own TCP."""
        found = self._socket_of(node, segment)
        if found is None:
            self._unowned(node, segment)
            return
        relay, socket = found
        fresh, answer = socket.take(segment)
        if socket.closed:
            self._broke(node, relay, socket)
            return
        other = relay.server if socket is relay.client else relay.client
        if other is None:
            relay.early += fresh
        else:
            other.said += fresh
            other.ended |= socket.heard_fin
        if socket is relay.client and socket.established and relay.server is None:
            node.events.append(ClientAccepted(socket.remote, socket.local))
        if answer and socket.established:
            socket.send(socket.segment(ACK, socket.end + socket.fin_acknowledged))
        if other is not None and other.established and (fresh or socket.heard_fin):
            other.transmit()
        if all(s.over for s in relay.sockets()) and len(relay.sockets()) == 2:
            node.relays.pop((relay.client.remote, relay.client.local), None)
            node.events.append(RelayEnded(relay.client.remote, relay.client.local))

    def _broke(self, node: StormNode, relay: Relay, socket: Socket) -> None:
        key = (relay.client.remote, relay.client.local)
        node.relays.pop(key, None)
        for other in relay.sockets():
            if other is not socket:
                self._queue(node, other.segment(RST, other.end), outgoing=True)
        node.events.append(RelayEnded(*key, "reset"))

    def _socket_of(self, node: StormNode, segment: Segment) -> tuple[Relay, Socket] | None:
        for relay in node.relays.values():
            for socket in relay.sockets():
                if (socket.remote, socket.local) == (segment.source, segment.destination):
                    return relay, socket
        return None

    def _unowned(self, node: StormNode, segment: Segment) -> None:
        opens = segment.flags & (SYN | ACK) == SYN and segment.destination == VIRTUAL
        if opens and node.listening:
            iss = SeqNum(self.dice.getrandbits(32))
            socket = Socket(VIRTUAL, segment.source, iss, self._sender(node))
            socket.take(segment)
            relay = node.relays[segment.source, VIRTUAL] = Relay(socket)
            socket.transmit()
            self._kernel_timer(node, relay)
        elif not segment.flags & RST:
            answer = Segment(segment.destination, segment.source, segment.ack, SeqNum(0), RST, 0)
            self._queue(node, answer, outgoing=True)

    def _restore(self, node: StormNode, plan: RelayPlan) -> None:
        send = self._sender(node)
        sockets = [_restored(leg, send) for leg in (plan.client, plan.server) if leg is not None]
        relay = Relay(sockets[0], sockets[1] if len(sockets) > 1 else None, plan.early)
        for socket, leg in zip(sockets, (plan.client, plan.server), strict=False):
            assert leg is not None
            if leg.fin is not None:
                socket.take(leg.fin)
        if relay.server is not None:
            relay.client.ended |= relay.server.heard_fin
            relay.server.ended |= relay.client.heard_fin
        node.relays[plan.record.client, plan.record.virtual] = relay
        node.listening = node.listening or False
        self._kernel_timer(node, relay)

    def _snapshot(self, node: StormNode, key: Key) -> RelaySnapshot | None:
        relay = node.relays.get(key)
        if relay is None or relay.server is None or (relay.early and not relay.server.established):
            return None
        if not all(s.established for s in relay.sockets()):
            return None
        return RelaySnapshot(*key, *(_leg(socket) for socket in relay.sockets()))

    # The end.

    def settle(self) -> None:
        """The weather is fine from now on; asserts what must hold then."""
        self.fine()
        for talk in self.talks.values():  # what goes on would never let the tables be equal
            talk.octets = max(talk.client.end, talk.server.end if talk.server else 0, talk.octets)
        self.run(SETTLE_S)
        assert len(self.active) == 1, f"active: {self.active}"
        for talk in self.talks.values():
            talk.done = True  # quiet
        self.run(7.0)  # closed flows are forgotten after 5 s
        assert len(self.active) == 1, f"active: {self.active}"
        active = self.nodes[self.active[0]]
        standby = self._peer(active)
        assert self.routed_to == active.name, f"{active.name} is active, routes: {self.routed_to}"
        assert active.device.channel_up, "no channel at the active device"
        assert standby.device.channel_up, "no channel at the standby"
        held = [p for n in (active, standby) for p, v in n.verdicts.items() if v == "held"]
        assert not held, f"held for ever: {held}"
        self._in_sync(active, standby)

    def _in_sync(self, active: Node, standby: Node) -> None:
        there = {f.record for f in active.table() if f.state is FlowState.OPEN}
        if self.commit is Commit.ASYNC:
            there = {f.record for f in active.table() if f.copied}
        # Bytes that were acknowledged are lost: what its end says now lies beyond a gap for good.
        dead = {details["client"] for _, details in active.notes("resync-deferred")}
        missing = {r for r in there - standby.flows if str(r.client) not in dead}
        assert not missing, f"the standby lacks {missing}"
        stale = standby.flows - active.flows
        assert not stale, f"the standby holds what is gone: {stale}"


def _restored(leg: LegPlan, send: Callable[[Segment], None]) -> Socket:
    """Places count from where the restored connection begins."""
    socket = Socket(leg.local, leg.remote, leg.snd_una + -1, send)
    socket.irs, socket.established = leg.rcv_nxt + -1, True
    socket.said += leg.sent + leg.unsent
    return socket


def _leg(socket: Socket) -> LegSnapshot:
    assert socket.irs is not None
    return LegSnapshot(
        rcv_nxt=socket.irs + (1 + socket.heard + socket.heard_fin),
        snd_una=socket.iss + (1 + socket.base + socket.fin_acknowledged),
        unacknowledged=bytes(socket.said), unread=b"", snd_wnd=0xFFFF, mss_clamp=536,
        snd_wscale=None, rcv_wscale=None, sack=False, timestamp=None,
        fin_received=socket.heard_fin, fin_acknowledged=socket.fin_acknowledged,
    )  # fmt: skip
