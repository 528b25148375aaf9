"""Where a capture shows the cloud's route and address changes. Pure.

A change is asked for and accepted over the cloud's API, in frames that can be shown; when it
takes effect no frame is sent: the first segment that goes the new way shows it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Address, IPv4Network, NetmaskValueError

from emulator.lab.judge.facts import Facts, Record
from emulator.lab.judge.tracing import Sighting, Transmission, is_device, is_end

_SHOWN = 8  # changes: where there are more, those that matter to the sessions, and the last


@dataclass(frozen=True, slots=True)
class Change:
    """A frame of a change, and what it shows."""

    sighting: Sighting
    text: str


def route_changes(facts: Facts) -> Iterator[Change]:
    """Frames that ask for, accept and first follow the changes in the fabric's log."""
    asked = [t for t in facts.transmissions if b"Action=" in t.segment.payload]
    for record in _chosen(facts, facts.records_of("accepted")):
        request = _request(asked, record)
        if request is not None:
            yield Change(request.origin, f"asked of the cloud: {_words(record)}")
            answer = _answer(facts, request, record)
            if answer is not None:
                yield Change(answer.origin, f"accepted by the cloud: {_words(record)}")
    for record in _chosen(facts, facts.records_of("effective")):
        follower = _follower(facts, record)
        if follower is not None:
            late = follower.time_s - _time(record)
            text = f"route effective {late:.3f} s before: {_words(record)}; "
            yield Change(follower, f"{text}the first segment that goes the new way")


def _chosen(facts: Facts, records: list[Record]) -> list[Record]:
    if len(records) <= _SHOWN:
        return records
    ends = [s for c in facts.connections for s in (c.client, c.server) if s is not None]
    known = {e.address for s in ends for e in (s.local, s.remote)}
    return [r for r in records if any(_covers(r, a) for a in known)] + records[-1:]


def _request(asked: list[Transmission], record: Record) -> Transmission | None:
    """The last call before the acceptance that names what the record names."""
    keys = ("table", "destination", "public", "address")
    words = [str(record[k]).replace("/", "%2F").encode() for k in keys if record.get(k)]
    found = None
    for transmission in asked:
        payload = transmission.segment.payload
        before = transmission.origin.time_s <= _time(record)
        changes = before and b"Action=Describe" not in payload
        if changes and is_device(transmission.origin.node) and all(w in payload for w in words):
            found = transmission
    return found if words else None


def _answer(facts: Facts, request: Transmission, record: Record) -> Transmission | None:
    """The first bytes the API sends on the request's connection after the acceptance."""
    pair = request.segment.destination, request.segment.source
    for transmission in facts.transmissions:
        segment, origin = transmission.segment, transmission.origin
        back = (segment.source, segment.destination) == pair and is_end(origin.node)
        if back and segment.payload and origin.time_s >= _time(record):
            return transmission
    return None


def _follower(facts: Facts, record: Record) -> Sighting | None:
    """The first sighting that leaves the fabric for the change's target, once it is effective."""
    target = str(record.get("target", "")).removeprefix("eni-")
    points = {
        p.name for p in facts.points.values() if p.peer.replace(":", "-") == target and p.peer
    }
    for transmission in facts.transmissions:
        for sighting in transmission.sightings:
            if (
                sighting.point in points
                and sighting.outgoing
                and sighting.time_s >= _time(record)
                and _covers(record, sighting.segment.destination.address)
            ):
                return sighting
    return None


def _covers(record: Record, address: IPv4Address) -> bool:
    if str(address) in (record.get("public"), record.get("private"), record.get("address")):
        return True
    try:
        return address in IPv4Network(str(record.get("destination")))
    except (AddressValueError, NetmaskValueError, ValueError):
        return False


def _words(record: Record) -> str:
    what = record.get("public") or record.get("address") or record.get("destination")
    table = f" in {record['table']}" if record.get("table") else ""
    return f"{what}{table} to {record.get('target')}"


def _time(record: Record) -> float:
    return float(str(record.get("time", 0)))
