"""Packets of the device's own making, put on the wire whole: resets, probes, ICMP.

All carry a mark, by which the rules keep them out of connection tracking: none belongs to a
tracked connection, and an ICMP's quotation must not be translated. With TO_US they come back
in by `lo`, for a connection of the device's own, whose address need not be one of the device's.
"""

from __future__ import annotations

import socket

from emulator.wire.icmp import host_unreachable
from emulator.wire.segment import Endpoint, Segment

OUT, TO_US = 1, 2  # marks


class RawSender:
    """A raw IPv4 socket of the calling thread's namespace; the IP header is ours."""

    def __init__(self) -> None:
        self._sockets = {mark: _socket(mark) for mark in (OUT, TO_US)}

    def send(self, segment: Segment, *, to_us: bool = False) -> None:
        """Route and emit; raises OSError when there is no route."""
        self._send(segment.emit(), segment.destination, to_us)

    def send_unreachable(self, quoted: Segment, *, to_us: bool = False) -> None:
        """An ICMP host unreachable for `quoted`, to its source; raises OSError."""
        self._send(host_unreachable(quoted), quoted.source, to_us)

    def close(self) -> None:
        for made in self._sockets.values():
            made.close()

    def _send(self, packet: bytes, target: Endpoint, to_us: bool) -> None:
        self._sockets[TO_US if to_us else OUT].sendto(packet, (str(target.address), 0))


def _socket(mark: int) -> socket.socket:
    made = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, mark)
    return made
