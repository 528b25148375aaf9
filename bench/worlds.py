"""Labs to measure in: the lab's own world, with one data plane or another in its devices.

Every contender of a figure has a lab of its own, all of the same topology, and all of them are
up while the figure is measured. Segmentation and checksum offloads are on, which they are not
where captures are to be read.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from emulator.lab.deployment import BACKENDS, DEVICES, entry_address
from emulator.lab.instance import Lab, read_log
from emulator.lab.peers import haproxy
from emulator.lab.peers.dataplane import Peer
from emulator.lab.settings.scenario import Scenario
from emulator.lab.wait import LabFault, wait_until
from emulator.lab.workload.services import listening
from netns.build import build, processes
from netns.execute import call_in, command_in, run, spawn
from netns.plan import SetOffload

LOAD = Path(__file__).with_name("generator.py")
PORTS = {9000, 9001}  # generator.ECHO, generator.SINK
ATTEMPTS = 3
CLOCK_TICKS = os.sysconf("SC_CLK_TCK")


class BestProxy(Peer):
    """HAProxy as one would run it for speed: no log, room for many connections; `tuning` adds
    what is tried beside that."""

    tuning: tuple[str, str] = ("", "")  # lines for `global`, lines for `defaults`

    def prepare(self) -> None:
        super().prepare()
        path = self.folder / f"{self.config.name}-haproxy.cfg"
        lines = haproxy.configuration(self.config, self.config.virtual_servers[0], PORTS)
        kept = [s for s in lines.splitlines() if "log" not in s]
        for section, more in zip(("global", "defaults"), self.tuning, strict=True):
            at = kept.index(section) + 1
            kept[at:at] = [f"    {line}" for line in more.split(";") if line]
        path.write_text("\n".join(kept) + "\n")

    def ready(self) -> bool:
        return call_in(self.namespace, lambda: listening(PORTS))


class SplicingProxy(BestProxy):
    """With the kernel moving the bytes."""

    tuning = ("", "option splice-auto")


class BigBufferProxy(BestProxy):
    """With buffers as large as a super-packet."""

    tuning = ("tune.bufsize 65536", "")


class BenchLab(Lab):
    """A lab with offloads on, and servers for the load in the first backend."""

    proxy: type[Peer] = BestProxy

    def create(self) -> None:
        super().create()
        for interface in self.world.interfaces:
            near, far = (self.world.namespace(n) for n in (interface.node, interface.uplink))
            ends = ((near, interface.name), (far, interface.router_name))
            build([SetOffload(namespace, name, True) for namespace, name in ends])

    def peer(self, node: str) -> Peer | None:
        peer = super().peer(node)
        if peer is None or peer.kind != "haproxy":
            return peer
        return self.proxy(peer.kind, peer.namespace, peer.config, peer.folder)

    def load(self, what: str, *numbers: float, timeout_s: float = 120) -> dict[str, float]:
        """Run the load from the client; raises LabFault."""
        address = str(entry_address(self.scenario))
        argv = [sys.executable, LOAD, what, address, *map(str, numbers)]
        command = command_in(self.world.namespace("client"), argv)
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=timeout_s, check=False
        )
        if done.returncode:
            raise LabFault(f"{what}: {done.stderr.strip().splitlines()[-1]}")
        found: dict[str, float] = json.loads(done.stdout)
        return found

    def device_pid(self, node: str = DEVICES[0]) -> int:
        """The device's own process, not its failover extension's."""
        for pid in processes([self.world.namespace(node)]):
            words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
            if b"emulator.device" in words and b"unshare" not in words[0]:
                return pid
        raise LabFault(f"{node} has no process")

    def cpu_s(self, node: str = DEVICES[0]) -> float:
        """Processor time its device has used."""
        fields = Path(f"/proc/{self.device_pid(node)}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / CLOCK_TICKS

    def mirror_channel(self, node: str = DEVICES[0]) -> tuple[bool, int]:
        """Whether its mirroring channel is up, and how often it was lost: by its journal."""
        told = [str(line["what"]) for line in read_log(self.evidence / f"{node}.jsonl")]
        return channel_story(told)

    def mirrored(self, measure: Callable[[], dict[str, float]]) -> dict[str, float]:
        """What `measure` finds while the mirroring channel lives. A reading during which it was
        lost is void, for some of its flows went on unmirrored: made again, ATTEMPTS times in
        all; then raises LabFault."""
        ours = self.scenario.devices.data_plane == "bigip"
        if not (ours and self.scenario.virtual_server.mirroring):
            return measure()
        for _ in range(ATTEMPTS):
            wait_until("the mirroring channel", lambda: self.mirror_channel()[0], timeout_s=20)
            before = self.mirror_channel()[1]
            reading = measure()
            lost = self.mirror_channel()[1] - before
            if not lost:
                return reading
            print("    void: the mirroring channel was lost meanwhile", file=sys.stderr, flush=True)
        raise LabFault(f"void {ATTEMPTS} times: the mirroring channel was lost meanwhile")

    def check_queues(self) -> None:
        """Packets the lab itself lost make a measurement void; raises LabFault."""
        for node in DEVICES:
            if lost := int(str(self.status(node).get("queue_drops", 0))):
                raise LabFault(f"{node}'s queues lost {lost} packets")


def channel_story(told: Sequence[str]) -> tuple[bool, int]:
    """Of a journal's lines: whether the channel is up at their end, how often it was lost."""
    states = [what for what in told if what.startswith("mirror-channel-")]
    up = bool(states) and states[-1] == "mirror-channel-established"
    return up, states.count("mirror-channel-lost")


def scenario(server: dict[str, object], **devices: object) -> Scenario:
    """This virtual server on shared segments: no cloud takes processor time beside it."""
    mirroring = {"mirroring": False, "snat": "pool", **server}
    return Scenario.model_validate(
        {
            "name": "bench", "title": "bench", "world": "onprem", "sessions": ["echo"],
            "virtual_server": mirroring, "devices": devices,
        }
    )  # fmt: skip


@contextlib.contextmanager
def lab(
    server: dict[str, object], proxy: type[Peer] = BestProxy, **devices: object
) -> Iterator[BenchLab]:
    """A running lab whose first backend serves the load."""
    with tempfile.TemporaryDirectory(prefix="mirrorlab-bench-") as folder:
        made = BenchLab(secrets.token_hex(3), scenario(server, **devices), Path(folder))
        made.proxy = proxy
        servers: subprocess.Popen[bytes] | None = None
        try:
            made.create()
            made.start()
            made.wait_control_plane()
            client, backend = (made.world.namespace(n) for n in ("client", BACKENDS[0]))
            for namespace in (client, backend):
                run(namespace, ["sysctl", "-qw", "net.ipv4.ip_local_port_range=10000 65000"])
            address = str(made.world.interface(BACKENDS[0], "eth0").address)
            servers = spawn(backend, [sys.executable, LOAD, "serve", address], log=2)
            wait_until(
                "the load's servers", lambda: call_in(backend, lambda: listening(PORTS)),
                timeout_s=10,
            )  # fmt: skip
            yield made
        finally:
            made.destroy()
            if servers is not None:
                servers.wait(timeout=10)
