"""The fabric as a process: `python -m netns.cloud.server CONFIG LOG`.

Runs in the router's namespace, where routes and counters are. The API (`netns.cloud.api`, a
process of its own, so that answering many requests does not delay a route) hands every
change over on a unix socket, one JSON line a request; the fabric's model accepts or refuses
it. Every accepted change, the moment it takes effect, and every movement of a drop counter
is a line of LOG.

    API process --{"request": "replace_route", "arguments": [...]}--> accepted, effective later
                --{"note": "api-ready"} / {"refused": "ReplaceRoute", "code": ...}--> the log
"""

from __future__ import annotations

import json
import signal
import socketserver
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from netns.cloud.effects import Effects
from netns.cloud.fabric import ApiError, Fabric, Pending
from netns.cloud.line import read_world

SAMPLE_S = 0.25
REQUESTS = {
    "replace_route",
    "set_source_dest_check",
    "associate_address",
    "disassociate_address",
    "assign_private_addresses",
    "unassign_private_addresses",
}


class Provider:
    """The fabric model under one lock, its log, and its hold on the router."""

    def __init__(self, fabric: Fabric, effects: Effects, log: Path) -> None:
        self._fabric = fabric
        self._log = log.open("a", buffering=1)
        self._changed = threading.Condition()
        self._effects = effects
        self._counters: dict[str, int] = {}
        self._refused: Counter[tuple[str, str]] = Counter()
        self._stopping = False

    def run(self) -> None:
        """Carry out what falls due, sample the counters; returns after `stop`."""
        self._write("started", {})
        next_sample = time.monotonic()
        while not self._stopping:
            with self._changed:
                now = time.monotonic()
                due = self._fabric.next_timer()
                wait = min(next_sample if due is None else min(due, next_sample), now + SAMPLE_S)
                self._changed.wait(max(0.0, wait - now))
                ripe = self._fabric.due(time.monotonic())
            # Outside the lock: several hundred routes that fall due at once must not keep
            # the API waiting. Only this thread carries out, so their order stays.
            for pending in ripe:
                self._carry_out(pending)
            if time.monotonic() >= next_sample:
                next_sample = time.monotonic() + SAMPLE_S
                self._sample()
        self._sample()
        self._write("stopped", {})

    def stop(self) -> None:
        """Safe to call from a signal handler."""
        self._stopping = True

    def close(self) -> None:
        self._log.close()

    def request(self, message: Mapping[str, Any]) -> dict[str, object]:
        """Answer the API: {} or {"code", "message"}."""
        if "note" in message:
            self._write(str(message["note"]), message.get("details", {}))
            return {}
        if "refused" in message:
            with self._changed:
                self._refused[message["refused"], message["code"]] += 1
            return {}
        if message.get("request") not in REQUESTS:
            return {"code": "InternalError", "message": f"no such request: {message}"}
        with self._changed:
            now = time.monotonic()
            try:
                accepted = getattr(self._fabric, message["request"])(*message["arguments"], now)
            except ApiError as error:
                return {"code": error.code, "message": error.message}
            for pending in accepted if isinstance(accepted, list) else [accepted]:
                details = pending.change.details()
                self._write("accepted", {**details, "effective_in_s": pending.effective_at - now})
            self._changed.notify()
        return {}

    def _carry_out(self, pending: Pending) -> None:
        self._write("effective", pending.change.details())
        self._effects.apply(pending.change)

    def _sample(self) -> None:
        for name, packets in counters().items():
            before = self._counters.get(name, 0)
            if packets != before:
                self._write("dropped", {"counter": name, "packets": packets - before})
            self._counters[name] = packets
        with self._changed:
            refused, self._refused = self._refused, Counter()
        for (action, code), calls in refused.items():
            self._write("api-refused", {"action": action, "code": code, "calls": calls})

    def _write(self, what: str, details: Mapping[str, object]) -> None:
        line = {"time": round(time.time(), 6), "node": "fabric", "what": what, **details}
        self._log.write(json.dumps(line) + "\n")


def counters() -> dict[str, int]:
    """Packets taken by each of the fabric's named drop counters, in this namespace."""
    done = subprocess.run(
        ["nft", "-j", "list", "counters", "table", "ip", "fabric"],
        capture_output=True,
        check=False,
    )
    if done.returncode:
        return {}
    found = json.loads(done.stdout)["nftables"]
    return {c["counter"]["name"]: c["counter"]["packets"] for c in found if "counter" in c}


def serve(provider: Provider, path: Path) -> socketserver.ThreadingUnixStreamServer:
    """Take requests on a unix socket, in threads of their own."""

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            for line in self.rfile:
                self.wfile.write(json.dumps(provider.request(json.loads(line))).encode() + b"\n")

    server = socketserver.ThreadingUnixStreamServer(str(path), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, name="requests", daemon=True).start()
    return server


def main() -> int:
    """Exit 0 after SIGTERM."""
    if len(sys.argv) != 3:
        print(__doc__, file=sys.stderr)
        return 2
    path = Path(sys.argv[1])
    config = json.loads(path.read_text())
    world = read_world(config)
    fabric = Fabric(
        world,
        propagation_delay_s=config["propagation_delay_s"],
        table_delay_s=config["table_delay_s"],
    )
    provider = Provider(fabric, Effects(world), Path(sys.argv[2]))
    signal.signal(signal.SIGTERM, lambda *_: provider.stop())
    server = serve(provider, path.with_suffix(".sock"))
    provider.run()
    server.shutdown()
    return 0


if __name__ == "__main__":
    sys.exit(main())
