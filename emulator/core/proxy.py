"""The standard virtual server: two connections of the device's own TCP (active device).

    client --SYN--> flow made, listen, release      the kernel answers SYN-ACK
    client --ACK--> accepted                        connect to the member from the SNAT address
    connected                                       bytes are relayed both ways (device.relay)
    both closed                                     CLOSING; forgotten after the close timeout
    either reset, or no server                      the other end is reset

The kernel owns sequence numbers and retransmission; here is decided which segments reach it
and when (`core.mirroring` has the rules), where a connection leads and when it ends.
"""

from __future__ import annotations

from collections.abc import Callable

from emulator.core.acceleration import Accelerated
from emulator.core.commands import (
    AbandonRelays,
    AbortRelay,
    Command,
    ConnectServer,
    Discard,
    Hold,
    Listen,
    Note,
    Release,
    RestoreRelay,
    SendToPeer,
)
from emulator.core.config import Commit, Config, VirtualServer
from emulator.core.events import (
    ClientAccepted,
    PacketQueued,
    RelayEnded,
    RestoreFailed,
    ServerUnreachable,
)
from emulator.core.flow import Flow, FlowState, FlowTable
from emulator.core.kick import Kicks
from emulator.core.mirroring import Sender
from emulator.core.resync import Resync
from emulator.core.tracker import NotRestorable, RelayPlan
from emulator.wire.mirror import Buffer, FlowRecord, FlowUp, Mirrored
from emulator.wire.segment import ACK, RST, SYN, Segment

REJECTED = "TCP 3WHS rejected"
NO_ANSWER = "TCP retransmit timeout"

Close = Callable[[Flow, str, float], list[Command]]


class Proxy:
    """Decides on the flows of standard virtual servers; the table is `core.traffic`'s."""

    def __init__(
        self,
        config: Config,
        table: FlowTable,
        sender: Sender,
        close: Close,
        count: Callable[[str], None],
        kicks: Kicks,
        accelerated: Accelerated,
    ) -> None:
        self._table, self._sender = table, sender
        self._close, self._count = close, count
        self._kicks, self._accelerated = kicks, accelerated
        self._held: set[int] = set()  # packets that wait until the peer has them
        standard = [v for v in config.virtual_servers if v.standard]
        self.names = frozenset(v.name for v in standard)
        self.resync = Resync(config, table, sender)
        self._sync = frozenset(v.name for v in standard if v.commit is Commit.SYNC)
        self._own = frozenset(s.address for s in config.self_ips)

    def create(
        self, event: PacketQueued, server: VirtualServer, record: FlowRecord, now: float
    ) -> list[Command]:
        """A client's SYN."""
        flow = Flow(record, FlowState.OPEN, now, now, standard=True)
        self._table.add(flow)
        commands: list[Command] = [Note("flow-created", ends(flow)), Listen(record.virtual)]
        if server.mirroring and self._sender.connected:
            flow.copied = True
            commands.append(SendToPeer(self._sender.send(FlowUp(record), now, flow)))
        return [*commands, *self.known(event, flow, now)]

    def outgoing(self, event: PacketQueued, now: float, *, active: bool) -> list[Command]:
        """A SYN, FIN or reset of the device's own TCP: what moves with the traffic group (all but
        the self IPs) stays silent here once another device serves it."""
        segment = event.segment
        if not active and segment.source.address not in self._own:
            return [Discard(event.packet_id)]
        flow = self._table.get(segment.destination, segment.source)
        if flow is not None and flow.copied and segment.flags & SYN:
            return self._mirror(event, flow, now)
        return [Release(event.packet_id)]

    def known(self, event: PacketQueued, flow: Flow, now: float) -> list[Command]:
        """A segment of a flow: the kernel's business, once the peer knows it."""
        flow.seen = now
        if flow.state is FlowState.PENDING:
            return self._go_on(event, flow, now)
        _note_edge(flow, event.segment)
        if flow.copied:
            return self._mirror(event, flow, now)
        if event.segment.flags & (SYN | ACK) == SYN | ACK:  # the member's: all is set up
            return [*self._accelerated.start([flow]), Release(event.packet_id)]
        return [Release(event.packet_id)]

    def mirrored(self, packet_id: int) -> list[Command]:
        """The peer has the segment."""
        if packet_id not in self._held:
            return []
        self._held.discard(packet_id)
        return [Release(packet_id)]

    def unmirrored(self) -> list[Command]:
        """The channel is gone: nothing waits for it any more."""
        waiting = sorted(self._held)
        self._held.clear()
        return [Release(packet_id) for packet_id in waiting]

    def stand_by(self) -> list[Command]:
        """Give the flows up to the peer; what waited never reaches our TCP."""
        commands: list[Command] = [Discard(packet_id) for packet_id in sorted(self._held)]
        self._held.clear()
        for flow in self._table.flows():
            if flow.standard:
                self._table.remove(flow)
        return [*commands, AbandonRelays()] if self.names else commands

    def restore(self, flow: Flow, record: FlowRecord, now: float) -> list[Command]:
        """Take over one mirrored flow, with the addresses of `record`."""
        failed = "it was not mirrored from its beginning"
        if flow.tracker is not None and flow.tracker.embryonic:
            waiting = Flow(record, FlowState.PENDING, flow.created, now, standard=True)
            waiting.tracker = flow.tracker
            self._table.add(waiting)
            return [Note("restore-waits", ends(waiting))]
        if flow.tracker is not None:
            try:
                plan = flow.tracker.plan(record, now)
            except NotRestorable as error:
                failed = str(error)
            else:
                restored = Flow(record, FlowState.OPEN, flow.created, now, standard=True)
                restored.client_side.edge = plan.client.rcv_nxt
                restored.server_side.edge = plan.server.rcv_nxt if plan.server else None
                self._table.add(restored)
                self._kick(restored, plan)
                details = ends(restored) | {"held_bytes": flow.tracker.held}
                commands: list[Command] = [Note("flow-restored", details)]
                if plan.server is None:
                    return [*commands, RestoreRelay(plan), ConnectServer(record)]
                return [*commands, RestoreRelay(plan)]
        return [Note("restore-failed", {**ends(flow), "reason": failed})]

    def _kick(self, flow: Flow, plan: RelayPlan) -> None:
        for leg in (plan.client, plan.server):
            if leg is not None:
                theirs = leg.rcv_nxt + (leg.fin is not None)
                self._kicks.add(
                    flow, from_client=leg is plan.client, ours=leg.snd_una, theirs=theirs
                )

    def invalidate(self) -> list[Command]:
        """The active device lives on and mirrors no more: what we hold grows old."""
        stale = [flow for flow in self._table.flows() if flow.standard]
        for flow in stale:
            self._table.remove(flow)
        return [Note("mirror-invalidated", {"flows": len(stale)})] if stale else []

    def _go_on(self, event: PacketQueued, flow: Flow, now: float) -> list[Command]:
        """Taken over before its client's handshake was known to be complete: the client's
        acknowledgement of the old device's SYN-ACK completes it here."""
        assert flow.tracker is not None
        flow.tracker.take(event.segment, now)
        if flow.tracker.embryonic:
            return [Discard(event.packet_id)]
        self._table.remove(flow)
        return [*self.restore(flow, flow.record, now), Release(event.packet_id)]

    def _mirror(self, event: PacketQueued, flow: Flow, now: float) -> list[Command]:
        """Over the channel first. A reset waits for nothing: it says nothing to keep."""
        flags = event.segment.flags
        content = event.segment.octets and not flags & RST
        if content and flow.record.virtual_server in self._sync:
            self._held.add(event.packet_id)
            message = self._sender.send(Mirrored(event.packet), now, event.packet_id)
            return [SendToPeer(message), Hold(event.packet_id)]
        message = self._sender.send(Mirrored(event.packet), now)
        return [SendToPeer(message), Release(event.packet_id)]

    def pass_on(
        self, flow: Flow, content: int, data: Buffer, packet_id: int, now: float
    ) -> tuple[bytes, bool]:
        """`_mirror` for the fast path: what goes before the packet on the
        channel, and whether it is held until the peer has it."""
        hold = content > 0 and flow.record.virtual_server in self._sync
        if hold:
            self._held.add(packet_id)
        return self._sender.send_packet(data, now, packet_id if hold else None), hold

    def relayed(
        self, event: ClientAccepted | ServerUnreachable | RelayEnded | RestoreFailed, now: float
    ) -> list[Command]:
        """What became of the device's own connections."""
        match event:
            case ClientAccepted():
                return self._accepted(event)
            case ServerUnreachable():
                return self._unreachable(event, now)
            case RelayEnded():
                return self._ended(event, now)
            case RestoreFailed(client, virtual, reason):
                flow = self._table.get(client, virtual)
                if flow is None:
                    return []
                self._table.remove(flow)
                return [Note("restore-failed", {**ends(flow), "reason": reason})]

    def _accepted(self, event: ClientAccepted) -> list[Command]:
        """The client's handshake is complete: now the server's."""
        flow = self._table.get(event.client, event.virtual)
        if flow is None or not flow.standard:  # it expired while it waited
            return [AbortRelay(event.client, event.virtual)]
        return [ConnectServer(flow.record)]

    def _unreachable(self, event: ServerUnreachable, now: float) -> list[Command]:
        """The member does not answer, or refuses."""
        cause = NO_ANSWER if event.reason == "ETIMEDOUT" else REJECTED
        self._count(cause)
        abort = AbortRelay(event.client, event.virtual)
        flow = self._table.get(event.client, event.virtual)
        if flow is None:
            return [abort]
        note = Note("server-unreachable", {**ends(flow), "reason": event.reason, "cause": cause})
        return [note, *self._close(flow, cause, now), abort]

    def _ended(self, event: RelayEnded, now: float) -> list[Command]:
        """Both connections are over."""
        flow = self._table.get(event.client, event.virtual)
        if flow is None:
            return []
        if event.reset:
            return self._close(flow, event.reset, now)
        flow.state, flow.seen = FlowState.CLOSING, now
        return [Note("relay-closed", ends(flow))]


def _note_edge(flow: Flow, segment: Segment) -> None:
    """How far the end's segments have come, for `core.resync`."""
    side = flow.client_side if segment.source == flow.record.client else flow.server_side
    end = segment.end
    if not segment.flags & RST and (side.edge is None or side.edge.precedes(end)):
        side.edge = end


def ends(flow: Flow) -> dict[str, object]:
    """A flow as the journal names it."""
    record = flow.record
    return {
        "virtual_server": record.virtual_server,
        "client": str(record.client),
        "virtual": str(record.virtual),
        "snat": str(record.snat),
        "member": str(record.member),
    }
