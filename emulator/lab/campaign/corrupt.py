"""Bytes of the mirroring channel altered on the way, their checksums made right again: what a
broken middlebox or network card does, and no checksum of TCP's finds.

Done where the packets come in, in the receiver's namespace, before its TCP.
"""

from __future__ import annotations

import random
import select
import threading

from netfilterqueue import NetfilterQueue, Packet

from emulator.lab.wait import LabFault, wait_until
from emulator.wire.segment import checksum
from netns.execute import call_in, run

_QUEUE = 9  # the devices' own are 1 and 2
_SLICE_S = 0.1


class Corruptor:
    """Alters one byte of every `rate`-th packet or so that comes in for or from `port`."""

    def __init__(self, receiver: str, port: int, rate: float) -> None:
        """`receiver`: a namespace."""
        self._namespace, self._port, self._rate = receiver, port, rate
        self._random = random.Random(rate)
        self._over, self._ready = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=lambda: call_in(receiver, self._work), daemon=True)
        self.altered = 0

    def start(self) -> None:
        """Raises LabFault, NamespaceError."""
        self._thread.start()
        wait_until("the corruption of the channel", self._ready.is_set, timeout_s=10)
        self._rules("-I")

    def stop(self) -> None:
        """Packets pass unchanged again."""
        self._rules("-D")
        self._over.set()
        self._thread.join(10)
        if self._thread.is_alive():
            raise LabFault("the corruption of the channel does not end")

    def _rules(self, action: str) -> None:
        for end in ("--sport", "--dport"):
            rule = [action, "INPUT", "-i", "ha", "-p", "tcp", end, str(self._port)]
            target = ["-j", "NFQUEUE", "--queue-num", str(_QUEUE)]
            run(self._namespace, ["iptables", "-w", "-t", "mangle", *rule, *target])

    def _work(self) -> None:
        queue = NetfilterQueue()
        queue.bind(_QUEUE, self._pass_on)
        try:
            self._ready.set()
            while not self._over.is_set():
                if select.select([queue.get_fd()], [], [], _SLICE_S)[0]:
                    queue.run(block=False)
        finally:
            queue.unbind()

    def _pass_on(self, packet: Packet) -> None:
        if self._random.random() < self._rate:
            data = altered(packet.get_payload(), self._random)
            if data is not None:
                self.altered += 1
                packet.set_payload(data)
        packet.accept()


def altered(packet: bytes, dice: random.Random) -> bytes | None:
    """The IPv4 TCP packet with one byte of its payload changed and the TCP checksum right; None
    where it has no payload."""
    ihl = (packet[0] & 15) * 4
    begins = ihl + (packet[ihl + 12] >> 4) * 4
    if begins >= len(packet):
        return None
    changed = bytearray(packet)
    changed[dice.randrange(begins, len(packet))] ^= dice.randrange(1, 256)
    changed[ihl + 16 : ihl + 18] = bytes(2)
    pseudo = bytes(changed[12:20]) + b"\0\6" + (len(packet) - ihl).to_bytes(2, "big")
    changed[ihl + 16 : ihl + 18] = checksum(pseudo + bytes(changed[ihl:])).to_bytes(2, "big")
    return bytes(changed)
