"""Following each segment from capture point to capture point. Pure.

A *sighting* is one frame at one capture point. A *transmission* is one segment put on the
wire once, seen at every point on its way: neither address translation nor forwarding
changes its sequence numbers, flags, options, payload or IP identification, so these tell
the sightings of one transmission from all others. A retransmission has an identification
of its own and is a transmission of its own.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from zlib import crc32

from emulator.wire import pcapng
from emulator.wire.arp import Arp, ArpError
from emulator.wire.heartbeat import Heartbeat, HeartbeatError, unsealed
from emulator.wire.segment import Segment, SegmentError

ROUTER = "router"
FABRIC = (ROUTER, "switch")  # what stands between devices and ends
DEVICE_PREFIX = "bigip-"
# Captures of different nodes do not end at the same instant: in the last moment a sighting
# may be missing at one of them, and its absence proves nothing.
TAIL_NS = 500_000_000
_ETHERTYPE_IPV4, _ETHERTYPE_ARP = b"\x08\x00", b"\x08\x06"
_PROTO_TCP, _PROTO_UDP = b"\x06", b"\x11"
_HEARTBEAT_PORT = (1026).to_bytes(2, "big")


@dataclass(frozen=True, slots=True)
class Sighting:
    """One frame. `frame` is its number in the merged capture, from 1."""

    frame: int
    time_ns: int
    point: str
    outgoing: bool
    segment: Segment

    @property
    def node(self) -> str:
        return self.point.partition(":")[0]

    @property
    def time_s(self) -> float:
        return self.time_ns / 1e9


@dataclass(slots=True)
class Transmission:
    """One segment on its way; never empty."""

    sightings: list[Sighting]

    @property
    def origin(self) -> Sighting:
        return self.sightings[0]

    @property
    def last(self) -> Sighting:
        return self.sightings[-1]

    @property
    def segment(self) -> Segment:
        """As it was first seen."""
        return self.sightings[0].segment

    @property
    def device(self) -> str | None:
        """The device that made, forwarded or swallowed it."""
        return next((s.node for s in self.sightings if is_device(s.node)), None)

    def arrival(self, node: str) -> Sighting | None:
        """Where it came into `node`."""
        return next((s for s in self.sightings if s.node == node and not s.outgoing), None)


@dataclass(frozen=True, slots=True)
class CapturePoint:
    """What a capture point's name and description say.

    A frame from one of `macs` left by it; on a port of a switch, whose frames bear their
    senders' MACs, a frame that is not from one of `senders`. On a shared `segment` frames for
    others may be flooded to a point: they are no news of anything.
    """

    name: str
    macs: frozenset[bytes]
    address: str
    peer: str
    senders: frozenset[bytes] = frozenset()
    segment: str = ""

    def outgoing(self, frame: bytes) -> bool:
        source = frame[6:12]
        return source not in self.senders if self.senders else source in self.macs

    def flooded(self, frame: bytes) -> bool:
        """Whether the node at this point, or behind this port, is not who the frame is for."""
        if not self.segment or frame[0] & 1:
            return False
        target = frame[:6]
        if self.outgoing(frame):
            return bool(self.senders) and target not in self.senders
        return bool(self.macs) and target not in self.macs


@dataclass(frozen=True, slots=True)
class Announcement:
    """A gratuitous ARP that left a device, or came to a neighbour of it: `address` is at `mac`."""

    frame: int
    time_ns: int
    point: str
    outgoing: bool
    address: str
    mac: str

    @property
    def node(self) -> str:
        return self.point.partition(":")[0]

    @property
    def time_s(self) -> float:
        return self.time_ns / 1e9


@dataclass(frozen=True, slots=True)
class RoleReport:
    """A heartbeat: what a device said of itself, and when it said so, as it left the device."""

    time_ns: int
    device: str
    active: bool
    frame: int = 0  # its number in the merged capture
    resigned: bool = False
    sequence: int = 0


@dataclass(frozen=True, slots=True)
class RawDatagram:
    """A frame with UDP in it that is no heartbeat: its IP packet, for `lab.judge.datagrams`."""

    frame: int
    time_ns: int
    point: str
    outgoing: bool
    packet: bytes


@dataclass(slots=True)
class Trace:
    """Everything that was captured and matters: transmissions in the order they were first
    seen, the devices' heartbeats, and gratuitous ARP."""

    points: dict[str, CapturePoint] = field(default_factory=dict)
    transmissions: list[Transmission] = field(default_factory=list)
    roles: list[RoleReport] = field(default_factory=list)
    announcements: list[Announcement] = field(default_factory=list)
    datagrams: list[RawDatagram] = field(default_factory=list)
    cut_frames: int = 0
    end_ns: int = 0


def is_device(node: str) -> bool:
    return node.startswith(DEVICE_PREFIX)


def is_end(node: str) -> bool:
    """An end of connections: neither a device nor the fabric."""
    return node not in FABRIC and not is_device(node)


def trace(frames: Iterable[pcapng.Frame], *, until_ns: int | None = None) -> Trace:
    """Build the trace of a merged capture, frames in time order.

    `until_ns`: when the observation ended; what was captured later is no evidence.
    """
    found = Trace()
    open_: dict[tuple[object, ...], tuple[Transmission, set[tuple[str, bool]]]] = {}
    for number, frame in enumerate(frames, 1):
        if until_ns is not None and frame.time_ns > until_ns:
            continue
        found.end_ns = max(found.end_ns, frame.time_ns)
        name = point_name(frame.interface)
        point = found.points.get(name)
        if point is None:
            point = found.points[name] = _point(frame.interface)
        if frame.data[12:14] == _ETHERTYPE_ARP:
            found.announcements += _announced(number, frame, point)
        if frame.data[12:14] != _ETHERTYPE_IPV4 or point.flooded(frame.data):
            continue
        outgoing = point.outgoing(frame.data)
        if frame.data[23:24] != _PROTO_TCP:
            if frame.data[23:24] == _PROTO_UDP:
                _udp(found, number, frame, point.name, outgoing)
            continue
        try:
            segment = Segment.parse(frame.data[14:])
        except SegmentError:
            found.cut_frames += 1
            continue
        sighting = Sighting(number, frame.time_ns, point.name, outgoing, segment)
        identity = _identity(segment)
        place = (point.name, outgoing)
        way = open_.get(identity)
        if way is None or place in way[1]:
            way = open_[identity] = (Transmission([]), set())
            found.transmissions.append(way[0])
        way[0].sightings.append(sighting)
        way[1].add(place)
    if until_ns is not None:
        found.end_ns = until_ns
    return found


def point_name(interface: pcapng.Interface) -> str:
    """A capture point as the lab calls it, "bigip-a:ext": in files it is "bigip-a ext"; files
    of before said it as the lab does."""
    return interface.name.replace(" ", ":", 1)


def _udp(found: Trace, number: int, frame: pcapng.Frame, point: str, outgoing: bool) -> None:
    """A heartbeat, told by whom it leaves, or somebody's datagram."""
    start = 14 + (frame.data[14] & 15) * 4
    if frame.data[start + 2 : start + 4] != _HEARTBEAT_PORT:
        raw = RawDatagram(number, frame.time_ns, point, outgoing, frame.data[14:])
        found.datagrams.append(raw)
    elif outgoing:
        found.roles += _role(number, frame, start)


def _role(number: int, frame: pcapng.Frame, start: int) -> list[RoleReport]:
    """The heartbeat in an outgoing UDP frame, if it is one."""
    try:
        heartbeat = Heartbeat.parse(unsealed(frame.data[start + 8 :]))
    except HeartbeatError:
        return []
    if point_name(frame.interface).partition(":")[0] != heartbeat.device:
        return []  # the fabric's sighting of the same datagram
    said = heartbeat.device, heartbeat.active
    return [RoleReport(frame.time_ns, *said, number, heartbeat.resigned, heartbeat.sequence)]


def _announced(number: int, frame: pcapng.Frame, point: CapturePoint) -> list[Announcement]:
    try:
        arp = Arp.parse(frame.data)
    except ArpError:
        return []
    if not arp.gratuitous:
        return []
    outgoing = point.outgoing(frame.data)
    return [
        Announcement(number, frame.time_ns, point.name, outgoing, str(arp.sender), arp.sender_mac)
    ]


def _identity(segment: Segment) -> tuple[object, ...]:
    return (
        segment.identification,
        segment.seq.value,
        segment.ack.value,
        segment.flags,
        segment.window,
        segment.options,
        crc32(segment.payload),
    )


def _point(interface: pcapng.Interface) -> CapturePoint:
    notes = dict(word.split("=", 1) for word in interface.description.split() if "=" in word)
    return CapturePoint(
        point_name(interface), _macs(notes.get("mac", "")), notes.get("address", ""),
        notes.get("peer", ""), _macs(notes.get("from", "")), notes.get("segment", ""),
    )  # fmt: skip


def _macs(text: str) -> frozenset[bytes]:
    try:
        return frozenset(bytes.fromhex(mac.replace(":", "")) for mac in text.split(",") if mac)
    except ValueError:
        return frozenset()
