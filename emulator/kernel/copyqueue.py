"""NFQUEUE with whole packets: what a mirrored virtual server's segments come up by.

The stock package binds the queue; what goes through it afterwards is read and answered here.
The package would copy each payload once more, and answer each packet with a system call of its
own; here a packet is a view of where the kernel put it, and many are accepted in one go. That
place is used again: what is to be kept of a packet has to be copied::

    kernel -> us    nlmsghdr (16) | nfgenmsg (4) | NFQA_PACKET_HDR: id, protocol, hook | ... |
                    NFQA_PAYLOAD, the last: the packet
    us -> kernel    nlmsghdr | nfgenmsg | NFQA_VERDICT_HDR: verdict, id; as many as there are

More than 65531 bytes are never copied (a 16-bit attribute length), so a larger super-packet
arrives cut.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Callable, Iterable

from netfilterqueue import COPY_PACKET

from emulator.kernel import nfqueue
from emulator.kernel.nfqueue import PacketQueue

_LARGEST = 70000  # a whole packet and its metadata
_ARENA = 1 << 20  # the packets of one `process`; small enough to stay in a processor's cache
KEPT = _ARENA - 2 * _LARGEST  # bytes of packets that may follow before a packet's place is used
_VERDICTS = 1024  # in one message to the kernel: half of what its socket takes

_NFQA_CFG_PARAMS = 2
_NFQNL_PACKET, _NFQNL_VERDICT = 3 << 8, 3 << 8 | 1
_NFQA_PACKET_HDR, _NFQA_IFINDEX_INDEV, _NFQA_PAYLOAD = 1, 5, 10
_NF_DROP, _NF_ACCEPT = 0, 1
_ATTRIBUTE = struct.Struct("HH")
_TYPE = struct.Struct("H")
_PACKET_HDR = struct.Struct("!IHB")
_INDEX = struct.Struct("!I")
_HEADERS = 20  # of netlink and of nfnetlink


class CopiedPacket:
    """One queued packet. `hook`, `indev` (0: none): where it was queued; `data`: its bytes, there
    until `process` is called again or KEPT bytes more have come."""

    __slots__ = ("_queue", "data", "hook", "indev", "number")

    def __init__(self, queue: CopyQueue, message: memoryview) -> None:
        """Raises struct.error where the kernel's message is none of a packet."""
        self._queue, self.indev = queue, 0
        at, end = _HEADERS, len(message)
        while at < end:
            length, kind = _ATTRIBUTE.unpack_from(message, at)
            if kind == _NFQA_PAYLOAD:
                break
            if kind == _NFQA_PACKET_HDR:
                self.number, _, self.hook = _PACKET_HDR.unpack_from(message, at + 4)
            elif kind == _NFQA_IFINDEX_INDEV:
                (self.indev,) = _INDEX.unpack_from(message, at + 4)
            at += (length + 3) & ~3
        self.data = message[at + 4 :]

    def get_payload(self) -> bytes:
        """A copy of the packet."""
        return bytes(self.data)

    def accept(self) -> None:
        self._queue.answer([self.number], _NF_ACCEPT)

    def drop(self) -> None:
        self._queue.answer([self.number], _NF_DROP)


class CopyQueue(PacketQueue):
    """As PacketQueue, with whole packets."""

    def __init__(self, number: int, on_packet: Callable[[CopiedPacket], None]) -> None:
        super().__init__(number, lambda _: None)
        self._on_copied = on_packet
        self._netlink = socket.socket(fileno=os.dup(self.fileno()))
        params = struct.pack("!IB", 0xFFFF, COPY_PACKET)
        self._configure(number, struct.pack("HH", 4 + len(params), _NFQA_CFG_PARAMS) + params)
        head = struct.pack("IHHII", 32, _NFQNL_VERDICT, 1, 0, 0) + struct.pack("!BBH", 0, 0, number)
        self._verdict = head + struct.pack("HH", 12, 2)
        self._arena = memoryview(bytearray(_ARENA))

    def process(self) -> int:
        """As of PacketQueue."""
        at = count = 0
        for _ in range(nfqueue.MAX_AT_ONCE):
            if at > _ARENA - _LARGEST:
                at = 0
            room = self._arena[at : at + _LARGEST]
            try:
                size = self._netlink.recv_into(room, 0, socket.MSG_DONTWAIT)
            except BlockingIOError:
                break
            except OSError as error:
                if error.errno != errno.ENOBUFS:  # packets were lost; `dropped` counts them
                    raise
                continue
            at += size
            if _TYPE.unpack_from(room, 4)[0] == _NFQNL_PACKET:
                self._on_copied(CopiedPacket(self, room[:size]))
                count += 1
        return count

    def accept(self, packets: Iterable[CopiedPacket]) -> None:
        """All of them, in this order."""
        self.answer([packet.number for packet in packets], _NF_ACCEPT)

    def answer(self, numbers: list[int], verdict: int) -> None:
        """One verdict for packets of these numbers, in this order."""
        head, pack = self._verdict, struct.Struct("!II").pack
        for at in range(0, len(numbers), _VERDICTS):
            some = numbers[at : at + _VERDICTS]
            self._netlink.send(b"".join([head + pack(verdict, number) for number in some]))

    def close(self) -> None:
        self._netlink.close()
        super().close()
