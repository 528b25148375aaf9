"""Following each segment from capture point to capture point. Pure.

A *sighting* is one frame at one capture point. A *transmission* is one segment put on the
wire once, seen at every point on its way: neither address translation nor forwarding
changes its sequence numbers, flags, options, payload or IP identification, so these tell
the sightings of one transmission from all others. A retransmission has an identification
of its own and is a transmission of its own.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from zlib import crc32

from emulator.wire import pcapng
from emulator.wire.segment import Segment, SegmentError

ROUTER = "router"
DEVICE_PREFIX = "bigip-"
# Captures of different nodes do not end at the same instant: in the last moment a sighting
# may be missing at one of them, and its absence proves nothing.
TAIL_NS = 100_000_000
_ETHERTYPE_IPV4 = b"\x08\x00"
_PROTO_TCP = 6


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
    """What a capture point's name and description say."""

    name: str
    mac: bytes
    address: str
    peer: str


@dataclass(slots=True)
class Trace:
    """Everything TCP that was captured: transmissions in the order they were first seen."""

    points: dict[str, CapturePoint]
    transmissions: list[Transmission]
    cut_frames: int
    end_ns: int


def is_device(node: str) -> bool:
    return node.startswith(DEVICE_PREFIX)


def is_end(node: str) -> bool:
    """An end of connections: neither a device nor the fabric."""
    return node != ROUTER and not is_device(node)


def trace(frames: Iterable[pcapng.Frame]) -> Trace:
    """Build the trace of a merged capture, frames in time order."""
    points: dict[str, CapturePoint] = {}
    open_: dict[tuple[object, ...], tuple[Transmission, set[tuple[str, bool]]]] = {}
    transmissions: list[Transmission] = []
    cut = end_ns = 0
    for number, frame in enumerate(frames, 1):
        end_ns = max(end_ns, frame.time_ns)
        point = points.get(frame.interface.name)
        if point is None:
            point = points[frame.interface.name] = _point(frame.interface)
        if frame.data[12:14] != _ETHERTYPE_IPV4 or frame.data[23:24] != bytes((_PROTO_TCP,)):
            continue
        try:
            segment = Segment.parse(frame.data[14:])
        except SegmentError:
            cut += 1
            continue
        outgoing = frame.data[6:12] == point.mac
        sighting = Sighting(number, frame.time_ns, point.name, outgoing, segment)
        identity = _identity(segment)
        place = (point.name, outgoing)
        found = open_.get(identity)
        if found is None or place in found[1]:
            found = open_[identity] = (Transmission([]), set())
            transmissions.append(found[0])
        found[0].sightings.append(sighting)
        found[1].add(place)
    return Trace(points, transmissions, cut, end_ns)


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
    try:
        mac = bytes.fromhex(notes.get("mac", "").replace(":", ""))
    except ValueError:
        mac = b""
    return CapturePoint(interface.name, mac, notes.get("address", ""), notes.get("peer", ""))
