"""ARP over Ethernet for IPv4 (RFC 826), as whole frames.

destination 6 | source 6 | 0x0806 | 1 | 0x0800 | 6 | 4 | opcode 2
sender hardware 6 | sender address 4 | target hardware 6 | target address 4
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from ipaddress import IPv4Address

REQUEST, REPLY = 1, 2
BROADCAST = "ff:ff:ff:ff:ff:ff"
NOBODY = "00:00:00:00:00:00"
ETHERTYPE = 0x0806
_FRAME = struct.Struct("!6s6sHHHBBH6s4s6s4s")
_ETHERNET, _IPV4 = 1, 0x0800


class ArpError(ValueError):
    """Not an ARP frame for IPv4 over Ethernet."""


@dataclass(frozen=True, slots=True)
class Arp:
    """One ARP packet. MACs as "02:6d:...". `to`: the frame's destination MAC."""

    opcode: int
    sender_mac: str
    sender: IPv4Address
    target_mac: str
    target: IPv4Address
    to: str = BROADCAST

    @property
    def gratuitous(self) -> bool:
        """Whether it tells everybody where its sender is (RFC 5227: an announcement)."""
        return self.sender == self.target and bool(int(self.sender))

    def emit(self) -> bytes:
        """The frame, sent from the sender's MAC."""
        source = _bytes(self.sender_mac)
        return _FRAME.pack(
            _bytes(self.to), source, ETHERTYPE, _ETHERNET, _IPV4, 6, 4, self.opcode,
            source, self.sender.packed, _bytes(self.target_mac), self.target.packed,
        )  # fmt: skip

    @classmethod
    def parse(cls, frame: bytes) -> Arp:
        """Raises ArpError. What follows the packet (padding) is ignored."""
        if len(frame) < _FRAME.size:
            raise ArpError(f"{len(frame)} bytes are too few for ARP")
        to, _, kind, hardware, protocol, *sizes, opcode, mac, sender, asked, target = (
            _FRAME.unpack_from(frame)
        )
        if (kind, hardware, protocol, sizes) != (ETHERTYPE, _ETHERNET, _IPV4, [6, 4]):
            raise ArpError("not ARP for IPv4 over Ethernet")
        return cls(
            opcode, mac.hex(":"), IPv4Address(sender), asked.hex(":"), IPv4Address(target),
            to.hex(":"),
        )  # fmt: skip


def announcement(mac: str, address: IPv4Address) -> Arp:
    """A gratuitous ARP request: everybody who knows `address` learns that it is at `mac`."""
    return Arp(REQUEST, mac, address, NOBODY, address)


def answer(request: Arp, mac: str) -> Arp:
    """The reply that `mac` has the address `request` asks for."""
    return Arp(REPLY, mac, request.target, request.sender_mac, request.sender, request.sender_mac)


def _bytes(mac: str) -> bytes:
    return bytes.fromhex(mac.replace(":", ""))
