"""TCP options, as far as two ends agree on them (RFC 9293 section 3.1, RFC 7323, RFC 2018)."""

from __future__ import annotations

from dataclasses import dataclass

_END, _NOP, _MSS, _WINDOW_SCALE, _SACK_PERMITTED, _TIMESTAMPS = 0, 1, 2, 3, 4, 8
DEFAULT_MSS = 536
MAX_WINDOW_SCALE = 14


@dataclass(frozen=True, slots=True)
class Options:
    """What one segment's options say. `timestamps`: TSval and TSecr."""

    mss: int = DEFAULT_MSS
    window_scale: int | None = None
    sack_permitted: bool = False
    timestamps: tuple[int, int] | None = None

    @classmethod
    def parse(cls, data: bytes) -> Options:
        """Unknown options are skipped; a malformed one ends the list, as receivers do."""
        mss, scale, sack, timestamps = DEFAULT_MSS, None, False, None
        at = 0
        while at < len(data) and data[at] != _END:
            if data[at] == _NOP:
                at += 1
                continue
            length = data[at + 1] if at + 1 < len(data) else 0
            if length < 2 or at + length > len(data):
                break
            kind, value = data[at], data[at + 2 : at + length]
            if (kind, length) == (_MSS, 4):
                mss = int.from_bytes(value, "big")
            elif (kind, length) == (_WINDOW_SCALE, 3):
                scale = min(value[0], MAX_WINDOW_SCALE)
            elif (kind, length) == (_SACK_PERMITTED, 2):
                sack = True
            elif (kind, length) == (_TIMESTAMPS, 10):
                timestamps = int.from_bytes(value[:4], "big"), int.from_bytes(value[4:], "big")
            at += length
        return cls(mss, scale, sack, timestamps)
