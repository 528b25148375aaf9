"""IPv4 + TCP headers: parse and emit are inverses (RFC 791 section 3.1, RFC 9293 section 3.1).

`Segment.parse` takes one IP packet; bytes after the IP total length (Ethernet padding) are
ignored. Only `SegmentError` is ever raised.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Address
from typing import NamedTuple

from emulator.wire.seqnum import SeqNum

FIN, SYN, RST, PSH, ACK, URG = 0x01, 0x02, 0x04, 0x08, 0x10, 0x20
PROTO_TCP, PROTO_UDP = 6, 17

_IP = struct.Struct("!BBHHHBBH4s4s")
_TCP = struct.Struct("!HHIIBBHHH")
_NAMES = ((SYN, "SYN"), (FIN, "FIN"), (RST, "RST"), (ACK, "ACK"))


class SegmentError(ValueError):
    """The bytes are not a whole IPv4 TCP segment."""


class Endpoint(NamedTuple):
    """An address and a TCP port."""

    address: IPv4Address
    port: int

    def __str__(self) -> str:
        a, b, c, d = self.address.packed  # in half the time of the address's own text
        return f"{a}.{b}.{c}.{d}:{self.port}"

    def pack(self) -> bytes:
        """Six bytes, network order."""
        return self.address.packed + self.port.to_bytes(2, "big")

    @classmethod
    def unpack(cls, data: bytes) -> Endpoint:
        """Inverse of `pack`; raises SegmentError unless `data` is six bytes."""
        if len(data) != 6:
            raise SegmentError(f"an endpoint is 6 bytes, not {len(data)}")
        return cls(_address(bytes(data[:4])), int.from_bytes(data[4:], "big"))

    @classmethod
    def of(cls, text: str) -> Endpoint:
        """From "10.0.1.10:22"; raises SegmentError."""
        address, _, port = text.rpartition(":")
        try:
            number = int(port)
            if not 0 <= number < 65536:
                raise ValueError
            return cls(IPv4Address(address), number)
        except ValueError:
            raise SegmentError(f"not ADDRESS:PORT: {text!r}") from None


@lru_cache(4096)
def _address(packed: bytes) -> IPv4Address:
    """One object for all the endpoints that have it."""
    return IPv4Address(packed)


@dataclass(frozen=True, slots=True)
class Segment:
    """One TCP segment and what of its IP header is worth keeping."""

    source: Endpoint
    destination: Endpoint
    seq: SeqNum
    ack: SeqNum
    flags: int
    window: int = 0
    payload: bytes = b""
    options: bytes = b""
    ttl: int = 64
    identification: int = 0

    @property
    def octets(self) -> int:
        """Length in sequence space: payload, SYN and FIN count."""
        return len(self.payload) + bool(self.flags & SYN) + bool(self.flags & FIN)

    @property
    def end(self) -> SeqNum:
        """The sequence number after this segment."""
        return self.seq + self.octets

    @property
    def flag_names(self) -> str:
        """ "SYN,ACK" in the RFC's words; "none" when none is set."""
        return ",".join(name for bit, name in _NAMES if self.flags & bit) or "none"

    @classmethod
    def parse(cls, data: bytes) -> Segment:
        """Parse one IP packet; SegmentError when it is not IPv4 TCP, a fragment, or cut."""
        ihl, total = _ip_lengths(data)
        _, _, _, ident, fragment, ttl, protocol, _, src, dst = _IP.unpack_from(data)
        if protocol != PROTO_TCP:
            raise SegmentError(f"IP protocol {protocol} is not TCP")
        if fragment & 0x3FFF:
            raise SegmentError("an IP fragment")
        if total < ihl + 20 or len(data) < total:
            raise SegmentError(f"cut: {len(data)} bytes of {total}")
        sport, dport, seq, ack, offset, flags, window, _, _ = _TCP.unpack_from(data, ihl)
        header = (offset >> 4) * 4
        if header < 20 or ihl + header > total:
            raise SegmentError(f"TCP header length {header} does not fit")
        return cls(
            source=Endpoint(IPv4Address(src), sport),
            destination=Endpoint(IPv4Address(dst), dport),
            seq=SeqNum(seq),
            ack=SeqNum(ack),
            flags=flags,
            window=window,
            payload=bytes(data[ihl + header : total]),
            options=bytes(data[ihl + 20 : ihl + header]),
            ttl=ttl,
            identification=ident,
        )

    def emit(self) -> bytes:
        """The IP packet, both checksums right; options must be a multiple of 4 bytes."""
        if len(self.options) % 4 or len(self.options) > 40:
            raise SegmentError(f"{len(self.options)} bytes of options")
        tcp_length = 20 + len(self.options) + len(self.payload)
        if 20 + tcp_length > 0xFFFF:
            raise SegmentError("longer than an IP packet can be")
        src, dst = self.source.address.packed, self.destination.address.packed
        tcp = bytearray(
            _TCP.pack(
                self.source.port, self.destination.port, self.seq.value, self.ack.value,
                (20 + len(self.options)) << 2, self.flags, self.window, 0, 0,
            )
        )  # fmt: skip
        tcp += self.options + self.payload
        pseudo = src + dst + struct.pack("!HH", PROTO_TCP, tcp_length)
        tcp[16:18] = checksum(pseudo + bytes(tcp)).to_bytes(2, "big")
        ip = bytearray(
            _IP.pack(
                0x45, 0, 20 + tcp_length, self.identification, 0x4000,
                self.ttl, PROTO_TCP, 0, src, dst,
            )
        )  # fmt: skip
        ip[10:12] = checksum(bytes(ip)).to_bytes(2, "big")
        return bytes(ip + tcp)


def _ip_lengths(data: bytes) -> tuple[int, int]:
    """Header length and total length of an IPv4 packet, checked against the buffer."""
    if len(data) < 40 or data[0] >> 4 != 4:
        raise SegmentError("not an IPv4 packet with room for TCP")
    ihl = (data[0] & 15) * 4
    total = int.from_bytes(data[2:4], "big")
    if ihl < 20 or total < ihl or len(data) < ihl + 20:
        raise SegmentError(f"IP header length {ihl}, total length {total}")
    return ihl, total


def parse_headers(data: bytes) -> Segment:
    """As `Segment.parse` for a packet cut after its headers (NFQUEUE's header-only copy).

    The payload is replaced by as many zero bytes, so lengths and `octets` stay right.
    """
    _, total = _ip_lengths(data)
    return Segment.parse(bytes(data).ljust(total, b"\0"))


def reset_for(segment: Segment) -> Segment:
    """The RST that answers a segment no connection knows (RFC 9293, section 3.10.7.1)."""
    if segment.flags & ACK:
        seq, ack, flags = segment.ack, SeqNum(0), RST
    else:
        seq, ack, flags = SeqNum(0), segment.end, RST | ACK
    return Segment(segment.destination, segment.source, seq, ack, flags)


def checksum(data: bytes) -> int:
    """The Internet checksum of `data` (RFC 1071)."""
    if len(data) % 2:
        data += b"\0"
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF
