"""Network-failover heartbeats (UDP 1026).

F5 documents the port, the time-out (3 s) and that they say each unit's state; the layout
is ours::

    | "HB" | version | role: 0 standby, 1 active | flags | order | sequence (4) | name |

Flag bit 0, *resigned*: standby because an operator said so, so the peer shall take over
now instead of waiting for the time-out.

Where `failover.secure` is on, the same bytes stand between SEALED, a counter (8) and a tag
(`core.heartbeatguard`).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

VERSION = 1
_LAYOUT = struct.Struct("!2sBBBBI")
_RESIGNED = 0x01
SEALED = b"HS\x01\x00"
SEALED_HEAD = len(SEALED) + 8
TAG_OCTETS = 32


def unsealed(data: bytes) -> bytes:
    """The heartbeat in a datagram as a capture has it, its authentication not looked at."""
    return data[SEALED_HEAD:-TAG_OCTETS] if data.startswith(SEALED) else data


class HeartbeatError(ValueError):
    """The datagram is not a heartbeat."""


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """What one device says of itself. `order`: its place in the HA order, 0 first."""

    device: str
    active: bool
    resigned: bool
    order: int
    sequence: int

    def emit(self) -> bytes:
        flags = _RESIGNED if self.resigned else 0
        head = _LAYOUT.pack(
            b"HB", VERSION, int(self.active), flags, self.order, self.sequence & 0xFFFFFFFF
        )
        return head + self.device.encode()

    @classmethod
    def parse(cls, data: bytes) -> Heartbeat:
        """Inverse of `emit`; raises HeartbeatError."""
        if len(data) < _LAYOUT.size or len(data) > 256:
            raise HeartbeatError(f"a heartbeat of {len(data)} bytes")
        magic, version, role, flags, order, sequence = _LAYOUT.unpack_from(data)
        if magic != b"HB" or version != VERSION or role > 1 or flags & ~_RESIGNED:
            raise HeartbeatError(f"not a version {VERSION} heartbeat")
        try:
            device = data[_LAYOUT.size :].decode()
        except UnicodeDecodeError:
            raise HeartbeatError("the device's name is not UTF-8") from None
        return cls(device, bool(role), bool(flags & _RESIGNED), order, sequence)
