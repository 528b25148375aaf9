"""Source-address persistence: a client's next connection goes where its last one went.

A record per virtual server and client address holds the pool member. It is made when the
client's first connection is balanced, used and refreshed by each new one, and expires when
none has come for the profile's time-out (`source_addr`, 180 s); connections that go on do not
refresh it.

Mirroring (`mirror enabled` of the persistence profile): a record goes to the peer when it is
made and when it expires (F5), and all of them when a channel begins. Use is not mirrored, so
the peer knows no record's age: it keeps what it was given until it is told otherwise or becomes
active, and then begins to count.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address

from emulator.core.config import VirtualServer
from emulator.wire.mirrorparts import PersistRecord
from emulator.wire.segment import Endpoint

Key = tuple[str, IPv4Address]


@dataclass(slots=True)
class _Entry:
    record: PersistRecord
    used: float


class Persistence:
    """One device's records. `now`, seconds, as everywhere."""

    def __init__(self, servers: tuple[VirtualServer, ...]) -> None:
        self._servers = {v.name: v for v in servers}
        self._entries: dict[Key, _Entry] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, key: Key) -> bool:
        return key in self._entries

    def keys(self) -> list[Key]:
        """Virtual server and client address of every record."""
        return list(self._entries)

    def member(self, server: VirtualServer, client: IPv4Address, now: float) -> Endpoint | None:
        """Where the client's new connection has to go; None without a record, or when the
        member is not in the pool any more."""
        entry = self._entries.get((server.name, client))
        if entry is None or entry.record.member not in server.pool:
            return None
        if now - entry.used >= entry.record.timeout_s:
            return None  # the sweep comes once a second
        entry.used = now
        return entry.record.member

    def keep(
        self, server: VirtualServer, client: IPv4Address, member: Endpoint, now: float
    ) -> PersistRecord | None:
        """The client was balanced to `member`: the record made of it, None where none is."""
        if not server.persistence_s:
            return None
        record = PersistRecord(server.name, client, member, server.persistence_s)
        self.enter(record, now)
        return record

    def enter(self, record: PersistRecord, now: float) -> None:
        """A record of our own, or the peer's."""
        self._entries[record.virtual_server, record.client] = _Entry(record, now)

    def forget(self, server: str, client: IPv4Address) -> None:
        """The peer's has expired."""
        self._entries.pop((server, client), None)

    def rewind(self, now: float) -> None:
        """Active from now on: the records count as used this moment."""
        for entry in self._entries.values():
            entry.used = now

    def expire(self, now: float) -> list[PersistRecord]:
        """Forget what was not used for its time-out; returns it."""
        over = [e.record for e in self._entries.values() if now - e.used >= e.record.timeout_s]
        for record in over:
            self.forget(record.virtual_server, record.client)
        return over

    def mirrored(self, name: str) -> bool:
        """Whether the records of the virtual server of this name go to the peer."""
        server = self._servers.get(name)
        return server is not None and server.persistence_mirroring

    def to_mirror(self) -> list[PersistRecord]:
        """What a new channel begins with."""
        records = [e.record for e in self._entries.values()]
        return [r for r in records if self.mirrored(r.virtual_server)]

    def listing(self, now: float) -> list[dict[str, object]]:
        """Every record, oldest first, for the operator; `age_s` since its last use."""
        return [
            {
                "mode": "source-address",
                "client": str(e.record.client),
                "virtual_server": e.record.virtual_server,
                "member": str(e.record.member),
                "age_s": round(max(0.0, now - e.used), 1),
            }
            for e in self._entries.values()
        ]
