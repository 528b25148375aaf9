"""Connection mirroring: what the active device sends and what the standby keeps.

Rules (fastL4)
1. fastL4 mirrors a flow's set-up and its close, nothing between (F5: "Performance Layer 4
   virtual servers copy the connection setup and connection close packets").
2. While the channel is up, a new flow's first packet waits until the standby has
   acknowledged the record (`tm.fastl4_ack_mirror`, enabled by default).
3. A new channel begins with a full resync of the flows that exist: fastL4 flows are
   re-mirrored on reconnect (ID974501) and after failback (K13478).
4. When the channel is lost nothing waits any longer: flows go on unmirrored.

Rules (standard)
1. Every segment that comes in on either connection is mirrored, and the device's own SYN.
2. `commit: async`: it reaches the device's TCP at once (F5: the standby is not waited for).
   `commit: sync`: a segment with data, SYN or FIN waits until the standby has it, so nothing
   is ever acknowledged that the standby does not hold. Bare acknowledgements never wait.
3. A channel that fails ends the mirroring of the flows it had (F5 ID480699: "any failure
   invalidates L7 mirroring"). The standby forgets them once it hears that the active device
   lives on.
4. A flow older than the channel is mirrored on with `remirror` only (`core.resync`): a BIG-IP
   re-mirrors fastL4 flows alone (K13478).

`Sender` is the active device's half, `Receiver` the standby's; neither touches a socket.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

from emulator.core.commands import Note
from emulator.core.config import MirrorLimits
from emulator.core.flow import Flow, FlowState, FlowTable
from emulator.core.persistence import Key, Persistence
from emulator.core.reassembly import LIMIT
from emulator.core.refusals import Refusals, Refused
from emulator.core.tracker import Tracker
from emulator.wire.mirror import (
    Body,
    Buffer,
    FlowAcks,
    FlowDown,
    FlowRecord,
    FlowUp,
    Hello,
    LegBytes,
    LegState,
    Message,
    Mirrored,
    ResyncEnd,
    ResyncStart,
    mirrored_header,
)
from emulator.wire.mirrorparts import PersistDown, PersistRecord, PersistUp
from emulator.wire.segment import Segment, SegmentError


@dataclass(frozen=True, slots=True)
class Lag:
    """What the peer has not acknowledged: messages, bytes, and the age of the oldest."""

    messages: int
    octets: int
    seconds: float


@dataclass(slots=True)
class _Sent:
    sequence: int
    octets: int
    at: float
    waiting: Flow | int | None


class Sender:
    """Numbers messages, remembers which are unacknowledged and which flows wait on them."""

    def __init__(self, device: str, traffic_group: str) -> None:
        self.connected = False
        self._hello = Hello(device, traffic_group, active=True)
        self._sequence = 0
        self._unacknowledged: deque[_Sent] = deque()
        self.outstanding_octets = 0

    def start(
        self, flows: Iterable[Flow], now: float, records: Iterable[PersistRecord] = ()
    ) -> list[Message]:
        """The channel is up: introduce ourselves and send every mirrored flow and record."""
        self.connected = True
        self._sequence = 0
        self._forget()
        messages = [self.send(self._hello, now), self.send(ResyncStart(), now)]
        messages += [self.send(FlowUp(flow.record), now, flow) for flow in flows]
        messages += [self.send(PersistUp(record), now) for record in records]
        return [*messages, self.send(ResyncEnd(), now)]

    def send(self, body: Body, now: float, waiting: Flow | int | None = None) -> Message:
        """Number one message; `waiting`, a flow or a packet's id, is reported by `acknowledged`
        once the peer holds it."""
        self._sequence += 1
        message = Message(self._sequence, body)
        octets = message.octets
        self._unacknowledged.append(_Sent(self._sequence, octets, now, waiting))
        self.outstanding_octets += octets
        return message

    def send_packet(self, data: Buffer, now: float, waiting: int | None) -> bytes:
        """`send(Mirrored(data))` without the objects: the message's header."""
        self._sequence += 1
        header = mirrored_header(self._sequence, data)
        octets = len(header) + len(data)
        self._unacknowledged.append(_Sent(self._sequence, octets, now, waiting))
        self.outstanding_octets += octets
        return header

    def acknowledged(self, sequence: int) -> list[Flow | int]:
        """The flows and packets the peer has come to hold; raises Refused."""
        if self.connected and sequence > self._sequence:
            what = f"the peer acknowledges message {sequence}, {self._sequence} were sent"
            raise Refused("sequence", what)
        held = []
        while self._unacknowledged and self._unacknowledged[0].sequence <= sequence:
            sent = self._unacknowledged.popleft()
            self.outstanding_octets -= sent.octets
            if sent.waiting is not None:
                held.append(sent.waiting)
        return held

    @property
    def last_sent(self) -> int:
        """The number of the last message."""
        return self._sequence

    def stop(self) -> None:
        """The channel is lost: nothing on it will be acknowledged any more."""
        self.connected = False
        self._forget()

    def _forget(self) -> None:
        self._unacknowledged.clear()
        self.outstanding_octets = 0

    def lag(self, now: float) -> Lag:
        """How far the peer is behind."""
        queue = self._unacknowledged
        oldest = now - queue[0].at if queue else 0.0
        return Lag(len(queue), self.outstanding_octets, oldest)


class Receiver:
    """Applies the active device's messages to the standby's table."""

    def __init__(
        self,
        table: FlowTable,
        traffic_group: str,
        standard: frozenset[str] = frozenset(),
        persistence: Persistence | None = None,
        limits: MirrorLimits | None = None,
        refusals: Refusals | None = None,
    ) -> None:
        """`standard`: the names of the virtual servers that mirror segments."""
        self._limits = MirrorLimits() if limits is None else limits
        self._refusals = Refusals() if refusals is None else refusals
        self._table, self._standard = table, standard
        self._persistence = Persistence(()) if persistence is None else persistence
        self._traffic_group = traffic_group
        self._stale: set[Flow] | None = None
        self._stale_records: set[Key] = set()

    def apply(self, message: Message, now: float) -> list[Note]:
        """Take one message in; raises Refused, and then nothing of it is done. Answers with what
        is to be journalled: a limit costs the flow or record it is about, not the channel."""
        match message.body:
            case Mirrored(packet):
                return self._track(packet, now)
            case Hello(_, group, active):
                self._greet(group, active)
            case LegBytes() | LegState() as part:
                flow = self._table.get(part.client, part.virtual)
                if flow is not None and flow.tracker is not None:
                    return self._keep(flow, flow.tracker.begin(part, now), now)
            case PersistUp(record):
                return self._remember(record, now)
            case PersistDown(server, client):
                self._persistence.forget(server, client)
            case FlowUp(record):
                return self._begin(record, now)
            case body:
                self._enter(body)
        return []

    def _greet(self, group: str, active: bool) -> None:
        if group != self._traffic_group:
            mine = self._traffic_group
            raise Refused("session", f"the peer mirrors {group}, this channel is {mine}")
        if not active:
            raise Refused("session", "the peer does not claim to be active")
        self._stale, self._stale_records = None, set()  # of a resync that never ended

    def _remember(self, record: PersistRecord, now: float) -> list[Note]:
        held = (record.virtual_server, record.client)
        most = self._limits.persistence_records
        if held not in self._persistence and len(self._persistence) >= most:
            what = f"the record of {record.client}: {most} are held"
            return self._refusals.add("limit-persistence", what, now)
        self._persistence.enter(record, now)
        self._stale_records.discard(held)
        return []

    def _begin(self, record: FlowRecord, now: float) -> list[Note]:
        if (record.client, record.virtual) == (record.member, record.snat):
            raise Refused("malformed", f"{record.client} -> {record.virtual}: both sides are one")
        most = self._limits.flows
        known = self._table.get(record.client, record.virtual, record.protocol)
        if known is None and len(self._table) >= most:
            what = f"{record.client} -> {record.virtual}: {most} flows are held"
            return self._refusals.add("limit-flows", what, now)
        flow = Flow(record, FlowState.OPEN, now, now, mirrored=True)
        if record.virtual_server in self._standard:
            flow.standard, flow.tracker = True, Tracker(record)
        older = self._table.add(flow)
        if self._stale is not None and older is not None:
            self._stale.discard(older)
        return []

    def _enter(self, body: Body) -> None:
        """Flows come and go. Nothing is forgotten before a resync's end: a channel that is lost
        in its middle costs nothing."""
        match body:
            case ResyncStart():
                self._stale = set(self._table.flows())
                self._stale_records = set(self._persistence.keys())
            case FlowDown(client, virtual, protocol):
                known = self._table.get(client, virtual, protocol)
                if known is not None:
                    self._table.remove(known)
            case FlowAcks(client, virtual, by_client, by_server):
                known = self._table.get(client, virtual)
                if known is not None:
                    known.client_side.ack = by_client.value.to_bytes(4, "big")
                    known.server_side.ack = by_server.value.to_bytes(4, "big")
            case ResyncEnd():
                for flow in self._stale or ():
                    self._table.remove(flow)
                for record in self._stale_records:
                    self._persistence.forget(*record)
                self._stale, self._stale_records = None, set()

    def _keep(self, flow: Flow, taken: bool, now: float) -> list[Note]:
        """What a flow's tracker was given counts; one too many is given up as a whole."""
        assert flow.tracker is not None
        self._table.account(flow)
        most = self._limits.held_octets
        if taken and self._table.held_octets <= most:
            return []
        ends, notes = f"{flow.record.client} -> {flow.record.virtual}", []
        if not taken:
            what = f"{ends}: bytes beyond the {LIMIT} that are kept each way"
            notes += self._refusals.add("limit-reassembly", what, now)
        if self._table.held_octets > most:
            flow.tracker.give_up("the standby had no room for its bytes")
            self._table.account(flow)
            what = f"{ends}: given up, {most} bytes of all flows are held"
            notes += self._refusals.add("limit-memory", what, now)
        return notes

    def _track(self, packet: bytes, now: float) -> list[Note]:
        side = self._table.sides.get(packet[12:24])  # where there are no IP options
        tracker = side.flow.tracker if side is not None and packet[:1] == b"E" else None
        if side is not None and tracker is not None:
            taken = tracker.follow(packet, from_client=side.from_client)
            if taken is not None:
                side.flow.seen = now
                return self._keep(side.flow, taken, now)
        try:
            segment = Segment.parse(packet)
        except SegmentError as error:
            raise Refused("malformed", f"a mirrored segment is malformed: {error}") from None
        flow = self._table.get(segment.source, segment.destination)
        if flow is None:  # one of the device's own
            flow = self._table.get(segment.destination, segment.source)
        if flow is not None and flow.tracker is not None:
            flow.seen = now
            return self._keep(flow, flow.tracker.take(segment, now), now)
        return []
