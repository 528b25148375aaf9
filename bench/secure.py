"""What `statemirror.secure` costs: `python bench/secure.py [--rounds N] [--mib N]`.

One lab, one pair; a standard virtual server, `commit: sync`, so every segment of either side
crosses the mirroring channel before the device's TCP sees it. In turn with and without TLS a new
connection says so many bytes to an echoing server and reads them back. See bench/README.md.
"""

from __future__ import annotations

import argparse
import json
import os
import secrets
import socket
import statistics
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from emulator.lab.deployment import DEVICES, entry_address
from emulator.lab.instance import Lab
from emulator.lab.settings.scenario import Scenario
from emulator.lab.wait import LabFault, wait_until
from emulator.lab.workload.applications import PORTS
from netns.build import processes
from netns.execute import call_in, run

SCENARIO = {
    "name": "bench", "title": "bench", "world": "onprem", "sessions": ["bulk"],
    "virtual_server": {
        "type": "standard", "commit": "sync", "snat": "pool", "snat_pool": ["10.88.0.10"],
    },
}  # fmt: skip
SUPER_PACKET = 60_000  # with offloads: larger ones would be copied cut
PATIENCE_S = 300.0


@dataclass(frozen=True)
class Figures:
    """Of one transfer: bytes there and back per second, and what both devices' processes had of
    a processor for a million bytes."""

    mb_per_s: float
    cpu_ms_per_mb: float


def offloads_on(lab: Lab) -> None:
    """Segments as large as the kernel makes them, as on a host in earnest."""
    switches = [word for feature in ("tx", "tso", "gso", "gro") for word in (feature, "on")]
    for node in lab.world.nodes:
        namespace = lab.world.namespace(node)
        for line in run(namespace, ["ip", "-o", "link", "show", "type", "veth"]).splitlines():
            name = line.split(":")[1].strip().split("@")[0]
            run(namespace, ["ip", "link", "set", name, "gso_max_size", str(SUPER_PACKET)])
            run(namespace, ["ethtool", "-K", name, *switches])


def cpu_s(lab: Lab) -> float:
    """What both devices' processes have had of a processor so far."""
    total = 0
    for pid in processes([lab.world.namespace(node) for node in DEVICES]):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        total += int(fields[11]) + int(fields[12])
    return total / os.sysconf("SC_CLK_TCK")


Pairs = list[tuple[Figures, Figures]]  # in clear text, with TLS


def secure(lab: Lab, on: bool) -> None:
    """Both devices; returns when the channel is up again."""
    for node in DEVICES:
        lab.tmsh(node, f"modify sys db statemirror.secure value {'enable' if on else 'disable'}")

    def up() -> bool:
        states = [lab.status(node) for node in DEVICES]
        return all(s.get("mirror_channel") == "up" and bool(s["protection"]) == on for s in states)

    wait_until("the mirroring channel", up, timeout_s=30)


def transfer(lab: Lab, octets: int) -> Figures:
    """There and back at the same time; raises LabFault when a byte is missing."""
    address = (str(entry_address(lab.scenario)), PORTS["bulk"])
    data = secrets.token_bytes(1 << 16)
    there = call_in(
        lab.world.namespace("client"), lambda: socket.create_connection(address, timeout=PATIENCE_S)
    )
    with there:
        began, before, got = time.monotonic(), cpu_s(lab), 0

        def say() -> None:
            for _ in range(octets // len(data)):
                there.sendall(data)
            there.shutdown(socket.SHUT_WR)

        speaker = threading.Thread(target=say)
        speaker.start()
        while chunk := there.recv(1 << 18):
            got += len(chunk)
        speaker.join()
        took = time.monotonic() - began
    if got != octets // len(data) * len(data):
        raise LabFault(f"{got} bytes of {octets} came back")
    return Figures(got / took / 1e6, (cpu_s(lab) - before) / (got / 1e6) * 1000)


def measure(rounds: int, mib: int, *, offloads: bool, folder: Path) -> Pairs:
    """In clear text and with TLS, by round."""
    lab = Lab(f"b{secrets.token_hex(3)}", Scenario.model_validate(SCENARIO), folder)
    found = []
    try:
        lab.create()
        lab.start()
        if offloads:
            offloads_on(lab)
        transfer(lab, 1 << 20)
        for number in range(rounds):
            figures = {}
            for on in (False, True) if number % 2 == 0 else (True, False):
                secure(lab, on)
                figures[on] = transfer(lab, mib << 20)
            found.append((figures[False], figures[True]))
    finally:
        lab.destroy()
    return found


def summary(rounds: Pairs) -> dict[str, object]:
    """Every figure, and with TLS to without as least, median, most."""
    found: dict[str, object] = {}
    for what in ("mb_per_s", "cpu_ms_per_mb"):
        pairs = [(getattr(clear, what), getattr(tls, what)) for clear, tls in rounds]
        ratios = sorted(tls / clear for clear, tls in pairs)
        found[what] = {
            "clear": [round(clear, 1) for clear, _ in pairs],
            "tls": [round(tls, 1) for _, tls in pairs],
            "ratio": [round(r, 2) for r in (ratios[0], statistics.median(ratios), ratios[-1])],
        }
    return found


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--rounds", type=int, default=7)
    options.add_argument("--mib", type=int, default=32)
    arguments = options.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for offloads, mib in ((False, arguments.mib), (True, 4 * arguments.mib)):
            try:
                path = Path(folder) / str(offloads)
                rounds = measure(arguments.rounds, mib, offloads=offloads, folder=path)
            except LabFault as error:
                print(f"bench: {error}", file=sys.stderr)
                return 4
            print(json.dumps({"offloads": offloads, **summary(rounds)}), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
