"""What happens to a packet that the fast path did not answer (active device).

flow known     SYN, FIN, RST or a closing flow: pass, and move the flow's state
no flow        SYN (or any segment, with loose initiation) to a virtual server: new flow
               other segments to a virtual server or self IP: reset
               "No flow found for ACK" (`tm.rejectunmatched`), or silence
               no listener at all: silence
"""

from __future__ import annotations

from collections.abc import Iterable

from emulator.core.acceleration import Accelerated
from emulator.core.addresses import NoAddress, Selector
from emulator.core.commands import (
    AbortRelay,
    Command,
    Discard,
    Hold,
    InstallFlow,
    Note,
    Release,
    RemoveFlow,
    SendSegment,
    SendToPeer,
    about,
)
from emulator.core.config import Config, VirtualServer
from emulator.core.events import DatagramQueued, FlowActivity, PacketQueued
from emulator.core.fastpath import known
from emulator.core.flow import (
    CLOSE_TIMEOUT_S,
    Flow,
    FlowState,
    FlowTable,
    Side,
    ip_octets,
    key,
    reopens,
    tally,
)  # fmt: skip
from emulator.core.idle import can_expire, resets
from emulator.core.kick import Kicks
from emulator.core.mirroring import Sender
from emulator.core.persistence import Persistence
from emulator.core.proxy import Proxy, ends
from emulator.wire.mirror import FlowAcks, FlowDown, FlowRecord, FlowUp
from emulator.wire.mirrorparts import PersistDown, PersistUp
from emulator.wire.segment import (
    ACK,
    FIN,
    PROTO_TCP,
    PROTO_UDP,
    RST,
    SYN,
    Endpoint,
    Segment,
    reset_for,
)
from emulator.wire.seqnum import SeqNum

NO_FLOW = "No flow found for ACK"
EXPIRED = "Flow expired (sweeper)"
DELETED = "deleted by the operator"


class Traffic:
    """The data plane's decisions. Owns the connection table and the packets held."""

    def __init__(self, config: Config, sender: Sender) -> None:
        self.table = FlowTable()
        self.reset_causes: dict[str, int] = {}
        self._config = config
        self._selector = Selector(config)
        self._sender = sender
        self._mirrored = {v.name: v.mirroring for v in config.virtual_servers}
        self._loose_close = frozenset(v.name for v in config.virtual_servers if v.loose_close)
        self._selves = frozenset(s.address for s in config.self_ips)
        self._own = frozenset(s.address for s in config.self_ips if not s.floating)
        self._held: dict[Flow, int] = {}
        self.persistence = Persistence(config.virtual_servers)
        self._retired: frozenset[bytes] = frozenset()  # sides of flows served until stand-by
        self.kicks = Kicks(self.table, enabled=config.takeover_kick)
        self.accelerated = Accelerated(config, self.table)
        self.proxy = Proxy(
            config, self.table, sender, self._close, self._count, self.kicks, self.accelerated
        )

    def packet(self, event: PacketQueued, now: float) -> list[Command]:
        """A segment on the active device."""
        segment = event.segment
        if not event.interface:
            return self.proxy.outgoing(event, now, active=True)
        side = self.table.sides.get(key(segment.source, segment.destination))
        if side is None:
            return self._unknown(event, now)
        if reopens(side, segment):
            closed = self._close(side.flow, "replaced by a new SYN", now)
            return [*closed, *self._unknown(event, now)]
        flow = side.flow
        tally(side, segment)
        commands = (
            self.proxy.known(event, flow, now) if flow.standard else self._known(event, side, now)
        )
        if self.kicks.under_way:
            commands += self.kicks.arrived(flow, segment, from_client=side.from_client, now=now)
        return commands

    def passes(self, packet: bytes, now: float) -> bool:
        """`packet` for those segments of which nothing comes but their release: whether this is
        one. The kick has to see all of them."""
        if self.kicks.under_way:
            return False
        return known(self.table.sides, packet, now, self.accelerated.leave, self._loose_close)

    def datagram(self, event: DatagramQueued, now: float) -> list[Command]:
        """A datagram on the active device. Any one begins a flow; a flow ends by idleness only
        (the fast path notes the rest), without a word to the ends."""
        sent = event.datagram
        side = self.table.sides.get(key(sent.source, sent.destination, PROTO_UDP))
        if side is not None:
            if side.flow.state is FlowState.PENDING:
                return [Discard(event.packet_id)]
            side.flow.seen = now
            side.packets += 1
            side.octets += 28 + sent.octets
            return [Release(event.packet_id)]
        server = self._selector.virtual_server(sent.destination, PROTO_UDP)
        if server is None or server.standard:
            return [Discard(event.packet_id)]
        try:
            record, new = self._select(server, sent.source, sent.destination, now, PROTO_UDP)
        except NoAddress:
            return [Discard(event.packet_id)]
        return [
            *new,
            *self._begin(record, event.packet_id, 28 + sent.octets, "flow-created", server, now),
        ]

    def packet_on_standby(self, event: PacketQueued, now: float) -> list[Command]:
        """A standby serves nothing of the traffic group; its self IPs are always its own. On the
        flows it served itself until now it is silent, also where they end at a self IP."""
        segment = event.segment
        if not event.interface:
            return self.proxy.outgoing(event, now, active=False)
        served = key(segment.source, segment.destination) in self._retired
        mine = segment.destination.address in self._own
        if mine and not served and not self._flow_of(segment):
            return self._reject(event)
        return [about("standby-drop", segment), Discard(event.packet_id)]

    def mirrored(self, held: Iterable[Flow | int]) -> list[Command]:
        """The peer holds these flows and segments: what waited for that may go."""
        waited: list[Flow] = []
        segments: list[Command] = []
        for one in held:
            if isinstance(one, int):
                segments += self.proxy.mirrored(one)
                continue
            one.mirrored = True
            if one in self._held:  # not deleted meanwhile
                waited.append(one)
        return [*self._open(waited), *segments]

    def unmirrored(self) -> list[Command]:
        """The channel is gone: what waited for it goes on without a copy at the peer."""
        for flow in self.table.flows():
            flow.mirrored = flow.copied = False
            flow.told = b""
        return [*self._open(list(self._held)), *self.proxy.unmirrored()]

    def take_over(self, now: float) -> list[Command]:
        """Install every flow of the table, with addresses this device can serve."""
        self._retired = frozenset()
        self.persistence.rewind(now)
        commands: list[Command] = []
        passed: list[Flow] = []
        for flow in self.table.flows():
            self.table.remove(flow)
            try:
                taken = self.table.taken_of(flow.record.protocol)
                record = self._selector.adopt(flow.record, taken)
            except NoAddress as error:
                commands.append(Note("restore-failed", {**ends(flow), "reason": str(error)}))
                continue
            if flow.standard:
                commands += self.proxy.restore(flow, record, now)
                continue
            restored = Flow(record, FlowState.OPEN, flow.created, now)
            self.table.add(restored)
            both = (flow.client_side, flow.server_side)
            for side in both if record.protocol == PROTO_TCP else ():
                ours = SeqNum(int.from_bytes(side.ack, "big")) if side.ack else None
                self.kicks.add(restored, from_client=side.from_client, ours=ours)
            passed.append(restored)
            commands += [Note("flow-restored", ends(restored)), InstallFlow(record)]
        # The kick has to see what the ends answer.
        return commands + ([] if self.kicks.enabled else self.accelerated.start(passed))

    def stand_by(self) -> list[Command]:
        """Stop serving: drop what is held, take the flows out of the kernel, keep the table."""
        self.kicks.stop()
        self._retired = frozenset(self.table.sides)
        commands = self.accelerated.stop()
        commands += [Discard(packet) for packet in self._held.values()]
        for flow in list(self._held):
            self.table.remove(flow)
        self._held.clear()
        commands += self.proxy.stand_by()
        return [*commands, *(RemoveFlow(flow.record) for flow in self.table.flows())]

    def sweep(self, now: float) -> list[Command]:
        """Expire idle flows (with a reset to both ends) and forget closed ones."""
        commands = [*self.accelerated.settle(), *self.accelerated.ask(now)]
        for flow in self.table.flows():
            idle = now - flow.seen
            if flow.state is FlowState.CLOSING and idle >= CLOSE_TIMEOUT_S:
                commands += self._close(flow, "closed", now)
            elif idle >= flow.record.idle_timeout_s and flow not in self.accelerated:
                commands += self._expire(flow, now) if can_expire(flow) else []
        for record in self.persistence.expire(now):
            gone = PersistDown(record.virtual_server, record.client)
            commands += self._tell_persistence(record.virtual_server, gone, now)
        if self.kicks.enabled and self._sender.connected:
            commands += self._tell_acks(now)
        return commands

    def activity(self, event: FlowActivity, now: float) -> list[Command]:
        """What the kernel has passed on of accelerated flows: some are idle all the same."""
        return [c for flow in self.accelerated.told(event, now) for c in self._expire(flow, now)]

    def _expire(self, flow: Flow, now: float) -> list[Command]:
        if flow.record.protocol == PROTO_TCP:  # of UDP nobody is told
            self._count(EXPIRED)
        commands = self._close(flow, EXPIRED, now)
        if flow.standard:
            return [*commands, AbortRelay(flow.record.client, flow.record.virtual)]
        return [*commands, *(SendSegment(s) for s in resets(flow))]

    def _tell_acks(self, now: float) -> list[Command]:
        """For the peer's kick, where it differs from what it was told."""
        commands: list[Command] = []
        for flow in self.mirrored_flows():
            acks = flow.client_side.ack + flow.server_side.ack
            if len(acks) == 8 and acks != flow.told:
                flow.told = acks
                numbers = (SeqNum(int.from_bytes(acks[at : at + 4], "big")) for at in (0, 4))
                body = FlowAcks(flow.record.client, flow.record.virtual, *numbers)
                commands.append(SendToPeer(self._sender.send(body, now)))
        return commands

    def reconfigure(self, config: Config) -> None:
        """An operator has changed a virtual server or a variable: for what comes from now on."""
        self._config = config
        self._selector.reconfigure(config)
        self.accelerated.reconfigure(config)
        self._mirrored = {v.name: v.mirroring for v in config.virtual_servers}

    def delete(self, flow: Flow, now: float) -> list[Command]:
        """An operator deletes a connection: forgotten here and at the peer, both ends reset."""
        waiting = self._held.pop(flow, None)
        if waiting is not None:  # not in the kernel yet
            self.table.remove(flow)
            return [Note("flow-closed", {**ends(flow), "why": DELETED}), Discard(waiting)]
        commands = self._close(flow, DELETED, now)
        if flow.standard:
            return [*commands, AbortRelay(flow.record.client, flow.record.virtual)]
        return [*commands, *(SendSegment(s) for s in resets(flow))]

    def served_as(self, record: FlowRecord) -> FlowRecord:
        """As this device would serve a mirrored flow; raises NoAddress."""
        return self._selector.adopt(record, self.table.taken_of(record.protocol))

    def has_virtual_server(self, record: FlowRecord) -> bool:
        """Whether the client's packets meet a virtual server here."""
        return self._selector.virtual_server(record.virtual, record.protocol) is not None

    def mirrored_flows(self) -> list[Flow]:
        """The flows a new channel begins with: fastL4 ones whose server has mirroring on."""
        return [
            f
            for f in self.table.flows()
            if self._mirrored.get(f.record.virtual_server) and f.asked and not f.standard
        ]

    def _unknown(self, event: PacketQueued, now: float) -> list[Command]:
        segment = event.segment
        server = self._selector.virtual_server(segment.destination)
        if server is None:
            if segment.destination.address in self._selves:
                return self._reject(event)
            return [about("no-listener", segment), Discard(event.packet_id)]
        starts = segment.flags & (SYN | ACK | RST) == SYN
        loose = server.loose_initiation and not server.standard  # a proxy needs a handshake
        if starts or (loose and not segment.flags & RST):
            return self._create(event, server, now)
        return self._reject(event)

    def _create(self, event: PacketQueued, server: VirtualServer, now: float) -> list[Command]:
        segment = event.segment
        try:
            record, new = self._select(server, segment.source, segment.destination, now)
        except NoAddress as error:
            return self._reset(event, str(error))
        if server.standard:
            return [*new, *self.proxy.create(event, server, record, now)]
        how = "flow-created" if segment.flags & SYN else "flow-picked-up"
        return [*new, *self._begin(record, event.packet_id, ip_octets(segment), how, server, now)]

    def _begin(
        self, record: FlowRecord, packet_id: int, octets: int, how: str, server: VirtualServer,
        now: float,
    ) -> list[Command]:  # fmt: skip
        """A flow that is passed through, from its first packet on."""
        flow = Flow(record, FlowState.PENDING, now, now, asked=server.mirroring)
        flow.client_side.packets, flow.client_side.octets = 1, octets
        self.table.add(flow)
        self._held[flow] = packet_id
        note = Note(how, ends(flow))
        if not (server.mirroring and self._sender.connected):
            return [note, *self._open([flow])]
        mirror = SendToPeer(self._sender.send(FlowUp(record), now, flow))
        if self._config.ack_mirror:
            return [note, mirror, Hold(packet_id)]
        return [note, mirror, *self._open([flow])]

    def _select(
        self,
        server: VirtualServer,
        client: Endpoint,
        virtual: Endpoint,
        now: float,
        protocol: int = PROTO_TCP,
    ) -> tuple[FlowRecord, list[Command]]:
        """A new flow's record, and what a new persistence record entails; raises NoAddress."""
        taken = self.table.taken_of(protocol)
        persistent, new = self.persistence.member(server, client.address, now), None
        if persistent is None and server.persistence_s and not server.forwarding:
            persistent = self._selector.balance(server)
            new = self.persistence.keep(server, client.address, persistent, now)
        record = self._selector.select(
            server, client, virtual, taken, protocol=protocol, persistent=persistent
        )
        if new is None:
            return record, []
        details = {"virtual_server": server.name, "client": str(client.address)}
        note = Note("persistence-created", {**details, "member": str(new.member)})
        return record, [note, *self._tell_persistence(server.name, PersistUp(new), now)]

    def _tell_persistence(
        self, server: str, body: PersistUp | PersistDown, now: float
    ) -> list[Command]:
        if not (self._sender.connected and self.persistence.mirrored(server)):
            return []
        return [SendToPeer(self._sender.send(body, now))]

    def _open(self, flows: list[Flow]) -> list[Command]:
        """Their first packets may go: into the kernel together, then released."""
        for flow in flows:
            flow.state = FlowState.OPEN
        installed = [InstallFlow(flow.record) for flow in flows]
        fast = self.accelerated.start(flows)
        return [*installed, *fast, *(Release(self._held.pop(flow)) for flow in flows)]

    def _known(self, event: PacketQueued, side: Side, now: float) -> list[Command]:
        flow, flags = side.flow, event.segment.flags
        if flow.state is FlowState.PENDING:  # a retransmission: the first one is on its way
            return [Discard(event.packet_id)]
        flow.seen = now
        side.ack = event.segment.ack.value.to_bytes(4, "big")
        if flags & RST:
            return [Release(event.packet_id), *self._close(flow, "reset by an end", now)]
        if flags & FIN:
            side.fin = True
            self.accelerated.leave(flow)
            both = flow.client_side.fin and flow.server_side.fin
            if both or flow.record.virtual_server in self._loose_close:
                flow.state = FlowState.CLOSING
        return [Release(event.packet_id)]

    def _close(self, flow: Flow, why: str, now: float) -> list[Command]:
        self.table.remove(flow)
        record = flow.record
        commands: list[Command] = [Note("flow-closed", {**ends(flow), "why": why})]
        commands += self.accelerated.end(flow)
        if not flow.standard:
            commands.append(RemoveFlow(record))
        asked = flow.mirrored or self._mirrored.get(record.virtual_server)
        mirrored = flow.copied or (not flow.standard and asked)
        if self._sender.connected and mirrored:
            down = FlowDown(record.client, record.virtual, record.protocol)
            commands.append(SendToPeer(self._sender.send(down, now)))
        return commands

    def _reject(self, event: PacketQueued) -> list[Command]:
        flags = event.segment.flags
        if flags & RST:  # a reset is never answered with a reset
            return [about("no-flow-drop", event.segment), Discard(event.packet_id)]
        if not self._config.reject_unmatched:
            return [about("no-flow-drop", event.segment), Discard(event.packet_id)]
        return self._reset(event, "Port denied" if flags & (SYN | ACK) == SYN else NO_FLOW)

    def _reset(self, event: PacketQueued, cause: str) -> list[Command]:
        self._count(cause)
        note = about("reset-sent", event.segment, cause=cause)
        return [note, Discard(event.packet_id), SendSegment(reset_for(event.segment))]

    def _flow_of(self, segment: Segment) -> Flow | None:
        return self.table.get(segment.source, segment.destination)

    def _count(self, cause: str) -> None:
        self.reset_causes[cause] = self.reset_causes.get(cause, 0) + 1
