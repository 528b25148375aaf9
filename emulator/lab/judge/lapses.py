"""A device that carried a connection, and when it serves again does not know it any more. Pure.

Either its process began anew: the heartbeats that leave it count from the beginning again. Or
it stood by for a while and was not given the connection back before it took over again. Both by
the heartbeats that leave it.
"""

from __future__ import annotations

from itertools import pairwise

from emulator.lab.judge.facts import Connection, Facts
from emulator.lab.judge.tracing import RoleReport


def lapse(connection: Connection, facts: Facts, node: str, frame: int) -> str:
    """How `node`, between the last segment of the connection it passed on and this frame, came to
    forget it; empty where nothing shows that it did. The text goes on from the node's name."""
    carried = [
        t.origin.frame
        for t, _ in connection.transmissions
        if t.origin.frame < frame and (t.device == node or t.origin.node == node)
    ]
    if not carried:
        return ""
    anew = begun_anew(facts, node, carried[0], frame)
    if anew is not None:
        return (
            f"had begun anew (from frame {anew.frame} on its heartbeats count from {anew.sequence})"
        )
    for report in facts.roles:
        if report.device != node or report.frame >= frame:
            continue
        if not report.active and carried[0] < report.frame:
            return f"had stood by meanwhile (its heartbeat in frame {report.frame})"
    return ""


def begun_anew(facts: Facts, node: str, after: int, before: int) -> RoleReport | None:
    """The first heartbeat between two frames by which the device's process had begun anew."""
    own = [r for r in facts.roles if r.device == node and r.frame < before]
    for earlier, later in pairwise(own):
        if later.sequence < earlier.sequence and later.frame > after:
            return later
    return None
