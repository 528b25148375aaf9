"""A received byte stream put together again from segments. Pure; offsets count from 0.

Segments come late, twice, overlapping and out of order. Of two copies of a byte the first
one counts. Memory is bounded: bytes further than LIMIT past the oldest one kept are not
taken, nor more than MAX_PIECES pieces beyond a gap, as if the segment had been lost; its
sender repeats what nobody acknowledges.

A segment of some size is kept as it came, and forgotten with its last byte; smaller ones are put
together, for each by itself would cost more than its bytes.
"""

from __future__ import annotations

import heapq

LIMIT = 16 << 20  # more than a receive and a send buffer of the kernel's hold together
MAX_PIECES = 65_536  # more than the kernel keeps, which counts some 700 bytes for each
LARGE = 4096  # kept as it came

Piece = bytes | bytearray | memoryview


class Reassembly:
    """The stream's contiguous part [start, end), and pieces beyond it."""

    __slots__ = ("_ahead", "_ahead_octets", "_offsets", "_pieces", "_skip", "end", "start")

    def __init__(self) -> None:
        self.start = 0
        self.end = 0  # every byte before it has been received
        # None while there are none, as in most of a standby's thousands of streams.
        self._pieces: list[Piece] | None = None
        self._skip = 0  # of the first, which is a large one, so many lie before `start`
        self._ahead: dict[int, bytes] | None = None
        self._offsets: list[int] | None = None  # of `_ahead`, a heap
        self._ahead_octets = 0

    @property
    def held(self) -> int:
        """Bytes in memory."""
        return self.end - self.start + self._skip + self._ahead_octets

    def insert(self, offset: int, data: Piece) -> bool:
        """Take a segment's bytes in, which must not change afterwards; False when there is no
        room for them."""
        known = self.end - offset
        if known > 0:
            data, offset = data[known:], self.end
        if not data:
            return True
        if offset + len(data) > self.start + LIMIT:
            return False
        if offset == self.end:
            self._append(data)
            if self._offsets:
                self._take_ahead(self._offsets)
            return True
        return self._keep_ahead(offset, bytes(data))

    def trim(self, offset: int) -> None:
        """Forget what lies before `offset`; what is not received yet cannot be forgotten."""
        offset = min(offset, self.end)
        if offset <= self.start or self._pieces is None:
            return
        skip = self._skip + offset - self.start
        self.start = offset
        if offset == self.end:
            self._pieces, self._skip = None, 0
            return
        gone = 0
        while skip >= len(self._pieces[gone]):
            skip -= len(self._pieces[gone])
            gone += 1
        del self._pieces[:gone]
        first = self._pieces[0]
        if isinstance(first, bytearray):
            del first[:skip]
            skip = 0
        self._skip = skip

    def read(self, start: int, end: int) -> bytes:
        """The bytes [start, end), all of them received and not trimmed."""
        begin = self.start - self._skip
        return b"".join(self._pieces or ())[start - begin : end - begin]

    def _append(self, data: Piece) -> None:
        self.end += len(data)
        if self._pieces is None:
            self._pieces = []
        last = self._pieces[-1] if self._pieces else None
        if len(data) >= LARGE:
            self._pieces.append(data)
        elif isinstance(last, bytearray) and len(last) < LARGE:
            last += data
        else:
            self._pieces.append(bytearray(data))

    def _keep_ahead(self, offset: int, data: bytes) -> bool:
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

    def _take_ahead(self, offsets: list[int]) -> None:
        while offsets and offsets[0] <= self.end:
            offset = heapq.heappop(offsets)
            assert self._ahead is not None
            data = self._ahead.pop(offset)
            self._ahead_octets -= len(data)
            if data := data[self.end - offset :]:
                self._append(data)
