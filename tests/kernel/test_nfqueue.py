"""A burst of packets does not keep a device from everything else."""

from __future__ import annotations

import socket

import pytest

from emulator.kernel import nfqueue
from emulator.kernel.copyqueue import CopiedPacket, CopyQueue
from emulator.kernel.nfqueue import Packet, PacketQueue
from netns.execute import call_in, run
from tests.kernel.conftest import Small

pytestmark = pytest.mark.root


@pytest.mark.parametrize("kind", [PacketQueue, CopyQueue])
def test_a_burst_is_handed_over_in_parts(
    kind: type[PacketQueue] | type[CopyQueue], small: Small, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nfqueue, "MAX_AT_ONCE", 10)
    rule = "-t raw -A PREROUTING -p udp --dport 9 -j NFQUEUE --queue-num 7"
    run(small.device, ["iptables", *rule.split()])
    seen: list[Packet | CopiedPacket] = []

    def take(packet: Packet | CopiedPacket) -> None:
        packet.accept()
        seen.append(packet)

    def burst() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            for _ in range(25):
                sender.sendto(b"x", ("10.1.0.1", 9))

    def in_parts() -> list[int]:
        queue = kind(7, take)
        try:
            call_in(small.client, burst)
            counts = []
            for _ in range(4):
                queue.process()
                counts.append(len(seen))
            return counts
        finally:
            queue.close()

    assert call_in(small.device, in_parts) == [10, 20, 25, 25]
