"""A client that opens one short connection after the other: one verdict on all of them. Pure.

What matters of them is not whether one of them lives through a failover, but whether the next one
works and which pool member it goes to: a client with a persistence record goes where it went
before. A connection is one a member *answered* when bytes of that member's came to the client.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from emulator.lab.judge.facts import Connection
from emulator.lab.judge.tracing import Sighting

SHORT = frozenset({"reconnect"})
_RECENT_S = 3.0


@dataclass(frozen=True, slots=True)
class Answered:
    """One connection: which member answered, by which device, and when its SYN was sent."""

    time_s: float
    client: str
    member: str
    device: str


@dataclass(frozen=True, slots=True)
class Members:
    """Where the returning client's connections went. `before`, `after`: the first device's, and
    another's; `failed` of all brought no answer."""

    each: tuple[Answered, ...]
    before: tuple[str, ...]
    after: tuple[str, ...]
    failed: int

    @property
    def moved(self) -> bool | None:
        """Whether the client, always sent to one member, was sent elsewhere; None: not seen."""
        if len(self.before) != 1 or not self.after:
            return None
        return self.after != self.before


def returning(connections: Sequence[Connection]) -> list[Connection]:
    """Those of the client that comes again and again, by its address."""
    addresses = Counter(c.client.local.address for c in connections)
    [(most, _)] = addresses.most_common(1)
    return [c for c in connections if c.client.local.address == most]


def answered(connection: Connection) -> Answered | None:
    """Who answered it."""
    advances = connection.to_client.advances
    if not advances or connection.server is None:
        return None
    device = advances[0].device
    first = connection.transmissions[0][0].origin
    client = str(connection.client.local.address)
    return Answered(first.time_s, client, connection.server.node, device or "no device")


def members(connections: Sequence[Connection]) -> Members:
    """Of all connections; before and after of the returning client's."""
    everyone = [a for c in connections if (a := answered(c)) is not None]
    own = [a for c in returning(connections) if (a := answered(c)) is not None]
    first = own[0].device if own else ""
    before = tuple(dict.fromkeys(a.member for a in own if a.device == first))
    after = tuple(dict.fromkeys(a.member for a in own if a.device != first))
    return Members(tuple(everyone), before, after, len(connections) - len(everyone))


def merged(connections: Sequence[Connection]) -> Connection:
    """All of the returning client's as one, for figures that are sums and sequences."""
    own = returning(connections)
    first = own[0]
    whole = Connection(first.name, first.client, first.isn, first.server, end_ns=first.end_ns)
    for connection in own:
        whole.transmissions += connection.transmissions
        whole.to_client.advances += connection.to_client.advances
        whole.to_server.advances += connection.to_server.advances
    return whole


def works(connections: Sequence[Connection]) -> bool:
    """Whether connections are answered at the end."""
    own = returning(connections)
    times = [c.to_client.advances[0].arrival.time_ns for c in own if c.to_client.advances]
    return bool(times) and own[0].end_ns - max(times) < _RECENT_S * 1e9


def shown(connections: Sequence[Connection]) -> tuple[tuple[Sighting, str], ...]:
    """The last answer by the first device, and the first by another."""
    answers = [
        (c.to_client.advances[0], c.server.node)
        for c in returning(connections)
        if c.to_client.advances and c.server is not None
    ]
    found = []
    for (old, was), (new, member) in pairwise(answers):
        if old.device != new.device:
            found = [
                (old.arrival, f"last answer by {old.device}, of {was}"),
                (new.arrival, f"first answer by {new.device}, of {member}"),
            ]
    return tuple(found)


def in_words(found: Members, shown_: Sequence[object]) -> tuple[str | None, str]:
    """The cause, if any, and its sentence."""
    before, after = ", ".join(found.before), ", ".join(found.after)
    if not found.after or not shown_:
        return None, f"One device sent every connection to {before}."
    if found.moved is None:
        return None, f"New connections went to {before} before, and to {after} since."
    if found.moved:
        return (
            "persistence-lost",
            f"The client's connections went to {before}. By the new active device, which knows "
            f"no persistence record of it, they go to {after}.",
        )
    return None, (
        f"New connections go to {after} as they did before: the new active device knows the client."
    )
