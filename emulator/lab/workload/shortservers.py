"""Servers of the sessions that are no conversations: `... shortservers NAME ADDRESS`.

udp        gives every datagram back
reconnect  says who it is to every connection, and closes it
"""

from __future__ import annotations

import socketserver
import sys
import threading

from emulator.lab.workload.applications import DATAGRAM_PORTS, PORTS


class Echo(socketserver.BaseRequestHandler):
    """One datagram."""

    def handle(self) -> None:
        data, socket = self.request
        socket.sendto(data, self.client_address)


class Identity(socketserver.StreamRequestHandler):
    """One connection: the line that came, and the server's name."""

    name = ""

    def handle(self) -> None:
        question = self.rfile.readline(100)
        self.wfile.write(question.strip() + f" {self.name}\n".encode())


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True


def main() -> int:
    """Never returns but for bad usage."""
    if len(sys.argv) != 3:
        print(__doc__, file=sys.stderr)
        return 2
    Identity.name, address = sys.argv[1], sys.argv[2]
    # UDP first: once the TCP port is listened on, both are ready.
    with (
        socketserver.UDPServer((address, DATAGRAM_PORTS["udp"]), Echo) as datagrams,
        Server((address, PORTS["reconnect"]), Identity) as identity,
    ):
        threading.Thread(target=datagrams.serve_forever, daemon=True).start()
        identity.serve_forever()
    return 0


if __name__ == "__main__":
    sys.exit(main())
