"""What a takeover of many connections costs: `python bench/takeover.py [--connections N ...]`.

See bench/README.md for how each figure is measured.
"""

from __future__ import annotations

import argparse
import json
import resource
import secrets
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from emulator.lab.deployment import DEVICES
from emulator.lab.faults import trigger
from emulator.lab.instance import Lab
from emulator.lab.settings.scenario import How, Scenario
from emulator.lab.wait import LabFault, wait_until
from emulator.lab.workload.services import listening
from netns.build import processes
from netns.execute import call_in, spawn

PORT = 9000
ECHO = """
import selectors, socket, resource, sys
resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
ready = selectors.DefaultSelector()
listener = socket.create_server((sys.argv[1], int(sys.argv[2])), backlog=4096)
ready.register(listener, selectors.EVENT_READ)
while True:
    for key, _ in ready.select():
        if key.fileobj is listener:
            ready.register(listener.accept()[0], selectors.EVENT_READ)
        else:
            try:
                data = key.fileobj.recv(65536)
            except OSError:
                data = b""
            if data:
                key.fileobj.sendall(data)
            else:
                ready.unregister(key.fileobj)
                key.fileobj.close()
"""


@dataclass(frozen=True)
class Row:
    """One measurement."""

    kind: str
    connections: int
    open_s: float
    restore_s: float
    back_s: float
    memory_kib: float
    right: int
    decision_s: float = 0.0  # from the decision to take over until every one has echoed
    routes_s: float = 0.0  # of that, until the last route was in effect
    echo_s: float = 0.0  # the same message through every one, without a takeover


def scenario(kind: str) -> Scenario:
    """A pair that fails over quickly; the SNAT pool is large enough for every port."""
    server = {"type": kind, "snat": "pool", "mirroring": True}
    if kind == "standard":
        server["commit"] = "sync"
    return Scenario.model_validate(
        {
            "name": "bench", "title": "bench", "virtual_server": server,
            "devices": {"failover_timeout_s": 1.2}, "cloud": {"propagation_delay_s": 0.05},
        }
    )  # fmt: skip


def measure(kind: str, count: int, folder: Path) -> Row:
    """One takeover of `count` connections; raises LabFault."""
    lab = Lab(secrets.token_hex(3), scenario(kind), folder)
    connections: list[socket.socket] = []
    echo: subprocess.Popen[bytes] | None = None
    try:
        lab.create()
        lab.start()
        lab.wait_control_plane()
        backend = str(lab.world.interface("backend-1", "eth0").address)
        argv = [sys.executable, "-c", ECHO, backend, str(PORT)]
        echo = spawn(lab.world.namespace("backend-1"), argv, log=subprocess.DEVNULL)
        server = lab.world.namespace("backend-1")
        wait_until("the server", lambda: call_in(server, lambda: listening({PORT})), timeout_s=10)
        empty = resident_kib(lab, DEVICES[1])
        began = time.monotonic()
        connections += call_in(lab.world.namespace("client"), lambda: open_all(lab, count))
        assert talk(connections, b"before") == count
        open_s = time.monotonic() - began
        began = time.monotonic()
        assert talk(connections, b"before, and once more") == count
        echo_s = time.monotonic() - began
        wait_until("the standby to hold every flow", lambda: held(lab) >= count, timeout_s=60)
        memory_kib = (resident_kib(lab, DEVICES[1]) - empty) / count
        trigger(lab, DEVICES[0], How.POWER_OFF)
        wait_until("the routes to move", lambda: effective(lab) is not None, timeout_s=60)
        right = talk(connections, b"after, and a little more")
        now = time.time()
        effective_s = float(effective(lab) or 0)
        decided_s = journal_times(folder)["active"]
        return Row(
            kind, count, open_s, restore_s(folder), now - effective_s, memory_kib, right,
            now - decided_s, effective_s - decided_s, echo_s,
        )  # fmt: skip
    finally:
        for connection in connections:
            connection.close()
        lab.destroy()
        if echo is not None:
            echo.wait()


def open_all(lab: Lab, count: int) -> list[socket.socket]:
    """`count` connections from the client to the virtual server."""
    address = (str(lab.scenario.virtual_server.destination), PORT)
    return [socket.create_connection(address, timeout=30) for _ in range(count)]


def talk(connections: list[socket.socket], text: bytes) -> int:
    """A message through each; how many came back right."""
    for number, connection in enumerate(connections):
        connection.sendall(b"%s %d\n" % (text, number))
    right = 0
    for number, connection in enumerate(connections):
        expected = b"%s %d\n" % (text, number)
        data = b""
        while len(data) < len(expected):
            chunk = connection.recv(4096)
            if not chunk:
                break
            data += chunk
        right += data == expected
    return right


def held(lab: Lab) -> int:
    """Flows the standby holds."""
    return int(str(lab.status(DEVICES[1]).get("mirrored_flows", 0)))


def effective(lab: Lab) -> float | None:
    """When the last of the two routes had moved."""
    times = [float(str(r["time"])) for r in lab.fabric_log() if r["what"] == "effective"]
    return max(times) if len(times) >= 2 else None


def restore_s(folder: Path) -> float:
    """From "active" to "restored" in the new active device's journal."""
    times = journal_times(folder)
    return times["restored"] - times["active"]


def journal_times(folder: Path) -> dict[str, float]:
    """When the new active device took over ("active") and had restored all ("restored")."""
    lines = [json.loads(line) for line in (folder / "bigip-b.jsonl").read_text().splitlines()]
    return {line["what"]: line["time"] for line in lines if line["what"] in ("active", "restored")}


def resident_kib(lab: Lab, node: str) -> int:
    """The resident set of the device's own process, KiB; not of its failover extension's."""
    sizes = [0]
    for pid in processes([lab.world.namespace(node)]):
        if b"emulator.device" not in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0"):
            continue
        status = Path(f"/proc/{pid}/status").read_text()
        sizes += [int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS")]
    return max(sizes)


def main() -> int:
    """Exit 1 when a connection was lost, 4 on a lab fault."""
    parser = argparse.ArgumentParser(description="takeover of many connections")
    parser.add_argument("--connections", type=int, nargs="+", default=[100, 1000])
    arguments = parser.parse_args()
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    print("kind      connections  opened     restore  each      all back  memory each   right")
    lost = 0
    for count in arguments.connections:
        for kind in ("fastL4", "standard"):
            with tempfile.TemporaryDirectory(prefix="mirrorlab-bench-") as folder:
                try:
                    row = measure(kind, count, Path(folder))
                except (LabFault, OSError) as error:
                    print(f"lab fault: {error}", file=sys.stderr)
                    return 4
            lost += row.connections - row.right
            print(
                f"{row.kind:<9} {row.connections:>11} {row.open_s:>6.2f} s {row.restore_s:>9.3f} s "
                f"{row.restore_s / row.connections * 1000:>6.3f} ms {row.back_s:>6.2f} s "
                f"{row.memory_kib:>8.1f} KiB {row.right:>8}",
                flush=True,
            )
    return 1 if lost else 0


if __name__ == "__main__":
    sys.exit(main())
