"""Delay, jitter and loss of a link, one way. Pure: chance is an argument.

A link keeps its packets' order: jitter stretches the gaps between them and never lets one
overtake another, as a queue in front of a line does.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Quality:
    """Seconds, and a share of the packets."""

    delay_s: float = 0.0
    jitter_s: float = 0.0
    loss: float = 0.0


@dataclass(slots=True)
class Line:
    """One way of one link."""

    quality: Quality
    _last: float = 0.0

    def carry(self, now: float, chance: float, more_chance: float) -> float | None:
        """When a packet that enters at `now` comes out, or None: it is lost. Chances are drawn
        evenly from [0, 1)."""
        if chance < self.quality.loss:
            return None
        self._last = max(
            self._last, now + self.quality.delay_s + self.quality.jitter_s * more_chance
        )
        return self._last
