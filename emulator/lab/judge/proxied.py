"""What is particular to proxied connections when something went wrong. Pure.

A proxy acknowledges bytes it has not delivered yet, and resets one end because the other
end's connection failed: both have to be followed through the device.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from emulator.lab.judge.facts import Connection, Direction, Ending, Facts, Fate
from emulator.lab.judge.tracing import TAIL_NS, Sighting, Transmission, is_device, is_end
from emulator.wire.segment import ACK, RST


@dataclass(frozen=True, slots=True)
class Lag:
    """Bytes the first device acknowledged to an end and the next one does not have; `old` and
    `new` say so, the latter in the next device's own words where there are any."""

    octets: int
    end: str
    old: Sighting
    new: Sighting | None


def mirror_lag(connection: Connection, facts: Facts) -> Lag | None:
    """An end was told that its bytes had arrived, and the new device does not have them: the
    end will not send them again, and nobody else can.

    Told by the new device's own acknowledgements, which never come as far; or, where it says
    nothing, by the mirroring channel, over which those bytes never came.
    """
    return _by_acknowledgements(connection) or _by_channel(connection, facts)


def _by_acknowledgements(connection: Connection) -> Lag | None:
    first = connection.first_device
    if first is None:
        return None
    later = {t.origin.node for t, _ in connection.transmissions} - {first}
    for direction in Direction:
        old = connection.acknowledged_by(first, direction)
        for node in sorted(n for n in later if is_device(n)):
            new = connection.acknowledged_by(node, direction)
            if old and new and new[0].precedes(old[0]):
                return Lag(old[0].octets_from(new[0]), old[1].node, old[1], new[1])
    return None


def _by_channel(connection: Connection, facts: Facts) -> Lag | None:
    first = connection.first_device
    opening = connection.transmissions[0][0].arrival(first) if first else None
    if first is None or opening is None or not facts.mirrored_from(first, opening):
        return None  # it was older than the channel
    if facts.held is None:
        return None
    for direction in Direction:
        old = connection.acknowledged_by(first, direction)
        if old is None:
            continue
        seen = old[1].segment  # the device's own, so the end's segments go the other way
        own = facts.held.get((seen.source, seen.destination))
        held = facts.held.get((seen.destination, seen.source))
        if held is not None and own is not None and not held.precedes(old[0]):
            continue
        octets = old[0].octets_from(held) if held is not None else 0
        return Lag(max(octets, 0), old[1].node, old[1], None)
    return None


def passed_on(connection: Connection, reset: Sighting) -> Transmission | None:
    """The reset by the other end that a proxy's own reset passes on."""
    for transmission, _ in reversed(connection.transmissions):
        arrival = transmission.arrival(reset.node)
        if (
            arrival is not None
            and arrival.frame < reset.frame
            and transmission.segment.flags & RST
            and is_end(transmission.origin.node)
        ):
            return transmission
    return None


def stuck(connection: Connection, facts: Facts, direction: Direction) -> Ending | None:
    """Where a direction's bytes get no further: before the proxy or behind it."""
    for ours in (False, True):
        for transmission in _backwards(connection, facts, direction):
            if is_device(transmission.origin.node) is not ours:
                continue
            ending = connection.ending(transmission, facts.points)
            if ending.fate is not Fate.DELIVERED and not _taken(connection, ending):
                return ending
            break
    return None


def _backwards(
    connection: Connection, facts: Facts, direction: Direction
) -> Iterator[Transmission]:
    for transmission, its in reversed(connection.transmissions):
        on_its_way = facts.end_ns - transmission.origin.time_ns < TAIL_NS
        if its is direction and not on_its_way and _carries(transmission):
            yield transmission


def _carries(transmission: Transmission) -> bool:
    """Bytes, SYN or FIN: a bare acknowledgement is never answered, so it tells nothing."""
    return transmission.segment.octets > 0 and not transmission.segment.flags & RST


def _taken(connection: Connection, ending: Ending) -> bool:
    """Whether the device the segment went into has acknowledged it."""
    segment = ending.last.segment
    return ending.fate is Fate.DEVICE and any(
        answer.origin.node == ending.node
        and answer.segment.flags & (ACK | RST) == ACK
        and answer.segment.destination == segment.source
        and answer.origin.frame > ending.last.frame
        and not answer.segment.ack.precedes(segment.end)
        for answer, _ in connection.transmissions
    )
