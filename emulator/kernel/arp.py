"""ARP packets of the device's own making, and an interface's MAC address. Effects only.

A device answers for its floating addresses itself, as a TMM does: the kernel has them on `lo`
and is told to answer for none of those (`arp_ignore` 1, set by the world's plan), so a
device whose process died answers no more.
"""

from __future__ import annotations

import socket
import struct
from fcntl import ioctl

from emulator.wire.arp import ETHERTYPE, Arp, ArpError

_SIOCSIFHWADDR, _ARPHRD_ETHER = 0x8924, 1


class ArpSocket:
    """All ARP that comes in by one interface of the calling thread's namespace: a packet socket
    for one protocol sees nothing that goes out. Raises OSError."""

    def __init__(self, interface: str) -> None:
        self.interface = interface
        self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETHERTYPE))
        self.socket.bind((interface, ETHERTYPE))
        self.socket.setblocking(False)

    def receive(self) -> Arp | None:
        """The next packet that came in, or None when there is none."""
        while True:
            try:
                frame = self.socket.recv(128)
            except (BlockingIOError, InterruptedError):
                return None
            try:
                return Arp.parse(frame)
            except ArpError:
                continue

    def send(self, packet: Arp) -> None:
        """Raises OSError."""
        self.socket.send(packet.emit())

    def close(self) -> None:
        self.socket.close()


def set_mac(interface: str, mac: str) -> None:
    """Give the interface, while it is up, this MAC address; raises OSError."""
    hardware = bytes.fromhex(mac.replace(":", ""))
    request = struct.pack("16sH6s8x", interface.encode(), _ARPHRD_ETHER, hardware)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as handle:
        ioctl(handle, _SIOCSIFHWADDR, request)
