"""What was refused of the peer, or of whoever says he is: counted by reason, and journalled.

Every refusal counts; the journal gets the first of a reason at once and then one line a second
at most, each with the number so far, so that a stranger cannot fill a disk.
"""

from __future__ import annotations

from dataclasses import dataclass

from emulator.core.commands import Note

QUIET_S = 1.0

REASONS = {
    "foreign-address": "a connection or heartbeat from an address that is not the peer's",
    "role": "a connection to the active device, which takes none",
    "no-tls": "clear text where TLS is asked for",
    "certificate": "no certificate, or one that is not the peer's",
    "handshake": "a TLS handshake that failed otherwise, or a connection that ended in it",
    "introduction": "a connection that did not begin with a whole hello in time",
    "too-many-connections": "more connections waiting to be introduced than are allowed",
    "altered": "a TLS record that is altered, replayed, missing or out of order",
    "truncated": "a TLS stream that ended without its sender saying so",
    "malformed": "not a mirror message, or one longer than its kind may be",
    "sequence": "a mirror message out of order, a second time, or acknowledged before it was sent",
    "session": "a peer with another traffic group, or in the wrong role",
    "limit-flows": "more mirrored flows than are allowed",
    "limit-persistence": "more mirrored persistence records than are allowed",
    "limit-reassembly": "more bytes of one flow than are kept",
    "limit-memory": "more bytes of all flows than are kept",
    "trust": "this device has no certificates or keys of its own to do it with",
    "heartbeat-malformed": "a datagram that is no heartbeat",
    "heartbeat-foreign": "a heartbeat whose authentication is missing or wrong",
    "heartbeat-replayed": "an authentic heartbeat that is not newer than the last one",
}


class Refused(Exception):
    """Not taken; nothing of it has been done. `reason`: one of REASONS."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason, self.detail = reason, detail


@dataclass(slots=True)
class Tally:
    """Of one reason. `told`: how many the journal knows of, and since when."""

    count: int = 0
    last: float = 0.0
    detail: str = ""
    told: float | None = None


class Refusals:
    """One device's."""

    def __init__(self) -> None:
        self.tallies: dict[str, Tally] = {}

    @property
    def total(self) -> int:
        return sum(tally.count for tally in self.tallies.values())

    @property
    def counts(self) -> dict[str, int]:
        """By reason."""
        return {reason: tally.count for reason, tally in sorted(self.tallies.items())}

    def add(self, reason: str, detail: str, now: float) -> list[Note]:
        """Count one; the journal's line, where it is time for one."""
        assert reason in REASONS, reason
        tally = self.tallies.setdefault(reason, Tally())
        tally.count += 1
        tally.last, tally.detail = now, detail
        if tally.told is not None and now - tally.told < QUIET_S:
            return []
        tally.told = now
        details: dict[str, object] = {"reason": reason, "detail": detail, "count": tally.count}
        return [Note("peer-refused", details)]
