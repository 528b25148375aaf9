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


_SILENT: End = ("STALLED", "no-flow-dropped")
_RESET: End = ("RESET", "no-flow-reset")


def _automap(d: Difference) -> bool:
    here = (d.server, d.snat, d.state) == ("fastL4", "automap", "mirrored")
    changed = "snat-address-changed"
    return here and d.ours == ("RESET", changed) and d.peer == ("STALLED", changed)


def _own_address(d: Difference) -> bool:
    here = (d.snat, d.session) == ("pool", "feed")
    unknown = d.state in ("not mirrored", "loose initiation")
    return here and unknown and d.ours == _SILENT and d.peer == _RESET


EXPLANATIONS: tuple[Explanation, ...] = (
    Explanation(
        "automap",
        "a mirrored automap flow: the new device's self IP, or still the old one's",
        "The mirrored state names the old device's own self IP (10.0.11.11). The lab's BIG-IP "
        "maps the flow anew: its segments reach the server from 10.0.21.11, where the server "
        "has no connection, and the server resets them. The committed conntrack entry goes on "
        "with 10.0.11.11: the client's bytes do reach the server and are taken by it, but its "
        "answers to 10.0.11.11 are still delivered to the old device, which drops them; both "
        "ends retransmit until the end. The cause is one and the same, an address that cannot "
        "move; the session is lost either way. F5 documents neither symptom; "
        "`devices.rebuild_automap: false` makes the lab's BIG-IP do what the kernel does (state "
        "*mirrored, automap address kept*, where both agree).",
        _automap,
    ),
    Explanation(
        "own-address",
        "a segment to the SNAT pool's address that belongs to no flow: silence, or a reset",
        "On `feed` the server alone speaks, so the first segment at the new device is the "
        "server's, to 10.88.0.10. To the peer's kernel, under HAProxy as under NAT, that is an "
        "address of its own without a socket, and it resets the server (with loose initiation "
        "as well: the entry that this segment begins translates nothing). The lab's BIG-IP "
        "follows `tm.rejectunmatched`, which "
        "speaks of virtual servers and self IPs; a SNAT pool's address is neither, so it is "
        "silent and the server goes on retransmitting. What a real unit does with it, no "
        "document says. The session is lost either way.",
        _own_address,
    ),
)
