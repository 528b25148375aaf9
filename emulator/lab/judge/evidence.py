"""A cause of the closed list, and the frames that show it: what every rule hands back. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from emulator.lab.judge.causes import CAUSES
from emulator.lab.judge.fabricrules import Finding
from emulator.lab.judge.facts import Connection, Direction, Facts
from emulator.lab.judge.tracing import Sighting

CAPTURE = "run.pcapng"


@dataclass(frozen=True, slots=True)
class Evidence:
    """A frame to look at, in run.pcapng."""

    frame: int
    time_s: float
    text: str

    @classmethod
    def of(cls, sighting: Sighting, text: str) -> Evidence:
        return cls(sighting.frame, sighting.time_s, text)


@dataclass(frozen=True, slots=True)
class Cause:
    """`id` is one of `CAUSES`, or None where nothing went wrong."""

    id: str | None
    text: str
    evidence: tuple[Evidence, ...] = ()

    def __post_init__(self) -> None:
        if self.id is not None and self.id not in CAUSES:
            raise ValueError(f"{self.id} is not in the list of causes")


def with_shown(found: Finding, evidence: list[Evidence]) -> Cause:
    """With what else shows it, in the order of the frames."""
    shown = [Evidence.of(sighting, text) for sighting, text in found.shown]
    return Cause(found.cause, found.text, tuple(sorted(evidence + shown, key=lambda e: e.frame)))


def last_delivered(connection: Connection, *, before: int) -> list[Evidence]:
    """The last byte that reached either end before a frame."""
    arrivals = [
        advance.arrival
        for direction in Direction
        for advance in connection.stream(direction).advances
        if advance.arrival.frame < before
    ]
    if not arrivals:
        return []
    last = max(arrivals, key=lambda a: a.frame)
    return [Evidence.of(last, f"last byte delivered, to {last.node}")]


def first_by(connection: Connection, device: str) -> list[Evidence]:
    """The first new byte each end received through `device`."""
    found = []
    for direction in Direction:
        for advance in connection.stream(direction).advances:
            if advance.device == device:
                text = f"first new byte delivered by {device}, to {advance.arrival.node}"
                found.append(Evidence.of(advance.arrival, text))
                break
    return sorted(found, key=lambda e: e.frame)


def moved_by_arp(connection: Connection, facts: Facts, device: str) -> list[Evidence]:
    """The announcement that moved the virtual server's address to `device`, if there was one."""
    wanted = str(connection.client.remote.address)
    for said in reversed(facts.announcements):
        if said.node == device and said.outgoing and said.address == wanted:
            text = f"{device} announces {wanted} (gratuitous ARP)"
            return [Evidence(said.frame, said.time_s, text)]
    return []


def describe(sighting: Sighting) -> str:
    segment = sighting.segment
    size = f", {len(segment.payload)} bytes" if segment.payload else ""
    return f"{segment.source} -> {segment.destination} [{segment.flag_names}{size}]"
