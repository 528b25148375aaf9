"""What a device can order its shell to do.

A list of commands is carried out in order, and the order is a contract:

1. *mirrored before released*: `SendToPeer(FlowUp)` and the peer's Ack come before the
   `InstallFlow` and `Release` of the packet that made the flow (while the channel is up);
   with `commit: sync` the same holds for every segment of a standard flow with content;
2. *restored before routed or announced*: every `InstallFlow` and `RestoreRelay` of a takeover
   comes before `RequestRoutes` and before every `SendArp`;
3. *journalled before done*: the `Note` that explains an effect comes before the effect.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from emulator.core.tracker import RelayPlan
from emulator.wire.arp import Arp
from emulator.wire.heartbeat import Heartbeat
from emulator.wire.mirror import FlowRecord, Message
from emulator.wire.segment import Endpoint, Segment


@dataclass(frozen=True, slots=True)
class Release:
    """Let the packet go on into the kernel."""

    packet_id: int


@dataclass(frozen=True, slots=True)
class Discard:
    """Drop the packet, silently."""

    packet_id: int


@dataclass(frozen=True, slots=True)
class Hold:
    """Keep the packet until a later Release or Discard."""

    packet_id: int


@dataclass(frozen=True, slots=True)
class SendSegment:
    """Emit a segment of the device's own making (a reset, a probe)."""

    segment: Segment


@dataclass(frozen=True, slots=True)
class SendUnreachable:
    """Emit an ICMP host unreachable to the sender of `quoted` (RFC 6069); `to_us`: that is a
    connection of our own."""

    quoted: Segment
    to_us: bool = False


@dataclass(frozen=True, slots=True)
class InstallFlow:
    """Have the kernel translate and forward this flow."""

    record: FlowRecord


@dataclass(frozen=True, slots=True)
class RemoveFlow:
    """The kernel shall forget the flow."""

    record: FlowRecord


@dataclass(frozen=True, slots=True)
class Accelerate:
    """Established segments of these flows are not queued any more."""

    records: tuple[FlowRecord, ...]


@dataclass(frozen=True, slots=True)
class Decelerate:
    """They are queued again."""

    records: tuple[FlowRecord, ...]


@dataclass(frozen=True, slots=True)
class ReadActivity:
    """Ask the kernel for what it has passed on of accelerated flows, and hand that in as
    `FlowActivity`, at once."""


@dataclass(frozen=True, slots=True)
class Listen:
    """Accept connections to this address and port; no effect when it is done already."""

    virtual: Endpoint


@dataclass(frozen=True, slots=True)
class ConnectServer:
    """Open the server-side connection of an accepted client, then relay between the two."""

    record: FlowRecord


@dataclass(frozen=True, slots=True)
class AbortRelay:
    """Reset both connections of the flow, as far as they exist."""

    client: Endpoint
    virtual: Endpoint


@dataclass(frozen=True, slots=True)
class AbandonRelays:
    """Give up every connection and listener without a packet: another device serves them."""


@dataclass(frozen=True, slots=True)
class RestoreRelay:
    """Take up the connections of a mirrored flow where the peer left them, and relay on."""

    plan: RelayPlan


@dataclass(frozen=True, slots=True)
class SnapshotRelay:
    """Read both connections of a flow out of the kernel and hand them in as `RelaySnapshot`, at
    once: no packet may be decided in between. No effect while one is not established."""

    client: Endpoint
    virtual: Endpoint


@dataclass(frozen=True, slots=True)
class SendToPeer:
    """Over the mirroring channel."""

    message: Message


@dataclass(frozen=True, slots=True)
class ConnectChannel:
    """Try to connect the mirroring channel to the peer."""


@dataclass(frozen=True, slots=True)
class CloseChannel:
    """Drop the channel and what is still buffered on it."""


@dataclass(frozen=True, slots=True)
class SendHeartbeat:
    heartbeat: Heartbeat


@dataclass(frozen=True, slots=True)
class RequestRoutes:
    """Ask the cloud to point the traffic group's routes at this device."""


@dataclass(frozen=True, slots=True)
class CancelRoutes:
    """Stop retrying route requests: the device is active no more."""


@dataclass(frozen=True, slots=True)
class FollowRole:
    """Have the program that serves the packets in our place follow a change of role; done
    once it has."""

    active: bool


@dataclass(frozen=True, slots=True)
class SendArp:
    """Out of this interface."""

    interface: str
    packet: Arp


@dataclass(frozen=True, slots=True)
class SetMac:
    """Give the interface this MAC address."""

    interface: str
    mac: str


@dataclass(frozen=True, slots=True)
class Note:
    """One line of the device's journal: what, and its details."""

    what: str
    details: dict[str, object] = field(default_factory=dict)


def about(what: str, segment: Segment, **more: object) -> Note:
    """A note about a segment."""
    return Note(
        what,
        {
            "source": str(segment.source),
            "destination": str(segment.destination),
            "seq": segment.seq.value,
            "ack": segment.ack.value,
            "flags": segment.flag_names,
            "payload_bytes": len(segment.payload),
            **more,
        },
    )


Command = (
    Release
    | Discard
    | Hold
    | SendSegment
    | SendUnreachable
    | InstallFlow
    | RemoveFlow
    | Accelerate
    | Decelerate
    | ReadActivity
    | Listen
    | ConnectServer
    | AbortRelay
    | AbandonRelays
    | RestoreRelay
    | SnapshotRelay
    | SendToPeer
    | ConnectChannel
    | CloseChannel
    | SendHeartbeat
    | RequestRoutes
    | CancelRoutes
    | FollowRole
    | SendArp
    | SetMac
    | Note
)
