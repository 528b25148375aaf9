"""The device's end of its failover extension (`device.extension`, a process beside it)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

from emulator.core.config import Config
from emulator.core.events import AddressAnswer, Event, ExtensionNote, RouteAnswer
from emulator.device import configfile

_OVER = {"failover-complete": "idle", "failover-cancelled": "idle", "failover-failed": "failed"}


class ExtensionLost(RuntimeError):
    """The extension's process ended by itself."""


class CloudClient:
    """Starts the extension, orders it about, and makes events of what it says.

    `fd` is readable when `events` has something. `state`: "idle", "running", "retrying"
    after a failed call, "failed".
    """

    def __init__(self, config: Config) -> None:
        argv = [sys.executable, "-m", "emulator.device.extension"]
        self._process = subprocess.Popen(
            argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._stdin = self._process.stdin
        self.fd = os.dup(self._process.stdout.fileno())
        self._process.stdout.close()
        os.set_blocking(self.fd, False)
        self._buffer = bytearray()
        self.state = "idle"
        self.rehearsal: dict[str, object] = {"state": "none"}
        self._prepared = False
        self._under_way = 0  # failovers that were asked for and have not been said to be over
        self._send(json.loads(configfile.dump(config)))

    def prepare(self) -> None:
        """Have it look up what `request_routes` will change, and change nothing."""
        self._begin("prepare")
        self._prepared = True

    def request_routes(self) -> None:
        """Start a failover; one still under way is given up."""
        if self._prepared:
            self._prepared = False
            self._send({"trigger": True})
        else:
            self._begin("trigger")

    def _begin(self, what: str) -> None:
        self.state = "running"
        self._under_way += 1
        self._send({what: True})

    def rehearse(self) -> bool:
        """Have it look whether it could fail over now, changing nothing: `rehearsal` becomes
        {"state": "ok" or "failed", ...}. True, as it is always started."""
        self.rehearsal = {"state": "running"}
        self._send({"dry_run": True})
        return True

    def cancel(self) -> None:
        """Ask the cloud for nothing more."""
        self.state, self._prepared = "idle", False
        self._send({"cancel": True})

    def close(self) -> None:
        """The extension ends with its input."""
        self._stdin.close()
        self._process.terminate()
        self._process.wait()
        os.close(self.fd)

    def events(self) -> list[Event]:
        """What the extension has said since; raises ExtensionLost."""
        while True:
            try:
                data = os.read(self.fd, 1 << 16)
            except BlockingIOError:
                break
            if not data:
                raise ExtensionLost(f"the failover extension ended: {self._process.wait()}")
            self._buffer += data
        whole, _, rest = self._buffer.rpartition(b"\n")
        self._buffer = bytearray(rest)
        return [self._event(line) for line in bytes(whole).split(b"\n") if line]

    def _event(self, line: bytes) -> Event:
        told: dict[str, Any] = json.loads(line)
        if "route" in told:
            table, destination, error, changed = told["route"]
            self._seen(error)
            return RouteAnswer(table, destination, error, changed)
        if "address" in told:
            action, address, target, error = told["address"]
            self._seen(error)
            return AddressAnswer(action, address, target, error)
        what = str(told["note"])
        if what == "dry-run":
            self.rehearsal = told["details"]
        if what in _OVER:
            self._under_way -= 1
            if not self._under_way:  # the end of one that was given up is not the next one's
                self.state = _OVER[what]
        elif what == "cloud-call-failed":
            self._seen("failed")
        return ExtensionNote(what, told["details"])

    def _seen(self, error: str) -> None:
        if error and self.state == "running":
            self.state = "retrying"

    def _send(self, message: object) -> None:
        self._stdin.write(json.dumps(message).encode() + b"\n")
