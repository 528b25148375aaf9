"""Heartbeats that only the peer can have sent (`failover.secure`). Pure.

A BIG-IP puts them into DTLS (K90231443). Here each carries a counter and a tag over both; what
they say is no secret::

    | "HS" | version | 0 | counter (8) | heartbeat (wire.heartbeat) | HMAC-SHA256 (32) |

Rules
1. Each device signs with a key of its own, so nobody can send a device its own heartbeats back.
2. The counter grows with every heartbeat: the sender's wall clock in microseconds, or one more
   than the last, whichever is larger. So it grows across a restart without anything being kept.
3. A receiver takes only a counter above the last one it took. One that has just started takes
   none older than the failover time-out: the pair's clocks have to agree that well (NTP).
"""

from __future__ import annotations

import hashlib
import hmac
import struct

from emulator.core.refusals import Refused
from emulator.wire.heartbeat import SEALED, SEALED_HEAD, TAG_OCTETS

_COUNTER = struct.Struct("!Q")


class HeartbeatGuard:
    """Both directions of one device; `wall_us` is the wall clock, microseconds."""

    def __init__(
        self, own_key: bytes, peer_key: bytes, *, wall_us: int, tolerance_s: float
    ) -> None:
        self._own_key, self._peer_key = own_key, peer_key
        self._sent = 0
        self._taken = wall_us - int(tolerance_s * 1e6)

    def seal(self, heartbeat: bytes, wall_us: int) -> bytes:
        """A heartbeat as it goes out."""
        self._sent = max(self._sent + 1, wall_us)
        signed = SEALED + _COUNTER.pack(self._sent) + heartbeat
        return signed + _tag(self._own_key, signed)

    def unseal(self, data: bytes) -> bytes:
        """The heartbeat in what came in; raises Refused, and then nothing has changed."""
        if not data.startswith(SEALED) or len(data) < SEALED_HEAD + TAG_OCTETS:
            raise Refused("heartbeat-foreign", f"{len(data)} bytes without authentication")
        signed, tag = data[:-TAG_OCTETS], data[-TAG_OCTETS:]
        if not hmac.compare_digest(tag, _tag(self._peer_key, signed)):
            raise Refused("heartbeat-foreign", "its tag is wrong: the peer has not sent this")
        (counter,) = _COUNTER.unpack_from(signed, len(SEALED))
        if counter <= self._taken:
            raise Refused("heartbeat-replayed", f"counter {counter}, the last was {self._taken}")
        self._taken = counter
        return signed[SEALED_HEAD:]


def _tag(key: bytes, signed: bytes) -> bytes:
    return hmac.new(key, signed, hashlib.sha256).digest()
