"""A device that carried a connection, and when it serves again does not know it any more. Pure.

Either its process began anew: the heartbeats that leave it count from the beginning again. Or
it stood by for a while and was not given the connection back before it took over again. Both by
the heartbeats that leave it.
"""

from __future__ import annotations

from itertools import pairwise

from emulator.lab.judge.facts import Connection, Facts


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
    own = [r for r in facts.roles if r.device == node and r.frame < frame]
    for before, after in pairwise(own):
        if after.sequence < before.sequence and after.frame > carried[0]:
            return (
                f"had begun anew (from frame {after.frame} on its heartbeats count from "
                f"{after.sequence})"
            )
    for report in own:
        if not report.active and carried[0] < report.frame:
            return f"had stood by meanwhile (its heartbeat in frame {report.frame})"
    return ""
