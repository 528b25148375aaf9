"""A NAT the way a scapy script does it: NFQUEUE, scapy to read and write each packet.

`scapy_nat.py VIRTUAL MEMBER SNAT`. What such scripts do, and no more: one dictionary, addresses
rewritten, checksums left to scapy, the packet set and accepted. Nothing is mirrored: this is the
easier task.
"""

from __future__ import annotations

import sys

from netfilterqueue import NetfilterQueue, Packet
from scapy.layers.inet import IP, TCP

QUEUE = 7


def main() -> None:
    """Until it is killed."""
    virtual, member, snat = sys.argv[1:]
    clients: dict[int, str] = {}  # by port

    def translate(queued: Packet) -> None:
        packet = IP(queued.get_payload())
        if packet.dst == virtual:
            clients[packet[TCP].sport] = packet.src
            packet.src, packet.dst = snat, member
        elif packet.dst == snat and packet[TCP].dport in clients:
            packet.src, packet.dst = virtual, clients[packet[TCP].dport]
        del packet.chksum, packet[TCP].chksum
        queued.set_payload(bytes(packet))
        queued.accept()

    queue = NetfilterQueue()
    queue.bind(QUEUE, translate, max_len=4096)
    queue.run()


if __name__ == "__main__":
    main()
