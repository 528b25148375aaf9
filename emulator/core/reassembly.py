"""A received byte stream put together again from segments. Pure; offsets count from 0.

Segments come late, twice, overlapping and out of order. Of two copies of a byte the first
one counts. Memory is bounded: bytes further than LIMIT past the oldest one kept are not
taken, as if the segment had been lost; its sender repeats what nobody acknowledges.
"""

from __future__ import annotations

LIMIT = 16 << 20  # more than a receive and a send buffer of the kernel's hold together


class Reassembly:
    """The stream's contiguous part [start, end), and pieces beyond it."""

    __slots__ = ("_ahead", "_ahead_octets", "_data", "start")

    def __init__(self) -> None:
        self.start = 0
        self._data = bytearray()
        self._ahead: dict[int, bytes] = {}
        self._ahead_octets = 0

    @property
    def end(self) -> int:
        """Every byte before it has been received."""
        return self.start + len(self._data)

    @property
    def held(self) -> int:
        """Bytes in memory."""
        return len(self._data) + self._ahead_octets

    def insert(self, offset: int, data: bytes) -> None:
        """Take a segment's bytes in."""
        known = self.end - offset
        if known > 0:
            data, offset = data[known:], self.end
        if not data or offset + len(data) > self.start + LIMIT:
            return
        if offset == self.end:
            self._data += data
            self._take_ahead()
            return
        present = self._ahead.get(offset, b"")
        if len(data) > len(present) and self._ahead_octets + len(data) <= LIMIT:
            self._ahead[offset] = present + data[len(present) :]
            self._ahead_octets += len(data) - len(present)

    def trim(self, offset: int) -> None:
        """Forget what lies before `offset`; what is not received yet cannot be forgotten."""
        count = min(offset, self.end) - self.start
        if count > 0:
            del self._data[:count]
            self.start += count

    def read(self, start: int, end: int) -> bytes:
        """The bytes [start, end), all of them received and not trimmed."""
        return bytes(self._data[start - self.start : end - self.start])

    def _take_ahead(self) -> None:
        while self._ahead:
            offset = min(self._ahead)
            if offset > self.end:
                return
            data = self._ahead.pop(offset)
            self._ahead_octets -= len(data)
            self._data += data[self.end - offset :]
