"""The fast path of mirrored segments: over the channel together, then on into the kernel.

What one turn of the loop finds in the queue goes in one write. The order of effects is that of
`core.commands`: mirrored before released; with `commit: sync` what has content is released only
when the peer has acknowledged it.
"""

from __future__ import annotations

from netfilterqueue import Packet

from emulator.core.device import Device
from emulator.core.fastpath import mirrored
from emulator.device.peerlink import PeerLink

TOGETHER = 64  # segments in one write


class MirrorPath:
    """Packets it holds for the peer's acknowledgement are put into `held`, by number."""

    def __init__(self, device: Device, peer: PeerLink, held: dict[int, Packet]) -> None:
        self._traffic, self._peer = device.traffic, peer
        self._sides = device.traffic.table.sides
        self._held = held
        self._passing: list[Packet] = []  # to be released after the next write
        self._queued = 0  # segments in that write

    def take(self, packet: Packet, data: bytes, packet_id: int, now: float) -> bool:
        """False: something is to be decided about it. For the active device only."""
        if self._traffic.kicks.under_way:
            return False
        found = mirrored(self._sides, data, now)
        if found is None:
            return False
        flow, content = found
        header, hold = self._traffic.proxy.pass_on(flow, content, data, packet_id, now)
        self._peer.queue(header, data)
        if hold:
            self._held[packet_id] = packet
        else:
            self._passing.append(packet)
        self._queued += 1
        if self._queued >= TOGETHER:
            self.let_go()
        return True

    def let_go(self) -> None:
        """Write, then release. Before anything else is decided, too: segments stay in order."""
        if not self._queued:
            return
        self._queued = 0
        self._peer.flush()
        for packet in self._passing:
            packet.accept()
        self._passing.clear()
