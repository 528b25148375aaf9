"""What a mirroring message says of a flow: who talks to whom, through which virtual server.

0        6         12     18       24     25        29     30
| client | virtual | snat | member | kind | timeout | size | name | protocol, if not TCP |
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache

from emulator.wire.mirrorparts import MirrorError, parse_protocol, protocol_byte, text
from emulator.wire.segment import PROTO_TCP, Endpoint

_RECORD = struct.Struct("!BIB")


class SnatKind(IntEnum):
    """Where a flow's server-side source address came from."""

    NONE = 0
    AUTOMAP = 1
    POOL = 2


@dataclass(frozen=True, slots=True)
class FlowRecord:
    """One flow, as the four columns of `show sys connection` give it.

    `client` -> `virtual` is the client-side flow, `snat` -> `member` the server-side one.
    """

    virtual_server: str
    client: Endpoint
    virtual: Endpoint
    snat: Endpoint
    member: Endpoint
    snat_kind: SnatKind
    idle_timeout_s: int
    protocol: int = PROTO_TCP  # or UDP's: then a byte more, behind the name

    @property
    def octets(self) -> int:
        """Of `emit`."""
        name = len(text(self.virtual_server))
        return 24 + _RECORD.size + name + len(protocol_byte(self.protocol))

    def emit(self) -> bytes:
        name = text(self.virtual_server)
        ends = b"".join(e.pack() for e in (self.client, self.virtual, self.snat, self.member))
        fixed = _RECORD.pack(self.snat_kind, self.idle_timeout_s, len(name))
        return ends + fixed + name + protocol_byte(self.protocol)

    @classmethod
    def parse(cls, body: bytes) -> FlowRecord:
        """Inverse of `emit`; raises MirrorError."""
        head = 24 + _RECORD.size
        if len(body) < head:
            raise MirrorError(f"a flow record of {len(body)} bytes")
        client, virtual, snat, member = (Endpoint.unpack(body[i : i + 6]) for i in (0, 6, 12, 18))
        kind, timeout, length = _RECORD.unpack_from(body, 24)
        protocol = parse_protocol(body[head + length :])
        if len(body) < head + length:
            raise MirrorError("the virtual server's name does not fill the record")
        try:
            name = _name(body[head : head + length])
            return cls(name, client, virtual, snat, member, SnatKind(kind), timeout, protocol)
        except ValueError as error:  # a bad name or SNAT kind
            raise MirrorError(f"flow record: {error}") from None


@lru_cache(256)
def _name(packed: bytes) -> str:
    """One object for all the records that have it."""
    return packed.decode()
