"""Numbered datagrams at a steady pace, each answered by an echo: `... udp ADDRESS LOG ETC`.

One UDP socket, so one flow. Nothing is sent twice: a datagram without its answer is lost. LOG
gets JSON lines:

    open                    the first answer has come
    progress  sent, received, lost  bytes sent and answered, datagrams unanswered for LOST_S;
                                at most every 0.1 s
    wrong     offset, octets    an answer that is no datagram of ours
    refused   reason            an ICMP error; the client goes on
"""

from __future__ import annotations

import contextlib
import json
import select
import socket
import sys
import time
from pathlib import Path

from emulator.lab.workload.applications import DATAGRAM_PORTS
from emulator.lab.workload.programs import DATAGRAM_BYTES
from emulator.lab.workload.session import line

PACE_S = 0.1
LOST_S = 1.0
SIZE = DATAGRAM_BYTES


class Exchange:
    """The client's side."""

    def __init__(self, address: str, log: Path) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.connect((address, DATAGRAM_PORTS["udp"]))
        self._socket.setblocking(False)
        self._file = log.open("a", buffering=1)
        self._waiting: dict[bytes, float] = {}
        self._index = self._received = self._lost = 0

    def run(self) -> None:
        """Until it is killed."""
        due = next_report = time.monotonic()
        while True:
            now = time.monotonic()
            if now >= due:
                due = now + PACE_S
                self._send(now)
            if now >= next_report:
                next_report = now + 0.1
                self._report(now)
            if select.select([self._socket], [], [], max(0.0, due - now))[0]:
                self._receive()

    def close(self) -> None:
        self._socket.close()
        self._file.close()

    def _send(self, now: float) -> None:
        datagram = line(self._index, SIZE)
        self._index += 1
        self._waiting[datagram] = now
        try:
            self._socket.send(datagram)
        except OSError as error:
            self._log("refused", reason=error.strerror)

    def _receive(self) -> None:
        try:
            data = self._socket.recv(1 << 16)
        except OSError as error:
            self._log("refused", reason=error.strerror)
            return
        if self._waiting.pop(data, None) is None:
            late = len(data) == SIZE and line(int(data[:8]), SIZE) == data
            if not late:
                self._log("wrong", offset=self._received, octets=len(data))
            return
        if not self._received:
            self._log("open")
        self._received += len(data)

    def _report(self, now: float) -> None:
        for datagram, sent in list(self._waiting.items()):
            if now - sent >= LOST_S:
                del self._waiting[datagram]
                self._lost += 1
        sent_octets = self._index * SIZE
        self._log("progress", sent=sent_octets, received=self._received, lost=self._lost)

    def _log(self, what: str, **details: object) -> None:
        entry = {"time": round(time.time(), 6), "node": "client", "session": "udp", "what": what}
        self._file.write(json.dumps({**entry, **details}) + "\n")


def main() -> int:
    """Never returns but for bad usage."""
    if len(sys.argv) < 5:
        print(__doc__, file=sys.stderr)
        return 2
    with contextlib.closing(Exchange(sys.argv[2], Path(sys.argv[3]))) as exchange:
        exchange.run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
