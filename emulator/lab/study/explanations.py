"""Why the lab's BIG-IP and a peer may end a session differently, found in the packets. Pure.

An explanation names the one difference it is about as narrowly as it can: whatever it does not
fit is reported as unexplained.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

End = tuple[str, str | None]  # outcome, cause


@dataclass(frozen=True, slots=True)
class Difference:
    """One session that ended differently, and where."""

    server: str
    snat: str
    state: str
    how: str
    session: str
    ours: End
    peer: End


@dataclass(frozen=True, slots=True)
class Explanation:
    """`text`: what the packets of the runs show, and which side does what a BIG-IP does."""

    id: str
    title: str
    text: str
    fits: Callable[[Difference], bool]


EXPLANATIONS: tuple[Explanation, ...] = ()
