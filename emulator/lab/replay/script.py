"""What is to be replayed of one flow, on disk: who says what, in the recorded order.

A script is a file of records: time (s after the recording's first frame), number of the frame,
who says it, kind, octets; for data the bytes follow. Both ends read the same file from front
to back, so a flow of any size takes no memory.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from emulator.lab.replay.flows import CLIENT, SERVER, Flow

DATA, FILLER, FIN = 0, 1, 2
_RECORD = struct.Struct("<dQBBI")
CHUNK = 1 << 16
_TOGETHER_NS = 1_000_000  # what one end says within a millisecond is said at once
_FILES = 64  # kept open at a time


@dataclass(frozen=True, slots=True)
class Saying:
    """One record. `octets` of `data`, or as many zeros (a filler), or none (FIN)."""

    time_s: float
    frame: int
    who: int
    kind: int
    data: bytes
    octets: int


@dataclass(slots=True)
class _Unwritten:
    time_ns: int
    frame: int
    who: int
    data: bytearray


class ScriptWriter:
    """A `Sink` with a script per flow in `folder`. `close` when all has been said.

    `middle`: (frame, time ns) at which half of all bytes had been said.
    """

    def __init__(self, folder: Path, start_ns: int, split_after_frame: int = 0) -> None:
        self._folder, self._start_ns, self._split = folder, start_ns, split_after_frame
        self._unwritten: dict[int, _Unwritten] = {}
        self._files: dict[int, BinaryIO] = {}
        self.sizes: list[tuple[int, int, int]] = []  # frame, time, octets: of runs of frames

    def data(self, flow: Flow, side: int, time_ns: int, frame: int, payload: bytes) -> None:
        had = self._unwritten.get(flow.number)
        if had is not None and not self._joins(had, side, time_ns, frame, len(payload)):
            self._flush(flow.number)
            had = None
        if had is None:
            self._unwritten[flow.number] = _Unwritten(time_ns, frame, side, bytearray(payload))
        else:
            had.data += payload

    def filler(self, flow: Flow, side: int, time_ns: int, frame: int, octets: int) -> None:
        self._flush(flow.number)
        self._write(flow.number, time_ns, frame, side, FILLER, octets, b"")

    def fin(self, flow: Flow, side: int, time_ns: int, frame: int) -> None:
        self._flush(flow.number)
        self._write(flow.number, time_ns, frame, side, FIN, 0, b"")

    def close(self) -> None:
        """Everything is on disk."""
        for number in list(self._unwritten):
            self._flush(number)
        for file in self._files.values():
            file.close()
        self._files.clear()

    def path(self, number: int) -> Path:
        """The script of a flow."""
        return self._folder / f"flow-{number}.script"

    def middle(self) -> tuple[int, int]:
        """(frame, time ns) by which half of all the bytes had been said; (0, 0): none were."""
        rest = sum(octets for _, _, octets in self.sizes) / 2
        for frame, time_ns, octets in sorted(self.sizes):
            rest -= octets
            if rest <= 0:
                return frame, time_ns
        return 0, 0

    def _joins(self, had: _Unwritten, side: int, time_ns: int, frame: int, octets: int) -> bool:
        across = had.frame <= self._split < frame
        near = time_ns - had.time_ns < _TOGETHER_NS and len(had.data) + octets <= CHUNK
        return side == had.who and near and not across

    def _flush(self, number: int) -> None:
        had = self._unwritten.pop(number, None)
        if had is not None:
            for at in range(0, len(had.data), CHUNK):
                part = bytes(had.data[at : at + CHUNK])
                self._write(number, had.time_ns, had.frame, had.who, DATA, len(part), part)

    def _write(
        self, number: int, time_ns: int, frame: int, who: int, kind: int, octets: int, data: bytes
    ) -> None:
        file = self._files.get(number)
        if file is None:
            if len(self._files) >= _FILES:
                self._files.pop(next(iter(self._files))).close()
            file = self._files[number] = self.path(number).open("ab")
        time_s = (time_ns - self._start_ns) / 1e9
        file.write(_RECORD.pack(time_s, frame, who, kind, octets) + data)
        self._tally(frame, time_ns, octets)

    def _tally(self, frame: int, time_ns: int, octets: int) -> None:
        """For `middle`: sums of runs of records, ever longer ones."""
        self.sizes.append((frame, time_ns, octets))
        if len(self.sizes) > 8192:
            pairs = sorted(self.sizes)
            self.sizes = [
                (pairs[i][0], pairs[i][1], sum(o for _, _, o in pairs[i : i + 2]))
                for i in range(0, len(pairs), 2)
            ]


def read(path: Path) -> Iterator[Saying]:
    """The records of a script, in order; a flow in which nothing was said has none."""
    if not path.exists():
        return
    with path.open("rb") as file:
        while head := file.read(_RECORD.size):
            time_s, frame, who, kind, octets = _RECORD.unpack(head)
            data = file.read(octets) if kind == DATA else b""
            yield Saying(time_s, frame, who, kind, data, octets)


__all__ = ["CLIENT", "DATA", "FILLER", "FIN", "SERVER", "Saying", "ScriptWriter", "read"]
