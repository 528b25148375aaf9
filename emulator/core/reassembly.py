"""A received byte stream put together again from segments. Pure; offsets count from 0.

Segments come late, twice, overlapping and out of order. Of two copies of a byte the first
one counts. Memory is bounded: bytes further than LIMIT past the oldest one kept are not
taken, nor more than MAX_PIECES pieces beyond a gap, as if the segment had been lost; its
sender repeats what nobody acknowledges.
"""

from __future__ import annotations

import heapq

LIMIT = 16 << 20  # more than a receive and a send buffer of the kernel's hold together
MAX_PIECES = 65_536  # more than the kernel keeps, which counts some 700 bytes for each


class Reassembly:
    """The stream's contiguous part [start, end), and pieces beyond it."""

    __slots__ = ("_ahead", "_ahead_octets", "_data", "_offsets", "start")

    def __init__(self) -> None:
        self.start = 0
        self._data = bytearray()
        # None until there is a gap: most streams of a standby's thousands never have one.
        self._ahead: dict[int, bytes] | None = None
        self._offsets: list[int] | None = None  # of `_ahead`, a heap
        self._ahead_octets = 0

    @property
    def end(self) -> int:
        """Every byte before it has been received."""
        return self.start + len(self._data)

    @property
    def held(self) -> int:
        """Bytes in memory."""
        return len(self._data) + self._ahead_octets

    def insert(self, offset: int, data: bytes) -> bool:
        """Take a segment's bytes in; False when there is no room for them."""
        known = self.end - offset
        if known > 0:
            data, offset = data[known:], self.end
        if not data:
            return True
        if offset + len(data) > self.start + LIMIT:
            return False
        if offset == self.end:
            self._data += data
            self._take_ahead()
            return True
        if self._ahead is None or self._offsets is None:
            self._ahead, self._offsets = {}, []
        present = self._ahead.get(offset)
        if present is not None and len(data) <= len(present):
            return True
        more = len(data) - len(present or b"")
        crowded = present is None and len(self._ahead) >= MAX_PIECES
        if crowded or self._ahead_octets + more > LIMIT:
            return False
        if present is None:
            heapq.heappush(self._offsets, offset)
        self._ahead[offset] = (present or b"") + data[len(present or b"") :]
        self._ahead_octets += more
        return True

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
        while self._offsets and self._offsets[0] <= self.end:
            offset = heapq.heappop(self._offsets)
            assert self._ahead is not None
            data = self._ahead.pop(offset)
            self._ahead_octets -= len(data)
            self._data += data[self.end - offset :]
