"""Short requests, a connection each: `client ADDRESS LOG ETC [OPTIONS]`, `server ADDRESS`.

A request every PACE_S, whether or not the one before has been answered; the answer is checked
byte by byte. None lives long: what counts is how many failed, and how long the slowest took.
The log's `progress` counts right bytes of answers, `failed` has one line a failure.
"""

from __future__ import annotations

import http.client
import http.server
import sys
import threading
import time
from functools import partial
from pathlib import Path
from typing import TextIO

from emulator.lab.workload.applications import HTTP, PORTS
from emulator.lab.workload.session import line, write_log

PACE_S = 0.2
LINES, SIZE = 8, 256  # of an answer
PATIENCE_S = 30.0


def page(number: int) -> bytes:
    """The answer to `GET /number`."""
    return b"".join(line(number * LINES + n, SIZE) for n in range(LINES))


class _Handler(http.server.BaseHTTPRequestHandler):
    """HTTP/1.0: the server closes after its answer."""

    def do_GET(self) -> None:
        number = self.path.strip("/")
        if not number.isdigit():
            self.send_error(404)
            return
        body = page(int(number))
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Not a line a request."""


def serve(address: str) -> http.server.ThreadingHTTPServer:
    """Listening, not yet serving."""
    return http.server.ThreadingHTTPServer((address, PORTS[HTTP]), _Handler)


class _Client:
    def __init__(self, address: str, file: TextIO) -> None:
        self._address, self._received, self._lock = address, 0, threading.Lock()
        self._log = partial(write_log, file, HTTP)

    def run(self) -> None:
        """Requests at a steady pace, without end."""
        number, due = 0, time.monotonic()
        while True:
            threading.Thread(target=self._request, args=(number,), daemon=True).start()
            number, due = number + 1, due + PACE_S
            time.sleep(max(0.0, due - time.monotonic()))

    def _request(self, number: int) -> None:
        connection = http.client.HTTPConnection(self._address, PORTS[HTTP], timeout=PATIENCE_S)
        try:
            connection.request("GET", f"/{number}")
            body = connection.getresponse().read()
        except (OSError, http.client.HTTPException) as error:
            self._log("failed", request=number, reason=str(error) or type(error).__name__)
            return
        finally:
            connection.close()
        with self._lock:
            if body != page(number):
                self._log("wrong", offset=number, octets=len(body))
                return
            self._received += len(body)
            self._log("progress", sent=0, received=self._received)


def main() -> int:
    """Neither returns but for bad usage."""
    match sys.argv[1:]:
        case ["client", address, path, *_]:
            with Path(path).open("a", buffering=1) as file:
                write_log(file, HTTP, "open")
                _Client(address, file).run()
        case ["server", address]:
            serve(address).serve_forever()
        case _:
            print(__doc__, file=sys.stderr)
            return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
