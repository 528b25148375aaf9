"""From a trace to what is known of each connection. Pure.

Facts say what packets did and which records bear on it; they name no outcome and no cause.
A connection begins with a SYN that leaves the client; it is followed through address
translation by its transmissions, each of which ties the addresses of one side to those of
the other. What an end "received" is only what reached it with the addresses *its own*
socket has: a segment from another source is no part of its connection.

A device that proxies ends the client's connection and opens another: both are one
`Connection` here (`lab.judge.legs` joins them), whose bytes go from end to end all the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum

from emulator.lab.judge.legs import Joiner
from emulator.lab.judge.mirrorwatch import Down, Pair, channel_of, down_at, held_by, secured, up_at
from emulator.lab.judge.streams import Stream
from emulator.lab.judge.tracing import (
    ROUTER,
    Announcement,
    CapturePoint,
    RawDatagram,
    RoleReport,
    Sighting,
    Trace,
    Transmission,
    is_device,
    is_end,
)
from emulator.lab.workload.applications import NAMES
from emulator.wire.segment import ACK, FIN, RST, SYN, Endpoint
from emulator.wire.seqnum import SeqNum

UDP = "udp"
ALIVE_NS = 3_000_000_000  # failover.nettimeoutsec: a device silent for longer counts as dead
Record = Mapping[str, object]  # one line of a journal: time (s), node, what, details


class Direction(Enum):
    TO_SERVER = "to_server"
    TO_CLIENT = "to_client"


class Fate(Enum):
    """Where a transmission ended."""

    DELIVERED = "reached the socket it was for"
    MISADDRESSED = "reached an end that has no such connection"
    LINK = "left for a neighbour that never received it"
    DEVICE = "went into a device and did not come out"
    FABRIC = "went into the fabric and did not come out"


@dataclass(frozen=True, slots=True)
class Ending:
    """Where a transmission was last seen; `node` took it, or was to receive it."""

    fate: Fate
    node: str
    last: Sighting


@dataclass(slots=True)
class Socket:
    """One end's socket, as its first segment shows it: what it sends from and to."""

    node: str
    local: Endpoint
    remote: Endpoint


@dataclass(slots=True)
class Connection:
    """All that was seen of one connection."""

    name: str
    client: Socket
    isn: SeqNum
    server: Socket | None = None
    proxied: bool = False  # a device's own two connections, not one passed on
    to_server: Stream = field(default_factory=Stream)
    to_client: Stream = field(default_factory=Stream)
    transmissions: list[tuple[Transmission, Direction]] = field(default_factory=list)
    resets: list[tuple[Transmission, Sighting]] = field(default_factory=list)
    fins: dict[Direction, Sighting] = field(default_factory=dict)  # as they arrived
    closed: dict[Direction, Sighting] = field(default_factory=dict)  # as the ends sent them
    end_ns: int = 0
    protocol: str = "tcp"  # or UDP: a flow of datagrams (`lab.judge.datagrams`)

    def stream(self, direction: Direction) -> Stream:
        return self.to_server if direction is Direction.TO_SERVER else self.to_client

    @property
    def first_device(self) -> str | None:
        """The device its SYN went to."""
        devices = (t.device for t, d in self.transmissions if d is Direction.TO_SERVER)
        return next((d for d in devices if d), None)

    def switch(self, direction: Direction) -> Transmission | None:
        """The first transmission of an end's own that another device than the first one handled:
        what a device sends by itself (a proxy, a probe) shows nothing of the ends' paths."""
        first = self.first_device
        for transmission, its in self.transmissions:
            own = is_device(transmission.origin.node)
            if its is direction and transmission.device not in (None, first) and not own:
                return transmission
        return None

    def carried_by(self, device: str, *, before: int | None = None) -> bool:
        """Whether `device` (before a frame) ever passed a segment on from one side to the other,
        or as a proxy sent one of its own that was no reset."""
        seen = (t for t, _ in self.transmissions if before is None or t.origin.frame < before)
        if self.proxied:
            return any(t.origin.node == device and not t.segment.flags & RST for t in seen)
        return any(_passed(t, device) for t in seen)

    def acknowledged_by(self, device: str, direction: Direction) -> tuple[SeqNum, Sighting] | None:
        """How far a proxying device's acknowledgements of a direction's bytes came, as its
        sender received them, and the first segment that said so."""
        sender = self.client if direction is Direction.TO_SERVER else self.server
        best: tuple[SeqNum, Sighting] | None = None
        for transmission, its in self.transmissions:
            last, segment = transmission.last, transmission.last.segment
            if (
                its is not direction
                and transmission.origin.node == device
                and segment.flags & (ACK | RST) == ACK
                and not last.outgoing
                and sender is not None
                and last.node == sender.node
                and self.is_for(last)
                and (best is None or best[0].precedes(segment.ack))
            ):
                best = segment.ack, last
        return best

    def ending(self, transmission: Transmission, points: Mapping[str, CapturePoint]) -> Ending:
        """Where the transmission ended."""
        last = transmission.last
        if not last.outgoing:
            if is_end(last.node):
                fate = Fate.DELIVERED if self.is_for(last) else Fate.MISADDRESSED
                return Ending(fate, last.node, last)
            return Ending(Fate.DEVICE if is_device(last.node) else Fate.FABRIC, last.node, last)
        peer = points[last.point].peer if last.point in points else ""
        neighbour = peer.partition(":")[0] or ROUTER
        return Ending(Fate.LINK, neighbour, last)

    def is_for(self, arrival: Sighting) -> bool:
        """Whether a segment came to an end's own socket."""
        socket = self.client if arrival.node == self.client.node else self.server
        segment = arrival.segment
        if self.protocol == UDP and socket is self.server and socket is not None:
            return segment.destination == socket.local  # whoever it comes from
        return socket is not None and (segment.destination, segment.source) == (
            socket.local,
            socket.remote,
        )


@dataclass(slots=True)
class Facts:
    """Everything the verdict may rest on."""

    connections: list[Connection]
    points: dict[str, CapturePoint]
    records: list[Record]
    roles: list[RoleReport]
    cut_frames: int
    end_ns: int
    transmissions: list[Transmission]  # all there were, those of no connection among them
    announcements: list[Announcement] = field(default_factory=list)
    channel: list[Transmission] = field(default_factory=list)
    # By the standby, of mirrored streams; None where the channel does not tell.
    held: dict[Pair, SeqNum] | None = field(default_factory=dict)
    raw_datagrams: list[RawDatagram] = field(default_factory=list)

    def mirrored_from(self, device: str, sighting: Sighting) -> bool:
        """Whether the device had its mirroring channel when it received this segment."""
        return up_at(self.channel, device, sighting.time_ns)

    def channel_down(self, device: str) -> Down | None:
        """Whether the mirroring channel was down when the device last called itself active,
        with the other one standing by: then what it did not mirror is not at the other."""
        other = min((r.time_ns for r in self.roles if r.active and r.device != device), default=0)
        own = [r.time_ns for r in self.roles if r.active and r.device == device]
        before = [t for t in own if t < other] if other else own
        return down_at(self.channel, device, before[-1]) if before else None

    def served(self, device: str, sighting: Sighting) -> bool:
        """Whether, by the heartbeats, the device was still the active one at `sighting`: it
        had called itself active within ALIVE_NS, and no other device had since."""
        last: RoleReport | None = None
        for report in self.roles:
            if report.time_ns > sighting.time_ns:
                break
            if report.device == device or report.active:
                last = report
        if last is None or last.device != device or not last.active:
            return False
        return sighting.time_ns - last.time_ns < ALIVE_NS

    def records_of(self, *what: str) -> list[Record]:
        """Journal and log lines of these kinds, in time order."""
        return [r for r in self.records if r.get("what") in what]

    def decision_on(self, arrival: Sighting) -> Record | None:
        """What the device's journal says it did with a segment, where it says so."""
        segment = arrival.segment
        for record in self.records:
            if (
                record.get("node") == arrival.node
                and record.get("source") == str(segment.source)
                and record.get("destination") == str(segment.destination)
                and record.get("seq") == segment.seq.value
                and abs(_time(record) - arrival.time_s) < 1.0
            ):
                return record
        return None


def gather(trace: Trace, records: Sequence[Record] = ()) -> Facts:
    """Facts from a trace and, where there are any, from journals and logs."""
    ordered = sorted(records, key=_time)
    joiner = Joiner(ordered)
    connections = [_measure(c, trace.end_ns) for c in _assign(trace.transmissions, joiner)]
    replayed = {r.get("port"): str(r["session"]) for r in ordered if r.get("what") == "replayed"}
    for connection in connections:
        connection.name = replayed.get(connection.client.remote.port, connection.name)
    channel = channel_of(trace)
    proxied = any(connection.proxied for connection in connections)
    held = None if secured(channel) else held_by(channel) if proxied else {}
    return Facts(
        connections, trace.points, ordered, trace.roles, trace.cut_frames, trace.end_ns,
        trace.transmissions, trace.announcements, channel, held, trace.datagrams,
    )  # fmt: skip


def _time(record: Record) -> float:
    time = record.get("time", 0.0)
    return float(time) if isinstance(time, int | float) else 0.0


def _assign(transmissions: Sequence[Transmission], joiner: Joiner) -> list[Connection]:
    """Which transmission belongs to which connection, and its direction."""
    connections: list[Connection] = []
    owners: dict[Pair, tuple[Connection, Direction]] = {}
    for transmission in transmissions:
        opened = _opening(transmission, owners)
        if opened is not None:
            _forget(owners, (opened.client.local, opened.client.remote))
            connections.append(opened)
            owners[opened.client.local, opened.client.remote] = (opened, Direction.TO_SERVER)
            owners[opened.client.remote, opened.client.local] = (opened, Direction.TO_CLIENT)
            joiner.client_syn(transmission)
        pairs = [(s.segment.source, s.segment.destination) for s in transmission.sightings]
        found = next((owners[pair] for pair in pairs if pair in owners), None)
        if found is None or transmission.segment.flags & (SYN | ACK) == SYN:
            joined = joiner.join(transmission)
            if joined in owners:
                found = (owners[joined][0], Direction.TO_SERVER)
                found[0].proxied = True
                source, destination = pairs[0]
                owners[source, destination] = found
                owners[destination, source] = (found[0], Direction.TO_CLIENT)
        if found is None:
            continue
        connection, direction = found
        joiner.follow(transmission.segment)
        connection.transmissions.append((transmission, direction))
        back = Direction.TO_CLIENT if direction is Direction.TO_SERVER else Direction.TO_SERVER
        for source, destination in pairs:
            owners.setdefault((source, destination), (connection, direction))
            owners.setdefault((destination, source), (connection, back))
    return connections


def _forget(owners: dict[Pair, tuple[Connection, Direction]], client_side: Pair) -> None:
    """A port used again: what the server's side sends belongs to the new connection, too."""
    if client_side not in owners:
        return
    old = owners[client_side][0]
    for pair in [p for p, (owner, _) in owners.items() if owner is old]:
        del owners[pair]


def _opening(
    transmission: Transmission, owners: Mapping[Pair, tuple[Connection, Direction]]
) -> Connection | None:
    """A new connection, if the transmission is the first SYN of one."""
    first, segment = transmission.origin, transmission.segment
    if segment.flags & (SYN | ACK) != SYN or not first.outgoing or not is_end(first.node):
        return None
    known = owners.get((segment.source, segment.destination))
    if known is not None and known[0].isn == segment.seq:
        return None
    port = segment.destination.port
    socket = Socket(first.node, segment.source, segment.destination)
    return Connection(NAMES.get(port, f"port-{port}"), socket, segment.seq)


def _measure(connection: Connection, end_ns: int) -> Connection:
    """Fill in streams, resets and closes from the connection's transmissions."""
    connection.end_ns = end_ns
    for transmission, direction in connection.transmissions:
        if direction is Direction.TO_SERVER and connection.server is None:
            _find_server(connection, transmission)
        answers = transmission.segment.flags & (SYN | ACK) == SYN | ACK
        if answers and direction is Direction.TO_CLIENT and is_device(transmission.origin.node):
            connection.proxied = True  # even if it never came to a server's side
        stream = connection.stream(direction)
        if is_end(transmission.origin.node) and transmission.origin.outgoing:
            stream.leave(transmission)
            if transmission.segment.flags & FIN:
                connection.closed.setdefault(direction, transmission.origin)
    arrivals = [
        (t.last, t, d)
        for t, d in connection.transmissions
        if not t.last.outgoing and is_end(t.last.node) and connection.is_for(t.last)
    ]
    for arrival, transmission, direction in sorted(arrivals, key=lambda a: a[0].frame):
        _receive(connection, arrival, transmission, direction)
    for stream in (connection.to_server, connection.to_client):
        # A proxy acknowledges what it has yet to deliver; anything else passes on what it saw.
        early = stream.acknowledged > len(stream.delivered) and not connection.proxied
        stream.gap = stream.gap or early
    # An end closed it, not a proxy of its own accord.
    connection.fins = {d: s for d, s in connection.fins.items() if d in connection.closed}
    return connection


def _receive(
    connection: Connection, arrival: Sighting, transmission: Transmission, direction: Direction
) -> None:
    segment = arrival.segment
    if segment.flags & RST:
        connection.resets.append((transmission, arrival))
        return
    connection.stream(direction).arrive(transmission, arrival)
    if segment.flags & FIN:
        connection.fins.setdefault(direction, arrival)
    if segment.flags & ACK:
        back = Direction.TO_CLIENT if direction is Direction.TO_SERVER else Direction.TO_SERVER
        connection.stream(back).acknowledge(segment.ack)


def _find_server(connection: Connection, transmission: Transmission) -> None:
    last, segment = transmission.last, transmission.segment
    if segment.flags & SYN and not last.outgoing and is_end(last.node):
        seen = last.segment
        connection.server = Socket(last.node, seen.destination, seen.source)


def _passed(transmission: Transmission, device: str) -> bool:
    directions = {s.outgoing for s in transmission.sightings if s.node == device}
    return directions == {True, False}
