"""A short connection again and again, each asking the server who it is: `... reconnect ADDRESS
LOG ETC`.

First another client, which is the same host by its second address (`client-2` in /etc/hosts),
asks once: so the pool's next turn is not its first one, as on any device in use. Every
connection is closed by the server after its answer. LOG gets JSON lines:

    open                    the first answer has come
    answered  server, port      who answered the connection from this source port
    progress  sent, received    bytes asked and answered; a question counts once answered
    failed    reason, port      a connection that came to nothing; the client goes on
"""

from __future__ import annotations

import contextlib
import json
import socket
import sys
import time
from pathlib import Path

from emulator.lab.workload.applications import PORTS
from emulator.lab.workload.programs import GREETING_BYTES, SECOND_CLIENT_NAME

PACE_S = 0.2
PATIENCE_S = 1.5
SIZE = GREETING_BYTES


class Refused(Exception):
    """A connection came to nothing; the text says how."""


class Asking:
    """The client that comes again."""

    def __init__(self, address: str, log: Path) -> None:
        self._address = address
        self._file = log.open("a", buffering=1)
        self._octets = self._index = 0

    def run(self) -> None:
        """Until it is killed."""
        self._ask(SECOND_CLIENT_NAME)
        while True:
            began = time.monotonic()
            self._ask("")
            time.sleep(max(0.0, began + PACE_S - time.monotonic()))

    def _ask(self, own: str) -> None:
        question = b"%08d\n" % self._index
        self._index += 1
        port = 0
        try:
            with socket.socket() as connection:
                connection.settimeout(PATIENCE_S)
                connection.bind((socket.gethostbyname(own) if own else "", 0))
                connection.connect((self._address, PORTS["reconnect"]))
                port = connection.getsockname()[1]
                server = _converse(connection, question)
        except (OSError, Refused) as error:
            self._log("failed", reason=str(error), port=port)
            return
        if own:
            self._log("other-client", server=server, port=port)
            return
        if not self._octets:
            self._log("open")
        self._octets += SIZE
        self._log("answered", server=server, port=port)
        self._log("progress", sent=self._octets, received=self._octets)

    def _log(self, what: str, **details: object) -> None:
        entry = {"time": round(time.time(), 6), "node": "client", "session": "reconnect"}
        self._file.write(json.dumps({**entry, "what": what, **details}) + "\n")


def _converse(connection: socket.socket, question: bytes) -> str:
    """Ask, hear the answer out; raises OSError, Refused."""
    connection.sendall(question)
    answer = bytearray()
    while data := connection.recv(4096):
        answer += data
    echoed, _, server = bytes(answer).partition(b" ")
    if echoed != question.strip() or not server.endswith(b"\n"):
        raise Refused(f"answered {bytes(answer)!r}")
    return server.decode().strip()


def main() -> int:
    """Never returns but for bad usage."""
    if len(sys.argv) < 5:
        print(__doc__, file=sys.stderr)
        return 2
    with contextlib.suppress(KeyboardInterrupt):
        Asking(sys.argv[2], Path(sys.argv[3])).run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
