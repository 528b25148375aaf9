"""What can happen to a device. `now` travels beside an event, never inside it."""

from __future__ import annotations

from dataclasses import dataclass

from emulator.wire.arp import Arp
from emulator.wire.datagram import Datagram
from emulator.wire.heartbeat import Heartbeat
from emulator.wire.mirror import Message
from emulator.wire.segment import Endpoint, Segment
from emulator.wire.seqnum import SeqNum


@dataclass(frozen=True, slots=True)
class PacketQueued:
    """A TCP segment the fast path did not answer waits for a verdict.

    `interface` is empty for one of the device's own TCP, on its way out. `packet`: all of
    it, where the queue copies whole packets.
    """

    packet_id: int
    interface: str
    segment: Segment
    packet: bytes = b""


@dataclass(frozen=True, slots=True)
class DatagramQueued:
    """A UDP datagram the fast path did not answer waits for a verdict."""

    packet_id: int
    interface: str
    datagram: Datagram


@dataclass(frozen=True, slots=True)
class FlowActivity:
    """What passed without being queued since the last time, by direction: table key, packets,
    bytes."""

    sides: tuple[tuple[bytes, int, int], ...]


@dataclass(frozen=True, slots=True)
class ClientAccepted:
    """Standard: a client's handshake is complete, its connection accepted."""

    client: Endpoint
    virtual: Endpoint


@dataclass(frozen=True, slots=True)
class ServerUnreachable:
    """Standard: the server-side connection did not come about."""

    client: Endpoint
    virtual: Endpoint
    reason: str


@dataclass(frozen=True, slots=True)
class RelayEnded:
    """Standard: both connections are closed (`reset` empty), or one failed and the other
    was reset for it; then `reset` says which and how."""

    client: Endpoint
    virtual: Endpoint
    reset: str = ""


@dataclass(frozen=True, slots=True)
class RestoreFailed:
    """Standard: the kernel would not restore a mirrored flow's connections."""

    client: Endpoint
    virtual: Endpoint
    reason: str


@dataclass(frozen=True, slots=True)
class LegSnapshot:
    """One live connection as the kernel and the relay have it.

    `rcv_nxt` counts a FIN received. Bytes: `unacknowledged` sent or to be sent to the peer,
    `pending` in the relay on their way to it, `unread` received and not yet relayed.
    `timestamp`: our clock in milliseconds, None without RFC 7323.
    """

    rcv_nxt: SeqNum
    snd_una: SeqNum
    unacknowledged: bytes
    unread: bytes
    snd_wnd: int
    mss_clamp: int
    snd_wscale: int | None
    rcv_wscale: int | None
    sack: bool
    timestamp: int | None
    fin_received: bool
    fin_acknowledged: bool
    pending: bytes = b""


@dataclass(frozen=True, slots=True)
class RelaySnapshot:
    """Standard: both connections of a flow, for a standby that joins."""

    client: Endpoint
    virtual: Endpoint
    client_leg: LegSnapshot
    server_leg: LegSnapshot


@dataclass(frozen=True, slots=True)
class HeartbeatHeard:
    heartbeat: Heartbeat


@dataclass(frozen=True, slots=True)
class OperatorStandby:
    """`run sys failover standby`."""


@dataclass(frozen=True, slots=True)
class Tick:
    """A timer that `next_timer` asked for is due."""


@dataclass(frozen=True, slots=True)
class ChannelUp:
    """The mirroring channel is connected; `protection`: protocol and cipher, "" in clear text."""

    protection: str = ""


@dataclass(frozen=True, slots=True)
class ChannelDown:
    """The mirroring channel is lost, or could not be connected."""

    reason: str


@dataclass(frozen=True, slots=True)
class PeerRefused:
    """Something that came for the mirroring channel, or as a heartbeat, was not taken: a reason
    of `core.refusals.REASONS`, and what it was."""

    reason: str
    detail: str


@dataclass(frozen=True, slots=True)
class PeerMessages:
    """What one read of the mirroring channel completed, in order."""

    messages: tuple[Message, ...]


@dataclass(frozen=True, slots=True)
class RouteAnswer:
    """The cloud API's answer for one route; `error` is empty when it accepted, `changed`
    False when the route led here already."""

    table: str
    destination: str
    error: str
    changed: bool = True


@dataclass(frozen=True, slots=True)
class ArpHeard:
    """An ARP packet came in by a data interface."""

    interface: str
    packet: Arp


@dataclass(frozen=True, slots=True)
class AddressAnswer:
    """The cloud API's answer about an elastic or secondary address; `error` is empty when it
    accepted. `target`: the interface, empty for a disassociation."""

    action: str
    address: str
    target: str
    error: str


@dataclass(frozen=True, slots=True)
class ExtensionNote:
    """The failover extension's own account of a step."""

    what: str
    details: dict[str, object]


Event = (
    PacketQueued
    | DatagramQueued
    | FlowActivity
    | ClientAccepted
    | ServerUnreachable
    | RelayEnded
    | RestoreFailed
    | RelaySnapshot
    | HeartbeatHeard
    | OperatorStandby
    | Tick
    | ChannelUp
    | ChannelDown
    | PeerRefused
    | PeerMessages
    | RouteAnswer
    | ArpHeard
    | AddressAnswer
    | ExtensionNote
)
