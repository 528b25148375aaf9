"""TCP sequence numbers: 32 bits, compared modulo 2**32 (RFC 9293, section 3.4).

Not an int: `seq - 1`, `sorted(seqs)` and `seq < 7` are errors, because each of them is
wrong across the wrap.
"""

from __future__ import annotations

from dataclasses import dataclass

_MOD = 1 << 32
_HALF = 1 << 31


@dataclass(frozen=True, slots=True)
class SeqNum:
    """One point of the sequence space."""

    value: int

    def __post_init__(self) -> None:
        if not 0 <= self.value < _MOD:
            raise ValueError(f"not a 32-bit sequence number: {self.value}")

    def __add__(self, octets: int) -> SeqNum:
        return SeqNum((self.value + octets) % _MOD)

    def precedes(self, other: SeqNum) -> bool:
        """`self < other` in the RFC's sense."""
        return 0 < (other.value - self.value) % _MOD < _HALF

    def octets_from(self, earlier: SeqNum) -> int:
        """Signed distance from `earlier`: negative when `self` lies before it."""
        distance = (self.value - earlier.value) % _MOD
        return distance - _MOD if distance >= _HALF else distance

    def __str__(self) -> str:
        return str(self.value)
