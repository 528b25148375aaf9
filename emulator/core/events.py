"""What can happen to a device. `now` travels beside an event, never inside it."""

from __future__ import annotations

from dataclasses import dataclass

from emulator.wire.heartbeat import Heartbeat
from emulator.wire.mirror import Message
from emulator.wire.segment import Segment


@dataclass(frozen=True, slots=True)
class PacketQueued:
    """A TCP segment the fast path did not answer waits for a verdict."""

    packet_id: int
    interface: str
    segment: Segment


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
    """The mirroring channel is connected."""


@dataclass(frozen=True, slots=True)
class ChannelDown:
    """The mirroring channel is lost, or could not be connected."""

    reason: str


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


Event = (
    PacketQueued
    | HeartbeatHeard
    | OperatorStandby
    | Tick
    | ChannelUp
    | ChannelDown
    | PeerMessages
    | RouteAnswer
)
