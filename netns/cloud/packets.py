"""IPv4 headers as the fabric reads them: enough to filter, to spread, and to reset. Pure.

The fabric looks at addresses, ports and TCP flags and at nothing behind them.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from ipaddress import IPv4Address

ICMP, TCP, UDP = 1, 6, 17
FIN, SYN, RST, ACK = 0x01, 0x02, 0x04, 0x10
_ICMP_ERRORS = (3, 11, 12)
_TTL = 64


@dataclass(frozen=True, slots=True)
class Packet:
    """One packet's addresses. Ports are 0 where the protocol has none; an ICMP query's
    identifier stands in both. `flags`, `seq`, `ack`: TCP's; `size`: bytes of TCP payload."""

    protocol: int
    source: IPv4Address
    destination: IPv4Address
    source_port: int = 0
    destination_port: int = 0
    flags: int = 0
    seq: int = 0
    ack: int = 0
    size: int = 0
    icmp_error: bool = False

    @property
    def opens(self) -> bool:
        """Whether it may begin a conversation: a SYN, or anything that is not TCP."""
        return self.protocol != TCP or self.flags & (SYN | ACK | RST) == SYN

    @property
    def key(self) -> tuple[object, ...]:
        """The five-tuple as the packet has it."""
        return (
            self.protocol, self.source, self.source_port, self.destination, self.destination_port,
        )  # fmt: skip

    @property
    def reverse_key(self) -> tuple[object, ...]:
        """The five-tuple of the answers."""
        return (
            self.protocol, self.destination, self.destination_port, self.source, self.source_port,
        )  # fmt: skip


def parse(data: bytes) -> Packet:
    """Read an IPv4 packet's headers; raises ValueError for what is none or is cut."""
    if len(data) < 20 or data[0] >> 4 != 4:
        raise ValueError("no IPv4 header")
    start = (data[0] & 15) * 4
    protocol = data[9]
    source, destination = IPv4Address(data[12:16]), IPv4Address(data[16:20])
    if int.from_bytes(data[6:8], "big") & 0x1FFF:  # a later fragment: no ports
        return Packet(protocol, source, destination)
    rest = data[start:]
    if protocol == TCP and len(rest) >= 20:
        sport, dport, seq, ack, offset, flags = struct.unpack_from("!HHIIBB", rest)
        size = int.from_bytes(data[2:4], "big") - start - (offset >> 4) * 4
        return Packet(protocol, source, destination, sport, dport, flags, seq, ack, size)
    if protocol == UDP and len(rest) >= 4:
        sport, dport = struct.unpack_from("!HH", rest)
        return Packet(protocol, source, destination, sport, dport)
    if protocol == ICMP and len(rest) >= 6:
        identifier = int.from_bytes(rest[4:6], "big")
        error = rest[0] in _ICMP_ERRORS
        return Packet(protocol, source, destination, identifier, identifier, icmp_error=error)
    if protocol in (TCP, UDP, ICMP):
        raise ValueError("a header is cut")
    return Packet(protocol, source, destination)


def reset_for(packet: Packet) -> bytes:
    """The IPv4 packet that resets the sender's connection, from whom it was sent to
    (RFC 9293, 3.10.7.1)."""
    if packet.flags & ACK:
        seq, ack, flags = packet.ack, 0, RST
    else:
        taken = packet.size + bool(packet.flags & SYN) + bool(packet.flags & FIN)
        seq, ack, flags = 0, (packet.seq + taken) % 2**32, RST | ACK
    ends = packet.destination.packed + packet.source.packed
    ports = (packet.destination_port, packet.source_port)
    tcp = struct.pack("!HHIIBBHHH", *ports, seq, ack, 5 << 4, flags, 0, 0, 0)
    total = _sum(ends + struct.pack("!HH", TCP, len(tcp)) + tcp)
    tcp = tcp[:16] + struct.pack("!H", total) + tcp[18:]
    # The kernel fills in identification and header checksum (IP_HDRINCL).
    return struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(tcp), 0, 0, _TTL, TCP, 0) + ends + tcp


def _sum(data: bytes) -> int:
    """The Internet checksum (RFC 1071) of an even number of bytes."""
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF
