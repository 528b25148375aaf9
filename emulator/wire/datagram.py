"""IPv4 + UDP headers (RFC 768): what a device and the judge need of a datagram.

`Datagram.parse` takes one IP packet; only `SegmentError` is ever raised, as by `wire.segment`.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from ipaddress import IPv4Address

from emulator.wire.segment import PROTO_UDP, Endpoint, SegmentError, checksum

_HEADER = 8


@dataclass(frozen=True, slots=True)
class Datagram:
    """One UDP datagram. `octets`: of its payload, which a header-only copy does not hold."""

    source: Endpoint
    destination: Endpoint
    payload: bytes = b""
    octets: int = 0
    identification: int = 0

    @classmethod
    def parse(cls, data: bytes) -> Datagram:
        """Parse one IP packet, whole or cut after its headers; SegmentError when it is not
        unfragmented IPv4 UDP."""
        if len(data) < 20 + _HEADER or data[0] >> 4 != 4 or data[9] != PROTO_UDP:
            raise SegmentError("not an IPv4 packet with room for UDP")
        ihl = (data[0] & 15) * 4
        if ihl < 20 or len(data) < ihl + _HEADER:
            raise SegmentError(f"IP header length {ihl} of {len(data)} bytes")
        (fragment,) = struct.unpack_from("!H", data, 6)
        if fragment & 0x3FFF:
            raise SegmentError("an IP fragment")
        total, identification = struct.unpack_from("!HH", data, 2)
        source, destination, length, _ = struct.unpack_from("!HHHH", data, ihl)
        if length < _HEADER or ihl + length > total:
            raise SegmentError(f"UDP length {length} in an IP packet of {total} bytes")
        return cls(
            Endpoint(IPv4Address(data[12:16]), source),
            Endpoint(IPv4Address(data[16:20]), destination),
            bytes(data[ihl + _HEADER : ihl + length]),
            length - _HEADER,
            identification,
        )

    def emit(self) -> bytes:
        """The IP packet, its header's checksum right, without one of UDP (RFC 768: optional)."""
        length = _HEADER + len(self.payload)
        if 20 + length > 0xFFFF:
            raise SegmentError("longer than an IP packet can be")
        src, dst = self.source.address.packed, self.destination.address.packed
        ip = bytearray(
            struct.pack(
                "!BBHHHBBH4s4s", 0x45, 0, 20 + length, self.identification, 0x4000, 64, PROTO_UDP,
                0, src, dst,
            )
        )  # fmt: skip
        ip[10:12] = checksum(bytes(ip)).to_bytes(2, "big")
        udp = struct.pack("!HHHH", self.source.port, self.destination.port, length, 0)
        return bytes(ip) + udp + self.payload
