"""docs/differential.md: the comparison with the peers, written from its results. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from textwrap import wrap

from emulator.lab.study.comparison import (
    Cell,
    Compared,
    Pair,
    agreement,
    count,
    differences,
    in_words,
)
from emulator.lab.study.explanations import EXPLANATIONS

_HEAD = """\
# Beside the peers: conntrackd and HAProxy

*Written by `make differential` from its runs; do not edit.*

The lab's fastL4 virtual server against kernel NAT mirrored by conntrackd, and its unmirrored
standard virtual server against HAProxy. Every cell below is one world under one failover, run
twice. World, sessions, failover roles, heartbeats, the cloud and its failover extension,
captures and the rules of the verdict are the same; only what serves the packets on the two
devices differs (`devices.data_plane` in a scenario):

- **conntrackd**: DNAT to the pool member and SNAT by nftables, mode FTFW over UDP 3780 between the
  HA interfaces. On becoming active a device commits its external cache (`-c`), flushes both caches
  (`-f`), resynchronises with the kernel (`-R`) and sends a bulk update (`-B`), as conntrack-tools'
  script for keepalived does, *before* the routes are asked for. Not mirrored: conntrackd does not
  run. Loose initiation: `nf_conntrack_tcp_loose` 1, else 0. What belongs to no connection is
  reset by the kernel if it is to an address of the device's, and not forwarded otherwise (filter
  policy drop); a kernel without that filter would pass it on untranslated.
- **HAProxy**: mode tcp, one instance a device, `source` the self IP, the pool's address, or
  the client's own (`usesrc clientip`). Nothing is mirrored.
- Either way a device in standby drops TCP on its data interfaces, as the lab's BIG-IP does,
  until it has taken over. keepalived does not do that by itself, and it matters: see below.

A session agrees when outcome *and* cause are the same. Sessions: `ssh`, `telnet` and `echo` talk
all the time, `idle` says nothing until the routes have moved, on `feed` only the server speaks.
"""

_TABLE = """
| world | virtual server | SNAT | state | failover | ours | peer | agree |
| --- | --- | --- | --- | --- | --- | --- | --- |
"""

_TAIL = """
## What the standby's silence is worth

One run of *cloud, fastL4, automap, mirrored, force-standby* with conntrackd, in which the old
device went on taking packets after it had stood by: the server's answers to 10.0.11.11 are then
translated by the old device's entry and reach the client, but the first one that acknowledges
bytes the client had sent by the new device is outside the window the old kernel knows. It takes
the segment for invalid, does not translate it, has no socket for its own address, and resets the
server (`old-active-answered`: `ssh`, `telnet`, `echo`, `idle`; only `feed`, whose server
acknowledges nothing new, lived on). With the gate the same sessions stall instead. Neither keeps
them.

## What is not compared

What no peer has: mirrored standard virtual servers (HAProxy mirrors nothing), `commit: sync`, the
takeover kick, loose close, a load balancer's probes, faults of the channel on TCP 1029. Blackouts
are not compared here: they hang on when an end's next retransmission falls due.
"""


def page(found: Sequence[Compared], versions: str) -> str:
    """The whole page. `versions`: of the peers and the kernel, in words."""
    total = count(found)
    lines = [
        _HEAD, "## Result\n", f"{versions}\n",
        f"- cells: {total['cells']}; outcomes agree in {total['cells_with_the_same_outcomes']}, "
        f"outcomes and causes in {total['cells_agreeing']}",
        f"- sessions: {total['sessions']}; {total['sessions_agreeing']} agree, "
        f"{total['sessions_with_another_cause']} differ in the cause alone, "
        f"{total['sessions_with_another_outcome']} in the outcome",
        f"- differences without an explanation: {total['unexplained']}",
    ]  # fmt: skip
    rows = "\n".join(_row(compared) for compared in found)
    return "\n".join(lines) + "\n" + _TABLE + rows + "\n" + _explained(found) + _TAIL


def _row(compared: Compared) -> str:
    cell = compared.cell
    ours = in_words([(p.session, p.ours) for p in compared.pairs])
    peer = in_words([(p.session, p.peer) for p in compared.pairs])
    where = f"| {cell.world} | {cell.server} | {cell.snat} | {cell.state} | {cell.how} "
    return f"{where}| {ours} | {peer} | {agreement(compared)} |"


def _explained(found: Sequence[Compared]) -> str:
    """Each explanation that was needed, the packets of one session, and where it applies."""
    where: dict[str, list[tuple[Cell, Pair]]] = {}
    for cell, pair in differences(found):
        name = pair.explanation.id if pair.explanation else ""
        where.setdefault(name, []).append((cell, pair))
    if not where:
        return "\n## Differences\n\nNone.\n"
    parts = ["\n## Differences, ours / the peer's\n"]
    for known in EXPLANATIONS:
        if known.id in where:
            text = "\n".join(wrap(known.text, 100))
            parts += [f"### {known.id}: {known.title}\n", f"{text}\n"]
            parts += [*_packets(*where[known.id][0]), *_places(where[known.id]), ""]
    if "" in where:
        parts += ["### Not explained\n", *_places(where[""]), ""]
    return "\n".join(parts)


def _packets(cell: Cell, pair: Pair) -> list[str]:
    """What the verdicts on one session of both runs point at, since the failover."""
    lines = [f"`{pair.session}` in *{_labels(cell)}*:\n", "```"]
    for who, ending in (("ours", pair.ours), (cell.peer, pair.peer)):
        lines += [f"{who}: {ending}", *(f"    {shown}" for shown in ending.shown)]
    return [*lines, "```", ""]


def _places(pairs: Sequence[tuple[Cell, Pair]]) -> list[str]:
    """A line per cell and kind of difference, with its sessions."""
    grouped: dict[str, list[str]] = {}
    for cell, pair in pairs:
        what = f"- {_labels(cell)}: {pair.ours} / {pair.peer}"
        grouped.setdefault(what, []).append(pair.session)
    return [f"{what}: {', '.join(sessions)}" for what, sessions in grouped.items()]


def _labels(cell: Cell) -> str:
    return f"{cell.world}, {cell.server}, SNAT {cell.snat}, {cell.state}, {cell.how}"
