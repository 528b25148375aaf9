"""Standard flows older than the mirroring channel: mirrored on from where they stand.

A BIG-IP does not (K13478: "Only FastL4 and SNAT connections are re-mirrored after
failback"), so a proxied connection survives one failover and not the next. With `remirror`
the active device reads both connections of such a flow out of its kernel and sends what a
standby that had followed them from the beginning would hold:

    client's received   [ server leg's send queue | relay's buffer | client leg's unread ]
    and the same the other way round; sequence numbers moved up to where these begin

Rules
1. The snapshot is one step for the device: no packet is let in between its parts and the
   first segment mirrored after it.
2. A connection whose kernel holds bytes beyond a gap cannot be read whole (they are
   acknowledged once the gap closes, and nobody would send them again). It waits: `edge`,
   the highest sequence number let in, tells.
3. The next snapshot goes on the channel once the peer has most of the last one.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from emulator.core.commands import Command, Note, SendToPeer, SnapshotRelay
from emulator.core.config import Config
from emulator.core.events import LegSnapshot, RelaySnapshot
from emulator.core.flow import Flow, FlowState, FlowTable
from emulator.core.mirroring import Sender
from emulator.core.reassembly import LIMIT
from emulator.wire.mirror import MAX_LEG_BYTES, Body, FlowUp, LegBytes, LegState
from emulator.wire.segment import Endpoint

_ON_THE_WAY = 1 << 20  # not acknowledged yet: enough to keep the channel busy
_AT_ONCE = 32  # snapshots in one go: a few milliseconds in which no packet is decided


class Resync:
    """The active device's half; the standby's is `core.tracker`."""

    def __init__(self, config: Config, table: FlowTable, sender: Sender) -> None:
        self._table, self._sender = table, sender
        self._names = {v.name for v in config.virtual_servers if v.remirrors}
        self._waiting: deque[Flow] = deque()
        self._deferred: set[Flow] = set()  # journalled once

    def start(self) -> list[Command]:
        """The channel is up, or it is time to look again."""
        self._waiting = deque(f for f in self._table.flows() if self._wanted(f))
        return self.go_on()

    def go_on(self) -> list[Command]:
        """As many as the channel takes now."""
        commands: list[Command] = []
        while self._waiting and len(commands) < _AT_ONCE:
            if not self._sender.connected or self._sender.outstanding_octets > _ON_THE_WAY:
                break
            flow = self._waiting.popleft()
            if self._wanted(flow) and self._table.get(*_key(flow)) is flow:
                commands.append(SnapshotRelay(*_key(flow)))
        return commands

    def snapshot(self, event: RelaySnapshot, now: float) -> list[Command]:
        """Both connections as the kernel has them."""
        flow = self._table.get(event.client, event.virtual)
        if flow is None or not self._wanted(flow) or not self._sender.connected:
            return []
        why = _unready(flow, event)
        if why:
            if flow in self._deferred:
                return []
            self._deferred.add(flow)
            return [Note("resync-deferred", {"client": str(event.client), "reason": why})]
        self._deferred.discard(flow)
        flow.copied = True
        parts = list(_parts(flow, event))
        last = len(parts) - 1
        messages = [
            self._sender.send(part, now, flow if at == last else None)
            for at, part in enumerate(parts)
        ]
        octets = sum(message.octets for message in messages)
        note = Note("flow-remirrored", {"client": str(event.client), "bytes": octets})
        return [note, *(SendToPeer(message) for message in messages)]

    def _wanted(self, flow: Flow) -> bool:
        mirrored = flow.record.virtual_server in self._names and not flow.copied
        return flow.standard and mirrored and flow.state is FlowState.OPEN


def _key(flow: Flow) -> tuple[Endpoint, Endpoint]:
    return flow.record.client, flow.record.virtual


def _unready(flow: Flow, event: RelaySnapshot) -> str:
    """Why the snapshot cannot be used, or nothing."""
    for side, leg in ((flow.client_side, event.client_leg), (flow.server_side, event.server_leg)):
        if side.edge is not None and leg.rcv_nxt.precedes(side.edge):
            return f"{side.edge.octets_from(leg.rcv_nxt)} bytes lie beyond a gap"
    octets = max(len(stream) for stream in _streams(event))
    return f"{octets} bytes are queued one way" if octets > LIMIT else ""


def _streams(event: RelaySnapshot) -> tuple[bytes, bytes]:
    """What each connection has received that the other's peer has not acknowledged."""
    client, server = event.client_leg, event.server_leg
    return (
        server.unacknowledged + server.pending + client.unread,
        client.unacknowledged + client.pending + server.unread,
    )


def _parts(flow: Flow, event: RelaySnapshot) -> Iterator[Body]:
    yield FlowUp(flow.record)
    legs = (event.client_leg, event.server_leg)
    for server_side, stream in zip((False, True), _streams(event), strict=True):
        leg = legs[server_side]
        for at in range(0, len(stream), MAX_LEG_BYTES):
            piece = stream[at : at + MAX_LEG_BYTES]
            yield LegBytes(event.client, event.virtual, server_side, piece)
        yield _state(event, leg, len(stream), server_side=server_side)


def _state(event: RelaySnapshot, leg: LegSnapshot, held: int, *, server_side: bool) -> LegState:
    """The numbers moved up; an acknowledged FIN of ours is one more that lies behind."""
    return LegState(
        event.client, event.virtual, server_side,
        irs=leg.rcv_nxt + -(1 + held + leg.fin_received),
        iss=leg.snd_una + -(1 + leg.fin_acknowledged),
        snd_una=leg.snd_una,
        window_edge=leg.snd_una + leg.snd_wnd,
        mss=leg.mss_clamp,
        snd_wscale=leg.snd_wscale,
        rcv_wscale=leg.rcv_wscale,
        sack=leg.sack,
        timestamp=leg.timestamp,
        fin=leg.fin_received,
    )  # fmt: skip
