"""The operator's way in: a unix socket, one JSON line asked, one JSON line answered.

    {"tmsh": "show sys connection"}   {"text": "..."} or {"error": "..."}
    {"complete": "show s"}            {"words": [...]}: what the last word can become
    {"status": true}                  role, channel, flows, mirror lag, reset causes
    {"flows": true}                   {"flows": [...]}, each as `device.account` describes it
    {"dry_run": true}                 the failover extension is asked whether it could act:
                                      the status's `dry_run` has its answer

`ask` is the other end, used by the lab.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
from collections.abc import Callable
from pathlib import Path

_LIMIT = 1 << 24

Handler = Callable[[dict[str, object]], dict[str, object]]


class ControlError(RuntimeError):
    """The device could not be asked, or refused; the text is for the operator."""


class ControlServer:
    """Answers one request per connection; only root may connect."""

    def __init__(self, path: Path, handler: Handler) -> None:
        self._handler = handler
        path.unlink(missing_ok=True)
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        before = os.umask(0o177)  # from its first moment on
        try:
            self.socket.bind(str(path))
        finally:
            os.umask(before)
        self.socket.listen(8)
        self.socket.setblocking(False)

    def serve(self) -> None:
        """Take one waiting connection and answer it; a broken one is dropped."""
        try:
            connection, _ = self.socket.accept()
        except OSError:
            return
        with connection, contextlib.suppress(OSError):
            connection.settimeout(0.5)  # a silent operator must not stop the device
            reply = self._answer(_read_line(connection))
            connection.sendall(json.dumps(reply).encode() + b"\n")

    def _answer(self, line: bytes) -> dict[str, object]:
        try:
            request = json.loads(line)
            if not isinstance(request, dict):
                raise ValueError("not an object")
        except ValueError as error:
            return {"error": f"not a request: {error}"}
        return self._handler(request)


def ask(path: Path, request: dict[str, object], *, timeout_s: float = 5.0) -> dict[str, object]:
    """Send one request to a device; raises ControlError."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(timeout_s)
        try:
            connection.connect(str(path))
            connection.sendall(json.dumps(request).encode() + b"\n")
            reply = json.loads(_read_line(connection))
        except (OSError, ValueError) as error:
            raise ControlError(f"{path.stem} does not answer ({error})") from error
    if not isinstance(reply, dict):
        raise ControlError(f"{path.stem} answered {reply!r}")
    if "error" in reply:
        raise ControlError(str(reply["error"]))
    return reply


def _read_line(connection: socket.socket) -> bytes:
    data = bytearray()
    while not data.endswith(b"\n") and len(data) < _LIMIT:
        chunk = connection.recv(4096)
        if not chunk:
            break
        data += chunk
    return bytes(data)
