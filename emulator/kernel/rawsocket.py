"""Packets of the device's own making, put on the wire whole: resets, probes, ICMP.

All carry MARK, by which the rules keep them out of connection tracking: none belongs to a
tracked connection, and an ICMP's quotation must not be translated.
"""

from __future__ import annotations

import socket

from emulator.wire.icmp import host_unreachable
from emulator.wire.segment import Segment

MARK = 1


class RawSender:
    """A raw IPv4 socket of the calling thread's namespace; the IP header is ours."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, MARK)

    def send(self, segment: Segment) -> None:
        """Route and emit; raises OSError when there is no route."""
        self._socket.sendto(segment.emit(), (str(segment.destination.address), 0))

    def send_unreachable(self, quoted: Segment) -> None:
        """An ICMP host unreachable for `quoted`, to its source; raises OSError."""
        self._socket.sendto(host_unreachable(quoted), (str(quoted.source.address), 0))

    def close(self) -> None:
        self._socket.close()
