"""Captures: dumpcap at every node, then one pcapng with every capture point in time order.

A capture point is a node's interface, named "bigip-a ext" in files. Its description says where
that is, zone and subnet, and carries what analysis needs to read the file alone, as "key=value"
words: `mac` (a frame from one of these is outgoing; on a port of a switch instead `from`: a
frame from one of these is not), `address` (of the node's interface), `peer` (the capture point
at the other end of the link), and `segment` where frames for others may be flooded to it.

dumpcap says "File:" on stderr once it really captures, and loses its tail when stopped
less than about 0.3 s after the last packet.
"""

from __future__ import annotations

import heapq
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from emulator.lab.wait import LabFault, wait_until
from emulator.wire import pcapng
from netns.execute import command_in
from netns.plan import router_mac
from netns.topology import SWITCH, NetworkInterface, World

_TAIL_S = 0.4
_READY_S = 10.0
_DROPPED = re.compile(r"dropped on interface '([^']+)': \d+/(\d+)")


class Capture:
    """dumpcap processes of one run, one per node.

    They write to `scratch`, root's own, and `stop` moves the files to `folder`: dumpcap gives
    up the right to write into other people's directories, even as root.
    """

    def __init__(self, world: World, scratch: Path, folder: Path) -> None:
        self._world, self._scratch, self._folder = world, scratch, folder
        self._processes: dict[str, tuple[subprocess.Popen[bytes], Path]] = {}

    def start(self) -> None:
        """Returns once every node captures; raises LabFault."""
        for node in self._world.nodes:
            log = self._scratch / f"dumpcap-{node}.log"
            argv: list[str | Path] = ["dumpcap", "-q", "-B", "16"]
            argv += ["-w", self._scratch / f"{node}.pcapng"]
            for point in points_of(self._world, node):
                argv += ["-i", point.interface, "--ifname", point.name]
                argv += ["--ifdescr", point.description]
            with log.open("wb") as handle:
                process = subprocess.Popen(
                    command_in(self._world.namespace(node), argv),
                    stdin=subprocess.DEVNULL,
                    stdout=handle,
                    stderr=handle,
                    start_new_session=True,
                )
            self._processes[node] = (process, log)
        for node, (process, log) in self._processes.items():
            wait_until(
                f"dumpcap in {node}",
                lambda p=process, f=log: _capturing(p, f),  # type: ignore[misc]
                timeout_s=_READY_S,
            )

    def check(self) -> None:
        """Raises LabFault when a capture has ended by itself."""
        for node, (process, log) in self._processes.items():
            if process.poll() is not None:
                raise LabFault(f"the capture of {node} ended: {_last_line(log)}")

    def stop(self) -> list[str]:
        """Stop all, keeping the tail; returns what was lost, a line each."""
        if not self._processes:
            return []
        time.sleep(_TAIL_S)
        losses = [
            f"the capture of {node} ended early"
            for node, (process, _) in self._processes.items()
            if process.poll() is not None
        ]
        for process, _ in self._processes.values():
            process.send_signal(signal.SIGINT)
        for node, (process, log) in self._processes.items():
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                process.kill()
                losses.append(f"dumpcap in {node} did not stop")
            losses += [
                f"the capture of {name} lost {count} packets"
                for name, count in _DROPPED.findall(log.read_text(errors="replace"))
                if int(count)
            ]
            if process.returncode not in (0, None):
                losses.append(f"the capture of {node} failed: {_last_line(log)}")
            file = self._scratch / f"{node}.pcapng"
            if file.exists():
                shutil.move(file, self._folder / file.name)
        self._processes.clear()
        return losses


@dataclass(frozen=True, slots=True)
class Point:
    """Where to capture: a node's interface, and what a file says of it."""

    node: str
    interface: str
    description: str

    @property
    def name(self) -> str:
        return f"{self.node} {self.interface}"


def points_of(world: World, node: str) -> list[Point]:
    """A node's capture points: its interfaces, and its ends of other nodes' links."""
    found = (_point(node, interface) for interface in world.interfaces)
    return [point for point in found if point is not None]


def _point(node: str, interface: NetworkInterface) -> Point | None:
    """The end of the interface's link that is on `node`, if any."""
    near, far = f"{interface.node}:{interface.name}", f"{interface.uplink}:{interface.router_name}"
    macs = ",".join(mac for mac in (interface.mac, interface.shared_mac) if mac)
    if node == interface.node:
        own, notes = interface.name, f"mac={macs} peer={far}"
    elif node == interface.uplink:
        sender = f"from={macs}" if node == SWITCH else f"mac={router_mac(interface)}"
        own, notes = interface.router_name, f"{sender} peer={near}"
    else:
        return None
    subnet = interface.subnet
    where = "segment" if subnet.zone == "-" else f"zone {subnet.zone}, subnet"
    notes += f" address={interface.address}"
    if interface.uplink == SWITCH:
        notes += f" segment={subnet.name}"
    return Point(node, own, f"{where} {subnet.name} {subnet.network} {notes}")


def _capturing(process: subprocess.Popen[bytes], log: Path) -> bool:
    if process.poll() is not None:
        raise LabFault(f"dumpcap ended: {_last_line(log)}")
    return "File:" in log.read_text(errors="replace")


def _last_line(log: Path) -> str:
    lines = log.read_text(errors="replace").strip().splitlines()
    return lines[-1] if lines else "without a word"


def merge(files: Iterable[Path], target: Path, *, comment: str = "") -> int:
    """One file of all frames in time order, interfaces named; returns the frame count.

    Raises PcapngError, OSError.
    """
    described: list[pcapng.Interface] = []
    frames = []
    for path in files:
        with path.open("rb") as source:
            found = pcapng.read(source, points=described)
            frames.append(sorted(found, key=lambda frame: frame.time_ns))
    points = {point: number for number, point in enumerate(dict.fromkeys(described))}
    count = 0
    with target.open("wb") as out:
        out.write(pcapng.section("mirrorlab", comment))
        for point in points:
            out.write(pcapng.interface(point.name, point.description, point.linktype))
        for frame in heapq.merge(*frames, key=lambda frame: frame.time_ns):
            index = points[frame.interface]
            out.write(pcapng.packet(index, frame.time_ns, frame.data, frame.original_length))
            count += 1
    return count
