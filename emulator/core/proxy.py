"""The standard virtual server: two connections of the device's own TCP (active device).

    client --SYN--> flow made, listen, release      the kernel answers SYN-ACK
    client --ACK--> accepted                        connect to the member from the SNAT address
    connected                                       bytes are relayed both ways (device.relay)
    both closed                                     CLOSING; forgotten after the close timeout
    either reset, or no server                      the other end is reset

The kernel owns sequence numbers and retransmission; here is decided which segments reach it,
where a connection leads and when it ends.
"""

from __future__ import annotations

from collections.abc import Callable

from emulator.core.commands import (
    AbortRelay,
    Command,
    ConnectServer,
    Discard,
    Listen,
    Note,
    Release,
)
from emulator.core.config import Config
from emulator.core.events import ClientAccepted, PacketQueued, RelayEnded, ServerUnreachable
from emulator.core.flow import Flow, FlowState, FlowTable
from emulator.wire.mirror import FlowRecord

REJECTED = "TCP 3WHS rejected"
NO_ANSWER = "TCP retransmit timeout"

Close = Callable[[Flow, str], list[Command]]


class Proxy:
    """Decides on the flows of standard virtual servers; the table is `core.traffic`'s."""

    def __init__(
        self, config: Config, table: FlowTable, close: Close, count: Callable[[str], None]
    ) -> None:
        self._table, self._close, self._count = table, close, count
        standard = [v for v in config.virtual_servers if v.standard]
        self.names = frozenset(v.name for v in standard)
        self._floating = frozenset(a for v in standard for a in config.floating_addresses(v))

    def create(self, event: PacketQueued, record: FlowRecord, now: float) -> list[Command]:
        """A client's SYN."""
        flow = Flow(record, FlowState.OPEN, now, now, packets=1, standard=True)
        self._table.add(flow)
        return [Note("flow-created", ends(flow)), Listen(record.virtual), Release(event.packet_id)]

    def outgoing(self, event: PacketQueued, *, active: bool) -> list[Command]:
        """A SYN, FIN or reset of the device's own TCP: what moves with the traffic group stays
        silent here once another device serves it."""
        if not active and event.segment.source.address in self._floating:
            return [Discard(event.packet_id)]
        return [Release(event.packet_id)]

    def known(self, event: PacketQueued, flow: Flow, now: float) -> list[Command]:
        """A segment of a flow: the kernel's business."""
        flow.seen = now
        flow.packets += 1
        return [Release(event.packet_id)]

    def relayed(
        self, event: ClientAccepted | ServerUnreachable | RelayEnded, now: float
    ) -> list[Command]:
        """What became of the device's own connections."""
        match event:
            case ClientAccepted():
                return self._accepted(event)
            case ServerUnreachable():
                return self._unreachable(event)
            case RelayEnded():
                return self._ended(event, now)

    def _accepted(self, event: ClientAccepted) -> list[Command]:
        """The client's handshake is complete: now the server's."""
        flow = self._table.get(event.client, event.virtual)
        if flow is None or not flow.standard:  # it expired while it waited
            return [AbortRelay(event.client, event.virtual)]
        return [ConnectServer(flow.record)]

    def _unreachable(self, event: ServerUnreachable) -> list[Command]:
        """The member does not answer, or refuses."""
        cause = NO_ANSWER if event.reason == "ETIMEDOUT" else REJECTED
        self._count(cause)
        abort = AbortRelay(event.client, event.virtual)
        flow = self._table.get(event.client, event.virtual)
        if flow is None:
            return [abort]
        note = Note("server-unreachable", {**ends(flow), "reason": event.reason, "cause": cause})
        return [note, *self._close(flow, cause), abort]

    def _ended(self, event: RelayEnded, now: float) -> list[Command]:
        """Both connections are over."""
        flow = self._table.get(event.client, event.virtual)
        if flow is None:
            return []
        if event.reset:
            return self._close(flow, event.reset)
        flow.state, flow.seen = FlowState.CLOSING, now
        return [Note("relay-closed", ends(flow))]


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
