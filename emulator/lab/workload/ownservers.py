"""Servers no package has: `python -m emulator.lab.workload.ownservers ADDRESS`.

feed     speaks first, and alone: every connection gets numbered lines at a steady pace, like
         the results of an instrument; the client says nothing, so after a failover only the
         server's segments can tell the network that the connection exists
pausing  echo, on a port by which the pausing session is known
http     short answers (lab.workload.http)
"""

from __future__ import annotations

import socketserver
import sys
import threading
import time

from emulator.lab.workload import http
from emulator.lab.workload.applications import PORTS
from emulator.lab.workload.session import LINE_BYTES, PACE_S, line


class Feed(socketserver.BaseRequestHandler):
    """One connection: send until the far end is gone."""

    def handle(self) -> None:
        index, due = 0, time.monotonic()
        try:
            while True:
                self.request.sendall(line(index, LINE_BYTES["feed"]))
                index, due = index + 1, due + PACE_S["feed"]
                time.sleep(max(0.0, due - time.monotonic()))
        except OSError:
            return


class Echo(socketserver.BaseRequestHandler):
    """One connection: give back what comes."""

    def handle(self) -> None:
        try:
            while data := self.request.recv(1 << 16):
                self.request.sendall(data)
        except OSError:
            return


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True


def main() -> int:
    """Never returns but for bad usage."""
    if len(sys.argv) != 2:
        print(__doc__, file=sys.stderr)
        return 2
    with (
        Server((sys.argv[1], PORTS["pausing"]), Echo) as echo,
        Server((sys.argv[1], PORTS["feed"]), Feed) as feed,
        http.serve(sys.argv[1]) as web,
    ):
        threading.Thread(target=web.serve_forever, daemon=True).start()
        threading.Thread(target=echo.serve_forever, daemon=True).start()
        feed.serve_forever()
    return 0


if __name__ == "__main__":
    sys.exit(main())
