"""The fabric's own NFQUEUE: packets up for a decision, headers only.

Without a listener the kernel drops what is queued: a data plane that died passes nothing,
and the lab notices that its process is gone.
"""

from __future__ import annotations

from collections.abc import Callable

from netfilterqueue import COPY_PACKET, NetfilterQueue, Packet

_COPY_BYTES = 128  # IPv4 and TCP headers with all options: at most 120
_MAX_QUEUED = 8192
_RECEIVE_BUFFER = 16 << 20


class Queue:
    """One NFQUEUE of the calling thread's namespace; `on_packet` runs inside `process`."""

    def __init__(self, number: int, on_packet: Callable[[Packet], None]) -> None:
        """Raises OSError when the queue number is taken or the kernel lacks NFQUEUE."""
        self._queue = NetfilterQueue()
        self._queue.bind(
            number,
            on_packet,
            max_len=_MAX_QUEUED,
            mode=COPY_PACKET,
            range=_COPY_BYTES,
            sock_len=_RECEIVE_BUFFER,
        )

    def fileno(self) -> int:
        return self._queue.get_fd()

    def process(self) -> None:
        """Hand every packet that waits to `on_packet`; returns when none is left."""
        self._queue.run(block=False)
