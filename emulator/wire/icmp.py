"""ICMP host unreachable, as a router on the way would answer a TCP segment (RFC 792)."""

from __future__ import annotations

import struct

from emulator.wire.segment import Segment, checksum

_IP = struct.Struct("!BBHHHBBH4s4s")
_ICMP = struct.Struct("!BBHI")
_UNREACHABLE, _HOST = 3, 1
_QUOTED = 28  # an IPv4 header without options, and the first 8 bytes of TCP: ports, sequence


def host_unreachable(quoted: Segment) -> bytes:
    """The IP packet that tells `quoted`'s sender so; it comes from where that was to go."""
    message = bytearray(_ICMP.pack(_UNREACHABLE, _HOST, 0, 0) + quoted.emit()[:_QUOTED])
    message[2:4] = checksum(bytes(message)).to_bytes(2, "big")
    source, target = quoted.destination.address.packed, quoted.source.address.packed
    header = bytearray(_IP.pack(0x45, 0, _IP.size + len(message), 0, 0, 64, 1, 0, source, target))
    header[10:12] = checksum(bytes(header)).to_bytes(2, "big")
    return bytes(header + message)
