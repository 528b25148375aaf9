"""The provider as a process: `python -m netns.cloud.server CONFIG LOG`.

Runs in the router's namespace, where routes and counters are; its API socket is opened in
the `api` namespace and speaks the EC2 Query protocol (form in, XML out), unsigned. Known
actions: ReplaceRoute, DescribeRouteTables, ModifyNetworkInterfaceAttribute
(SourceDestCheck). Every accepted change, the moment it takes effect, and every movement of
a drop counter is a line of LOG.
"""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.parse
import uuid
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import IPv4Network
from pathlib import Path
from xml.sax.saxutils import escape

from netns.cloud.effects import Effects
from netns.cloud.fabric import ApiError, Fabric, Pending
from netns.execute import call_in
from netns.topology import API_PORT, World, cloud

SAMPLE_S = 0.25
_NAMESPACE = 'xmlns="http://ec2.amazonaws.com/doc/2016-11-15/"'


class Provider:
    """The fabric model under one lock, its log, and its hold on the router."""

    def __init__(self, world: World, fabric: Fabric, log: Path) -> None:
        self._world, self._fabric = world, fabric
        self._log = log.open("a", buffering=1)
        self._changed = threading.Condition()
        self._effects = Effects(world)
        self._counters: dict[str, int] = {}
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
                for pending in self._fabric.due(time.monotonic()):
                    self._carry_out(pending)
            if time.monotonic() >= next_sample:
                next_sample = time.monotonic() + SAMPLE_S
                self._sample()
        self._sample()
        self._write("stopped", {})

    def stop(self) -> None:
        """Safe to call from a signal handler."""
        self._stopping = True

    def call(self, form: Mapping[str, str]) -> str:
        """Answer one API request with the body of its XML; raises ApiError."""
        action = form.get("Action", "")
        with self._changed:
            now = time.monotonic()
            if action == "ReplaceRoute":
                pending = self._fabric.replace_route(
                    form.get("RouteTableId", ""),
                    form.get("DestinationCidrBlock", ""),
                    form.get("NetworkInterfaceId", ""),
                    now,
                )
            elif action == "ModifyNetworkInterfaceAttribute":
                pending = self._fabric.set_source_dest_check(
                    form.get("NetworkInterfaceId", ""),
                    form.get("SourceDestCheck.Value", "true") == "true",
                    now,
                )
            elif action == "DescribeRouteTables":
                return self._describe()
            else:
                raise ApiError("InvalidAction", f"The action {action} is not valid")
            details = pending.change.details()
            self._write("accepted", {**details, "effective_in_s": pending.effective_at - now})
            self._changed.notify()
        return "<return>true</return>"

    def _carry_out(self, pending: Pending) -> None:
        self._write("effective", pending.change.details())
        self._effects.apply(pending.change)

    def _sample(self) -> None:
        for name, packets in counters().items():
            before = self._counters.get(name, 0)
            if packets != before:
                self._write("dropped", {"counter": name, "packets": packets - before})
            self._counters[name] = packets

    def _describe(self) -> str:
        items = ""
        for table in self._world.route_tables:
            rows = "".join(
                f"<item><destinationCidrBlock>{destination}</destinationCidrBlock>"
                f"<networkInterfaceId>{target}</networkInterfaceId><state>active</state></item>"
                for (owner, destination), target in self._fabric.accepted.items()
                if owner == table
            )
            items += f"<item><routeTableId>{table}</routeTableId><routeSet>{rows}</routeSet></item>"
        return f"<routeTableSet>{items}</routeTableSet>"

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


def _handler(provider: Provider) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        timeout = 10

        def do_POST(self) -> None:
            length = min(int(self.headers.get("Content-Length") or 0), 1 << 20)
            self._reply(self.rfile.read(length).decode(errors="replace"))

        def do_GET(self) -> None:
            self._reply(urllib.parse.urlsplit(self.path).query)

        def _reply(self, query: str) -> None:
            form = dict(urllib.parse.parse_qsl(query))
            request_id = uuid.uuid4()
            try:
                action = escape(form.get("Action", ""))
                body = provider.call(form)
                status = 200
                text = (
                    f"<{action}Response {_NAMESPACE}><requestId>{request_id}</requestId>"
                    f"{body}</{action}Response>"
                )
            except ApiError as error:
                status = 400
                text = (
                    f"<Response><Errors><Error><Code>{error.code}</Code>"
                    f"<Message>{escape(error.message)}</Message></Error></Errors>"
                    f"<RequestID>{request_id}</RequestID></Response>"
                )
            data = f'<?xml version="1.0" encoding="UTF-8"?>\n{text}'.encode()
            self.send_response(status)
            self.send_header("Content-Type", "text/xml;charset=UTF-8")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *args: object) -> None:
            """Silence: what matters is in the event log."""

    return Handler


def _listen(world: World, provider: Provider) -> ThreadingHTTPServer:
    """The API's HTTP server, its socket in the `api` namespace."""
    address = (str(world.interface("api", "eth0").address), API_PORT)
    server = ThreadingHTTPServer(address, _handler(provider), bind_and_activate=False)
    server.socket.close()
    server.socket = call_in(
        world.namespace("api"), lambda: socket.create_server(address, backlog=64)
    )
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, name="api", daemon=True).start()
    return server


def main() -> int:
    """Exit 0 after SIGTERM."""
    if len(sys.argv) != 3:
        print(__doc__, file=sys.stderr)
        return 2
    config = json.loads(Path(sys.argv[1]).read_text())
    routes = {(t, IPv4Network(d)): target for t, d, target in config["routes"]}
    world = cloud(config["lab"], routes)
    fabric = Fabric(
        world,
        propagation_delay_s=config["propagation_delay_s"],
        table_delay_s=config["table_delay_s"],
    )
    provider = Provider(world, fabric, Path(sys.argv[2]))
    signal.signal(signal.SIGTERM, lambda *_: provider.stop())
    server = _listen(world, provider)
    provider.run()
    server.shutdown()
    return 0


if __name__ == "__main__":
    sys.exit(main())
