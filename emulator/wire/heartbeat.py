"""Network-failover heartbeats (UDP 1026).

F5 documents the port, the time-out (3 s) and that they say each unit's state; the layout
is ours::

    | "HB" | version | role: 0 standby, 1 active | flags | order | sequence (4) | name |

Flags: bit 0, *resigned*: standby because an operator said so, so the peer shall take over
now instead of waiting for the time-out. Bit 1, *heir*: standby to a device it last heard say
it was active: it holds what is mirrored, and is the one to take over. Bits 2 to 7: how often the
device has become active since it started, modulo 64; so a peer that heard nothing of it
meanwhile knows that it was.

Where `failover.secure` is on, the same bytes stand between SEALED, a counter (8) and a tag
(`core.heartbeatguard`).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

VERSION = 1
_LAYOUT = struct.Struct("!2sBBBBI")
_RESIGNED, _HEIR = 0x01, 0x02
TAKEOVERS = 64  # they are counted modulo this
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
    heir: bool = False
    takeovers: int = 0

    def emit(self) -> bytes:
        flags = _RESIGNED * self.resigned | _HEIR * self.heir | self.takeovers % TAKEOVERS << 2
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
        if magic != b"HB" or version != VERSION or role > 1:
            raise HeartbeatError(f"not a version {VERSION} heartbeat")
        try:
            device = data[_LAYOUT.size :].decode()
        except UnicodeDecodeError:
            raise HeartbeatError("the device's name is not UTF-8") from None
        resigned, heir = bool(flags & _RESIGNED), bool(flags & _HEIR)
        return cls(device, bool(role), resigned, order, sequence, heir, flags >> 2)
