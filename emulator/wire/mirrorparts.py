"""Parts of the mirroring channel's messages: names, protocols, persistence records.

`wire.mirror` frames them; layouts are ours, as there.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from ipaddress import IPv4Address

from emulator.wire.segment import PROTO_TCP, PROTO_UDP, Endpoint

LONGEST_NAME = 200


class MirrorError(ValueError):
    """The peer sent something that is not a mirror message."""


@dataclass(frozen=True, slots=True)
class PersistRecord:
    """Source-address persistence: new connections of `client` go to `member`, until none has
    come for `timeout_s`."""

    virtual_server: str
    client: IPv4Address
    member: Endpoint
    timeout_s: int

    def emit(self) -> bytes:
        fixed = self.client.packed + self.member.pack() + struct.pack("!I", self.timeout_s)
        return fixed + text(self.virtual_server)

    @classmethod
    def parse(cls, body: bytes) -> PersistRecord:
        """Inverse of `emit`; raises MirrorError."""
        if not 14 <= len(body) <= 14 + LONGEST_NAME:
            raise MirrorError(f"a persistence record of {len(body)} bytes")
        (timeout,) = struct.unpack_from("!I", body, 10)
        try:
            name = body[14:].decode()
        except UnicodeDecodeError:
            raise MirrorError("a persistence record whose name is not UTF-8") from None
        return cls(name, IPv4Address(body[:4]), Endpoint.unpack(body[4:10]), timeout)


@dataclass(frozen=True, slots=True)
class PersistUp:
    """A persistence record was made."""

    record: PersistRecord


@dataclass(frozen=True, slots=True)
class PersistDown:
    """A persistence record has expired."""

    virtual_server: str
    client: IPv4Address


def text(value: str) -> bytes:
    """A name, in UTF-8; raises MirrorError."""
    data = value.encode()
    if len(data) > LONGEST_NAME:
        raise MirrorError(f"a name of {len(data)} bytes: at most {LONGEST_NAME} fit")
    return data


def protocol_byte(protocol: int) -> bytes:
    """The byte that says which protocol, where it is not TCP."""
    return b"" if protocol == PROTO_TCP else bytes([protocol])


def parse_protocol(rest: bytes) -> int:
    """Inverse of `protocol_byte`; raises MirrorError."""
    if rest not in (b"", bytes([PROTO_UDP])):
        raise MirrorError(f"a record ends in {rest[:8].hex()}, no protocol's number")
    return rest[0] if rest else PROTO_TCP


def parse_persist_down(body: bytes) -> PersistDown:
    """Raises MirrorError."""
    if not 4 <= len(body) <= 4 + LONGEST_NAME:
        raise MirrorError(f"a persistence key of {len(body)} bytes")
    try:
        return PersistDown(body[4:].decode(), IPv4Address(body[:4]))
    except UnicodeDecodeError:
        raise MirrorError("a persistence key whose name is not UTF-8") from None
