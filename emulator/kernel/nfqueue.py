"""NFQUEUE: packets up for a decision, headers only or whole, super-packets uncut.

The stock NetfilterQueue package never asks for GSO packets, so the kernel would cut every
super-packet into MTU-sized ones before queueing. One nfnetlink message on the queue's own
socket sets the flag. Only headers are copied (COPY_BYTES), so the package's 4096-byte
receive buffer is enough, and verdicts carry no payload: rewriting is conntrack's work.

`kernel.copyqueue` hands up whole packets.

Without a listener the kernel drops what is queued, which is what a dead device should do;
never add --queue-bypass.
"""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import time
from collections.abc import Callable
from pathlib import Path

from netfilterqueue import COPY_PACKET, NetfilterQueue, Packet

COPY_BYTES = 128  # IPv4 and TCP headers with all options: at most 120
MAX_QUEUED = 8192
_RECEIVE_BUFFER = 64 << 20
_NFNL_QUEUE_CONFIG = (3 << 8) | 2
_NFQA_CFG_MASK, _NFQA_CFG_FLAGS, _CFG_F_GSO = 4, 5, 4


MAX_AT_ONCE = 512
LINGER_S, FEW = 100e-6, 4


class _EnoughError(Exception):
    """Somebody else's turn."""


class PacketQueue:
    """One NFQUEUE of the calling thread's namespace; `on_packet` runs inside `process`."""

    def __init__(self, number: int, on_packet: Callable[[Packet], None]) -> None:
        """Raises OSError when the queue number is taken or the kernel lacks NFQUEUE."""
        self._queue = NetfilterQueue()
        self._count = 0

        def counted(packet: Packet) -> None:
            on_packet(packet)
            self._count += 1
            if self._count >= MAX_AT_ONCE:
                raise _EnoughError

        self._queue.bind(
            number,
            counted,
            max_len=MAX_QUEUED,
            mode=COPY_PACKET,
            range=COPY_BYTES,
            sock_len=_RECEIVE_BUFFER,
        )
        self._accept_super_packets(number)

    def fileno(self) -> int:
        return self._queue.get_fd()

    def process(self) -> int:
        """Hand the packets that wait to `on_packet`; returns when none is left, or after
        MAX_AT_ONCE of them: in a burst of thousands heartbeats have to be sent as well. How many
        there were."""
        self._count = 0
        with contextlib.suppress(_EnoughError):
            self._queue.run(block=False)
        return self._count

    def linger(self) -> bool:
        """For LINGER_S at most: whether packets came, and were handed over; not where so many
        come that nobody sleeps. To sleep and to be woken takes longer than the answer to a
        packet often does."""
        until = time.monotonic() + LINGER_S
        while not (count := self.process()):
            if time.monotonic() > until:
                return False
            os.sched_yield()
        return count <= FEW

    def close(self) -> None:
        self._queue.unbind()

    def _accept_super_packets(self, number: int) -> None:
        flag = struct.pack("!I", _CFG_F_GSO)
        attributes = b""
        for kind in (_NFQA_CFG_FLAGS, _NFQA_CFG_MASK):
            attributes += struct.pack("HH", 4 + len(flag), kind) + flag
        self._configure(number, attributes)

    def _configure(self, number: int, attributes: bytes) -> None:
        body = struct.pack("!BBH", 0, 0, number) + attributes.ljust(
            -(-len(attributes) // 4) * 4, b"\0"
        )
        message = struct.pack("IHHII", 16 + len(body), _NFNL_QUEUE_CONFIG, 1, 0, 0) + body
        with socket.socket(fileno=os.dup(self.fileno())) as netlink:
            netlink.send(message)


def dropped() -> int:
    """Packets this namespace's queues lost, in the kernel or on the way to user space.

    The counters exist only while a queue is bound.
    """
    path = Path("/proc/thread-self/net/netfilter/nfnetlink_queue")
    if not path.exists():
        return 0
    return sum(
        int(columns[5]) + int(columns[6])
        for line in path.read_text().splitlines()
        if len(columns := line.split()) >= 7
    )
