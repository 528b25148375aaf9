"""A server that speaks first, and alone: `python -m emulator.lab.feed ADDRESS`.

Every connection gets numbered lines at a steady pace, like the results of a device or the
ticks of a market; the client says nothing, so after a failover only the server's segments
can tell the network that the connection exists.
"""

from __future__ import annotations

import socketserver
import sys
import time

from emulator.lab.applications import PORTS
from emulator.lab.session import LINE_BYTES, PACE_S, line


class Feed(socketserver.BaseRequestHandler):
    """One connection."""

    def handle(self) -> None:
        """Send until the far end is gone."""
        index, due = 0, time.monotonic()
        try:
            while True:
                self.request.sendall(line(index, LINE_BYTES["feed"]))
                index, due = index + 1, due + PACE_S["feed"]
                time.sleep(max(0.0, due - time.monotonic()))
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
    with Server((sys.argv[1], PORTS["feed"]), Feed) as server:
        server.serve_forever()
    return 0


if __name__ == "__main__":
    sys.exit(main())
