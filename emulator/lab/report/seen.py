"""Which captured connections an entry of result.json is about. Pure.

Most entries are one connection. Short requests and the connections of a client that comes again
are many, of one name; a UDP flow is told from datagrams, not segments.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from emulator.lab.judge import datagrams
from emulator.lab.judge.facts import Connection, Facts

Entry = Mapping[str, Any]
MANY = ("requests", "members")  # of an entry on many short connections


def seen(result: Mapping[str, Any], facts: Facts) -> list[list[Connection]]:
    """For each entry its connections; [] where the captures do not show one of them, so are not
    of this result."""
    flows = datagrams.flows(facts.raw_datagrams, facts.end_ns)
    found = [_of(entry, facts.connections, flows) for entry in result["connections"]]
    return found if all(found) else []


def _of(
    entry: Entry, connections: Sequence[Connection], flows: Sequence[Connection]
) -> list[Connection]:
    among = flows if "protocol" in entry else connections
    same = [c for c in among if str(c.client.local) == entry["client"]]
    if not any(key in entry for key in MANY):
        # A client's port may have been used before by one of those many.
        return [c for c in same if c.name == entry["name"]][:1] or same[:1]
    return [c for c in among if c.name == entry["name"]] if same else []


def telling(entry: Entry, its: Sequence[Connection]) -> Connection:
    """The one of them that the entry's evidence is from, or else the first."""
    frames = {e["frame"] for e in entry["cause"]["evidence"]}
    return next((c for c in its if frames & _frames(c)), its[0])


def _frames(connection: Connection) -> set[int]:
    return {s.frame for t, _ in connection.transmissions for s in t.sightings}
