"""What the fabric's own doings explain: filters, load balancers, translation, the channel. Pure.

`explain` asks here where a connection's segments or resets lead into the fabric, or to a
device that did not know them because of something that happened before. Load balancers are
known by what they send themselves: health probes begin at the router, as their resets do.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from emulator.lab.judge.causes import CAUSES
from emulator.lab.judge.facts import Connection, Direction, Ending, Facts, Record
from emulator.lab.judge.tracing import ROUTER, Sighting, is_device
from emulator.wire.segment import ACK, RST, SYN

_AT_ONCE_S = 1.0


@dataclass(frozen=True, slots=True)
class Finding:
    """A cause, its sentence, and sightings that show it (with what they show)."""

    cause: str
    text: str
    shown: tuple[tuple[Sighting, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Probe:
    """A health probe as the captures have it."""

    device: str
    sent: Sighting
    answered: bool


def taken(connection: Connection, facts: Facts, ending: Ending) -> Finding | None:
    """What the fabric's log says of the very segment that did not come out of it."""
    last = ending.last
    for record in facts.records_of("dropped"):
        kind, _, interface = str(record.get("counter", "")).partition("/")
        if kind in CAUSES and _is_about(record, last):
            why = _why_unknown(connection, facts, interface, last)
            return Finding(kind, _taken_text(kind, interface, record, why))
    return None


def _why_unknown(connection: Connection, facts: Facts, interface: str, last: Sighting) -> str:
    """What the captures say about why a filter at `interface` did not know the connection."""
    point = f"{ROUTER}:{interface}"
    before = [
        sighting
        for transmission, _ in connection.transmissions
        for sighting in transmission.sightings
        if sighting.point == point and sighting.frame < last.frame
    ]
    if not before:
        return "which began by another interface"
    gap = max(
        (
            b.origin.time_s - a.origin.time_s
            for (a, _), (b, _) in pairwise(connection.transmissions)
        ),
        default=0.0,
    )
    return f"which passed there before and was silent for up to {gap:.1f} s since"


def fabric_reset(facts: Facts, origin: Sighting) -> Finding:
    """A reset that the fabric made itself."""
    said = ""
    for record in facts.records_of("load-balancer-reset"):
        if _is_about(record, origin, answered=True):
            said = f' (its log: "{record.get("reason")}")'
    return Finding(
        "load-balancer-reset",
        "No device and no end sent the reset: it began in the provider's network, where the "
        f"load balancer answers for a target it has given up{said}.",
        _probes_shown(facts, origin),
    )


def pinned(facts: Facts, old: str, last: Sighting) -> Finding | None:
    """A load balancer whose probes of the old device fail and that goes on delivering to it."""
    state = _health(facts, last)
    healthy = sorted(device for device, probe in state.items() if probe.answered)
    if old not in state or state[old].answered or not healthy:
        return None
    return Finding(
        "load-balancer-pinned",
        f"The load balancer's health probes of {old} failed and {healthy[0]} answered them, "
        f"yet the connection's segments still go to {old}: it keeps established connections "
        "on the target they began with.",
        _probes_shown(facts, last),
    )


def unassigned(facts: Facts, last: Sighting) -> Finding | None:
    """By the fabric's log the address was taken from its interface before the segment came and
    until the end given to no other."""
    address = str(last.segment.destination.address)
    moves = [
        r for r in facts.records_of("effective") if address in (r.get("address"), r.get("public"))
    ]
    if not moves or moves[-1].get("target") is not None or _time(moves[-1]) > last.time_s:
        return None
    holder = moves[-1].get("taken_from")
    return Finding(
        "address-unassigned",
        f"The fabric had nobody to deliver the segments to: {address} had been taken from "
        f"{holder or 'the interface it was associated with'} and was given to no other one.",
    )


def _time(record: Record) -> float:
    time = record.get("time")
    return float(time) if isinstance(time, int | float) else 0.0


def _is_about(record: Record, sighting: Sighting, *, answered: bool = False) -> bool:
    """Whether a line of the fabric's log names this segment (`answered`: the one it answers).
    Translation changes the destination on the way, never source and sequence numbers."""
    segment, time = sighting.segment, record.get("time")
    if not isinstance(time, int | float) or abs(time - sighting.time_s) > _AT_ONCE_S:
        return False
    if answered:
        return record.get("source") == str(segment.destination)
    return (record.get("source"), record.get("seq"), record.get("ack")) == (
        str(segment.source), segment.seq.value, segment.ack.value,
    )  # fmt: skip


def _taken_text(kind: str, interface: str, record: Record, why: str) -> str:
    where = record.get("owner") or interface
    counted = f"(counter {record.get('counter')} rose for this very segment)"
    match kind:
        case "security-group-denied":
            return f"No rule of the security group of {where} allows the segments {counted}."
        case "security-group-lost-state":
            return (
                f"The security group of {where} has no entry for the connection, {why}, and "
                f"drops segments in the middle of it {counted}."
            )
        case "firewall-lost-state":
            return (
                f"The firewall in front of {where} does not know the connection, {why}, and "
                f"drops its segments {counted}."
            )
        case _:
            return f"The fabric dropped the segments {counted}."


def address_changed(connection: Connection, arrival: Sighting) -> Finding | None:
    """The client's segments had another destination address at the first device."""
    first = connection.first_device
    for transmission, direction in connection.transmissions:
        if direction is not Direction.TO_SERVER or first is None:
            continue
        before = transmission.arrival(first)
        if before is None:
            continue
        old, new = before.segment.destination, arrival.segment.destination
        if old == new or arrival.segment.source != before.segment.source:
            return None
        return Finding(
            "vip-address-changed",
            f"The client's segments came to {first} for {old}; to {arrival.node} the provider "
            f"delivers them for {new}, another destination address, for which no flow that "
            f"{first} had mirrored can match.",
            ((before, f"{first} receives the connection for {old}"),),
        )
    return None


def probes(facts: Facts) -> Iterator[Probe]:
    """Health probes: SYNs of the router's own to a device, and whether a SYN-ACK came back."""
    # As the router received it: the device passes the probe on to a member, and its answer back.
    answers = {
        (t.last.segment.destination, t.last.segment.source)
        for t in facts.transmissions
        if t.segment.flags & (SYN | ACK | RST) == SYN | ACK
        and t.last.node == ROUTER
        and not t.last.outgoing
    }
    for transmission in facts.transmissions:
        origin, segment = transmission.origin, transmission.segment
        if origin.node != ROUTER or segment.flags & (SYN | ACK) != SYN or not origin.outgoing:
            continue
        device = facts.points[origin.point].peer.partition(":")[0]
        if is_device(device):
            yield Probe(device, origin, (segment.source, segment.destination) in answers)


def _health(facts: Facts, at: Sighting) -> dict[str, Probe]:
    """Each device's last probe that had time to be answered before `at`."""
    found: dict[str, Probe] = {}
    for probe in probes(facts):
        if probe.sent.frame < at.frame and at.time_ns - probe.sent.time_ns > 50_000_000:
            found[probe.device] = probe
    return found


def _probes_shown(facts: Facts, at: Sighting) -> tuple[tuple[Sighting, str], ...]:
    return tuple(
        (probe.sent, f"health probe of {device}: {'answered' if probe.answered else 'failed'}")
        for device, probe in sorted(_health(facts, at).items())
    )
