"""Segments of the device's own making, put on the wire whole (resets)."""

from __future__ import annotations

import socket

from emulator.wire.segment import Segment


class RawSender:
    """A raw IPv4 socket of the calling thread's namespace; the IP header is ours."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)

    def send(self, segment: Segment) -> None:
        """Route and emit; raises OSError when there is no route."""
        self._socket.sendto(segment.emit(), (str(segment.destination.address), 0))

    def close(self) -> None:
        self._socket.close()
