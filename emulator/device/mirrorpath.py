"""The fast path of mirrored segments: over the channel together, then on into the kernel.

What one turn of the loop finds in the queue goes in few writes, from where the queue put it. The
order of effects is that of `core.commands`: mirrored before released; with `commit: sync` what
has content is released only when the peer has acknowledged it.
"""

from __future__ import annotations

from collections.abc import Callable

from netfilterqueue import Packet

from emulator.core.device import Device
from emulator.core.fastpath import mirrored
from emulator.device.peerlink import PeerLink
from emulator.kernel.copyqueue import KEPT, CopiedPacket

TOGETHER = 64  # segments in one write
# ... or so many bytes: the peer begins to read while we go on, and their place is needed again.
TOGETHER_OCTETS = min(1 << 18, KEPT)
_HEADERS = 40

AnyPacket = Packet | CopiedPacket


class MirrorPath:
    """Packets it holds for the peer's acknowledgement are put into `held`, by number; `accept`:
    what lets those go that it does not hold."""

    def __init__(
        self,
        device: Device,
        peer: PeerLink,
        held: dict[int, AnyPacket],
        accept: Callable[[list[AnyPacket]], None],
    ) -> None:
        self._traffic, self._peer = device.traffic, peer
        self._sides = device.traffic.table.sides
        self._held, self._accept = held, accept
        self._passing: list[AnyPacket] = []  # to be released after the next write
        self._queued = self._octets = 0  # segments in that write, and their bytes

    def take(self, packet: CopiedPacket, packet_id: int, now: float) -> bool:
        """False: something is to be decided about it. For the active device only."""
        if self._traffic.kicks.under_way:
            return False
        data = packet.data
        size = len(data)
        found = mirrored(self._sides, bytes(data[:_HEADERS]), size, now)
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
        self._octets += size
        if self._queued >= TOGETHER or self._octets >= TOGETHER_OCTETS:
            self.let_go()
        return True

    def let_go(self) -> None:
        """Write, then release. Before anything else is decided, too: segments stay in order."""
        if not self._queued:
            return
        self._queued = self._octets = 0
        self._peer.flush()
        self._accept(self._passing)
