"""What `mirrorlab top` sees: devices, connections, log. Effects only; `topview` draws it.

A connection is remembered after it has ended, so that its outcome can be read. A flow of
datagrams has no end that says so: it is shown as long as the active device has it.
"""

from __future__ import annotations

import contextlib
import json
import re
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from emulator.lab.apifaults import api_fault
from emulator.lab.channelfaults import present
from emulator.lab.deployment import DEVICES
from emulator.lab.instance import Lab
from emulator.lab.lookout import flows
from emulator.lab.topview import Event, Row, Socket, View, copy_of, outcome
from netns.execute import NamespaceError, run

KEPT = 200  # lines of the log
KEEP_ENDED_S = 120.0
_TAIL = 20_000  # bytes read of a log that was there before us
_FIELD = re.compile(r"(\w+):(\S+)")
_DULL = frozenset({"time", "node", "what", "virtual_server", "seq", "ack"})


class Watcher:
    """Looks at one lab, again and again."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        self._logs = [
            Tail(lab.evidence / f"{name}.jsonl") for name in (*DEVICES, "fabric", "dataplane")
        ]
        self._events: list[Event] = []
        self._rows: dict[str, Row] = {}
        self._ended: dict[str, float] = {}
        self._ends: dict[str, str] = {}  # of a client's connection: what a journal says
        self._routed_to = "" if lab.scenario.world == "onprem" else DEVICES[0]

    def look(self) -> tuple[View, list[Event]]:
        """The lab now, and what is new in its logs."""
        status = {node: self._lab.status(node) for node in DEVICES}
        news = self._read_logs()
        self._follow(status)
        now = time.time()
        view = View(
            self._lab.id, self._lab.scenario.name, now % 86400, status,
            tuple(self._rows.values()), tuple(self._events), self._faults(),
            str(self._lab.world.interface("client", "eth0").address),
            tuple(n for n in self._lab.world.nodes if n.startswith("backend")), self._routed_to,
        )  # fmt: skip
        return view, news

    def _faults(self) -> list[str]:
        found = []
        with contextlib.suppress(NamespaceError):
            found += ["channel fault"] if present(self._lab) else []
            found += ["API outage"] if api_fault(self._lab) else []
        return found

    def _follow(self, status: dict[str, dict[str, object]]) -> None:
        tables = {node: flows(self._lab, node) for node, state in status.items() if state}
        active = [node for node in tables if status[node].get("role") == "active"]
        held = {
            _name(flow): flow
            for node, found in tables.items()
            if node not in active
            for flow in found
        }
        sockets, datagrams = self._sockets(), set()
        for flow in tables[active[0]] if len(active) == 1 else []:
            name = _name(flow)
            if flow["protocol"] != "tcp":
                datagrams.add(name)
            if name in sockets or name in datagrams or name in self._rows:
                self._rows[name] = _row(flow, copy_of(flow, held.get(name)))
        now = time.monotonic()
        for client, socket in sockets.items():
            row = self._rows.get(client) or Row(client, "")
            self._rows[client] = _with_socket(row, socket)
        for client, row in list(self._rows.items()):
            if client in sockets or client in datagrams:
                self._ended.pop(client, None)
                self._ends.pop(client, None)
                continue
            since = self._ended.setdefault(client, now)
            self._rows[client] = replace(row, outcome=outcome(None, self._ends.get(client, "")))
            if now - since > KEEP_ENDED_S:
                del self._rows[client], self._ended[client]

    def _sockets(self) -> dict[str, Socket]:
        """The client's connections, by its own address and port."""
        with contextlib.suppress(NamespaceError):
            argv = [
                "ss",
                "-H",
                "-O",
                "-t",
                "-n",
                "-i",
                "state",
                "connected",
                "exclude",
                "time-wait",
            ]
            return parse_ss(run(self._lab.world.namespace("client"), argv))
        return {}

    def _read_logs(self) -> list[Event]:
        records = [record for log in self._logs for record in log.read()]
        records.sort(key=lambda record: float(record["time"]))
        for record in records:
            self._note(record)
        news = [_event(record) for record in records]
        self._events = [*self._events, *news][-KEPT:]
        return news

    def _note(self, record: dict[str, Any]) -> None:
        """What a record says of a connection's end, or of where routes lead."""
        match record["what"]:
            case "reset-sent":
                text = f"RESET: {record.get('cause', '')} ({record['node']})"
                self._ends[str(record["source"])] = text
            case "flow-closed" if "reset" in str(record.get("why", "")):
                self._ends.setdefault(str(record["client"]), "RESET by an end")
            case "flow-closed":
                why = str(record.get("why", ""))
                gone = "closed" if why == "closed" else f"ENDED ({why})"
                self._ends.setdefault(str(record["client"]), gone)
            case "effective":
                for node in DEVICES:
                    if node in json.dumps(record):
                        self._routed_to = node


class Tail:
    """A log of JSON lines that grows; the first read gives its end only."""

    def __init__(self, path: Path) -> None:
        self._path = path
        size = path.stat().st_size if path.exists() else 0
        self._at = max(0, size - _TAIL)
        self._cut = self._at > 0

    def read(self) -> list[dict[str, Any]]:
        """Whole lines since the last time."""
        if not self._path.exists():
            return []
        with self._path.open("rb") as file:
            file.seek(self._at)
            data = file.read()
        whole, newline, _ = data.rpartition(b"\n")
        self._at += len(whole) + len(newline)
        found = whole.splitlines()
        if self._cut:
            found, self._cut = found[1:], False
        return [json.loads(line) for line in found if line.endswith(b"}")]


def parse_ss(text: str) -> dict[str, Socket]:
    """`ss -HOtni`: state, queues, two addresses, then name:value pairs (times in milliseconds)."""
    found = {}
    for line in text.splitlines():
        words = line.split()
        if len(words) < 5:
            continue
        told = dict(_FIELD.findall(" ".join(words[5:])))
        found[words[3]] = Socket(
            words[0],
            int(told.get("backoff", 0)),
            int(told.get("lastrcv", 0)) / 1000,
            int(told.get("bytes_acked", 0)),
            int(told.get("bytes_received", 0)),
        )
    return found


def _name(flow: dict[str, Any]) -> str:
    """A TCP connection's is its client's address and port, as the client's sockets tell them."""
    return str(flow["client"]) + ("" if flow["protocol"] == "tcp" else f"/{flow['protocol']}")


def _row(flow: dict[str, Any], copy: str) -> Row:
    return Row(
        _name(flow), str(flow["virtual"]), str(flow["snat"]), str(flow["member"]),
        float(flow["age_s"]), float(flow["idle_s"]), int(flow["bytes"]["to_server"]),
        int(flow["bytes"]["to_client"]), copy, "" if flow["protocol"] == "tcp" else "passing",
    )  # fmt: skip


def _with_socket(row: Row, socket: Socket) -> Row:
    """The bytes are the client's own count: a device's begins anew when it takes over."""
    return replace(
        row, bytes_to_server=socket.sent, bytes_to_client=socket.received,
        idle_s=socket.last_received_s, outcome=outcome(socket, ""),
    )  # fmt: skip


def _event(record: dict[str, Any]) -> Event:
    details = " ".join(f"{k}={v}" for k, v in record.items() if k not in _DULL)
    stamp = float(record["time"]) % 86400
    return Event(stamp, str(record.get("node", "")), f"{record['what']} {details}".strip())
