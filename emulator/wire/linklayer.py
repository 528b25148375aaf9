"""From a captured frame of any common link type to the TCP segment in it. Pure.

For recordings made elsewhere: Ethernet with VLAN tags, PPPoE and MPLS, Linux cooked captures
(SLL, SLL2), raw IP, BSD null/loopback, PPP; IPv4 and IPv6, whole or cut by a snapshot length.
Sources: RFC 791, RFC 8200, RFC 9293; link types as in tcpdump.org's list. The lab's own
captures are read by `wire.segment`, which insists on whole packets.
"""

from __future__ import annotations

import struct
from enum import Enum
from typing import NamedTuple

from emulator.wire.segment import PROTO_TCP

_NULL, _ETHERNET, _PPP, _LOOP, _SLL, _SLL2 = 0, 1, 9, 108, 113, 276
_RAW = (12, 14, 101, 228, 229)
LINKTYPES = frozenset((_NULL, _ETHERNET, _PPP, _LOOP, _SLL, _SLL2, *_RAW))
_IPV4, _IPV6, _PPPOE, _MPLS = 0x0800, 0x86DD, 0x8864, 0x8847
_TAGS = (0x8100, 0x88A8, 0x9100)
_EXTENSIONS = (0, 43, 60)  # hop-by-hop, routing, destination options
_IPV6_FRAGMENT = 44
_TCP = struct.Struct("!HHIIBBH")


class NoSegment(Enum):
    """Why a frame has none."""

    NOT_IP = "not IP"
    NOT_TCP = "not TCP"
    FRAGMENT = "an IP fragment"
    CUT = "cut before the end of the TCP header"
    MALFORMED = "malformed"


class Seen(NamedTuple):
    """A segment as it was captured. `source`, `destination`: packed address and port, 6 or 18
    bytes; `payload` may be cut: `octets` says how many bytes there were."""

    source: bytes
    destination: bytes
    seq: int
    ack: int
    flags: int
    payload: bytes
    octets: int


def segment_in(linktype: int, data: bytes, length: int) -> Seen | NoSegment:
    """The segment in a frame of `length` bytes, of which `data` was captured."""
    start = network_layer(linktype, data)
    if start is None or len(data) <= start:
        return NoSegment.NOT_IP
    version = data[start] >> 4
    if version == 4:
        return _in_ipv4(data, start, length)
    if version == 6:
        return _in_ipv6(data, start, length)
    return NoSegment.NOT_IP


def network_layer(linktype: int, data: bytes) -> int | None:
    """Where the IP packet in a frame begins; None where it has none."""
    if linktype in _RAW:
        return 0
    if linktype in (_NULL, _LOOP):
        return 4
    if linktype == _PPP:
        return 4 if data[:2] == b"\xff\x03" else 2
    place = {_ETHERNET: (12, 14), _SLL: (14, 16), _SLL2: (0, 20)}.get(linktype)
    return None if place is None else _after_tags(data, *place)


def _after_tags(data: bytes, at: int, start: int) -> int | None:
    """Behind VLAN tags, a PPPoE header or MPLS labels; `at`: of the EtherType."""
    kind = int.from_bytes(data[at : at + 2], "big")
    while kind in _TAGS and len(data) >= start + 4:
        kind = int.from_bytes(data[start + 2 : start + 4], "big")
        start += 4
    if kind == _MPLS:
        while len(data) >= start + 4 and not data[start + 2] & 1:
            start += 4
        return start + 4
    if kind == _PPPOE:
        return start + 8
    return start if kind in (_IPV4, _IPV6) else None


def _in_ipv4(data: bytes, start: int, length: int) -> Seen | NoSegment:
    if len(data) < start + 20:
        return NoSegment.CUT
    header = (data[start] & 15) * 4
    total = int.from_bytes(data[start + 2 : start + 4], "big")
    if total == 0:  # segmentation offload: the sender's kernel had not cut it up yet
        total = length - start
    if header < 20 or total < header or start + total > length:
        return NoSegment.MALFORMED
    if data[start + 9] != PROTO_TCP:
        return NoSegment.NOT_TCP
    if int.from_bytes(data[start + 6 : start + 8], "big") & 0x3FFF:
        return NoSegment.FRAGMENT
    ends = data[start + 12 : start + 16], data[start + 16 : start + 20]
    return _tcp(data, start + header, start + total, ends)


def _in_ipv6(data: bytes, start: int, length: int) -> Seen | NoSegment:
    if len(data) < start + 40:
        return NoSegment.CUT
    total = 40 + int.from_bytes(data[start + 4 : start + 6], "big")
    if total == 40:
        total = length - start
    if start + total > length:
        return NoSegment.MALFORMED
    kind, at = data[start + 6], start + 40
    while kind in _EXTENSIONS:
        if len(data) < at + 8:
            return NoSegment.CUT
        kind, at = data[at], at + 8 + data[at + 1] * 8
    if kind == _IPV6_FRAGMENT:
        return NoSegment.FRAGMENT
    if kind != PROTO_TCP:
        return NoSegment.NOT_TCP
    return _tcp(
        data, at, start + total, (data[start + 8 : start + 24], data[start + 24 : start + 40])
    )


def _tcp(data: bytes, at: int, end: int, ends: tuple[bytes, bytes]) -> Seen | NoSegment:
    """`end`: where the IP packet ends, which may be beyond what was captured."""
    if len(data) < at + 20:
        return NoSegment.CUT if end >= at + 20 else NoSegment.MALFORMED
    _, _, seq, ack, offset, flags, _ = _TCP.unpack_from(data, at)
    payload = at + (offset >> 4) * 4
    if payload < at + 20 or payload > end:
        return NoSegment.MALFORMED
    return Seen(
        bytes(ends[0]) + bytes(data[at : at + 2]),
        bytes(ends[1]) + bytes(data[at + 2 : at + 4]),
        seq, ack, flags, bytes(data[payload:end]), end - payload,
    )  # fmt: skip
