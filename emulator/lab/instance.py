"""One running lab: its world, its processes, its folder below /run/mirrorlab.

    /run/mirrorlab/<lab>/lab.json        what it is: `Lab.load` finds it again
                        /etc/...         what stands in for /etc inside its namespaces
                        /key, /host_key  for ssh
                        /<node>.json, .sock, .log

`down` needs nothing but the namespaces' names, so it works after any crash.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from emulator.device import configfile
from emulator.device.control import ControlError, ask
from emulator.lab import trust
from emulator.lab.control_plane import fabric_config
from emulator.lab.deployment import (
    BACKENDS,
    DEVICES,
    arp_cache_s,
    dataplane_config,
    device_config,
    world,
)
from emulator.lab.endpoints import endpoint_steps
from emulator.lab.ownership import write_private
from emulator.lab.peers.dataplane import Peer
from emulator.lab.settings.scenario import Scenario
from emulator.lab.spool import sweep
from emulator.lab.wait import LabFault, wait_until
from emulator.lab.workload.applications import PORTS, ports
from emulator.lab.workload.services import listening, start_services, write_etc, write_keys
from netns.build import build, destroy, labs
from netns.execute import call_in, spawn
from netns.topology import ROUTER, World
from netns.worlds import plan

ROOT = Path("/run/mirrorlab")
_ID = re.compile(r"[a-z0-9][a-z0-9_]{0,15}")
READY_S = 15.0
DATABASE_READY_S = 60.0  # initdb writes 40 MB
API_READY_S = 120.0  # moto takes seconds to load, many times that on a busy host


class LabExists(RuntimeError):
    """A lab of this name is up."""


class NoSuchLab(RuntimeError):
    """No lab of this name is up."""


def check_id(lab: str) -> str:
    """The id itself; raises ValueError unless it can be part of a namespace's name."""
    if not _ID.fullmatch(lab):
        raise ValueError(f"{lab!r} is no lab name: small letters, digits and _, at most 16")
    return lab


class Lab:
    """A lab and where its evidence goes (`evidence`: journals, logs)."""

    def __init__(self, lab: str, scenario: Scenario, evidence: Path | None = None) -> None:
        self.id = check_id(lab)
        self.scenario = scenario
        self.folder = ROOT / lab
        self.evidence = evidence or self.folder
        self.world: World = world(scenario, lab)
        self._made = False
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._services: list[subprocess.Popen[bytes]] = []
        self._unwatched: list[subprocess.Popen[bytes]] = []  # killed on purpose

    @classmethod
    def load(cls, lab: str) -> Lab:
        """The lab `lab`, started by some earlier process; raises NoSuchLab."""
        path = ROOT / check_id(lab) / "lab.json"
        try:
            stored = json.loads(path.read_text())
            scenario = Scenario.model_validate(stored["scenario"])
            return cls(lab, scenario, Path(stored["evidence"]))
        except (OSError, ValueError, KeyError):
            raise NoSuchLab(f"no lab {lab!r} is up (mirrorlab up starts one)") from None

    def create(self) -> None:
        """Build the world; raises LabExists, BuildError."""
        ROOT.mkdir(mode=0o700, exist_ok=True)
        with _locked():
            if self.id in labs() or self.folder.exists():
                raise LabExists(
                    f"lab {self.id!r} is already up: mirrorlab down, or --name for another one"
                )
            self._made = True
            self.folder.mkdir(mode=0o700)
        self.evidence.mkdir(parents=True, exist_ok=True)
        stored = {
            "lab": self.id,
            "scenario": self.scenario.model_dump(mode="json"),
            "evidence": str(self.evidence.resolve()),
        }
        (self.folder / "lab.json").write_text(json.dumps(stored, indent=1))
        ends = endpoint_steps(self.scenario, self.world)
        build([*plan(self.world, arp_cache_s(self.scenario)), *ends])

    def start(self) -> None:
        """Start fabric, services and devices; returns when bigip-a is active and mirrors.

        On-premises there is no provider: the router and the switch are the kernel's own.
        """
        if self.scenario.world == "cloud":
            self.start_fabric()
            self.start_dataplane()
        write_etc(self.world, self.scenario, self.folder)
        write_keys(self.folder)
        if self.scenario.devices.secured:
            trust.establish(self.folder, DEVICES)
        for node in DEVICES:
            self.start_device(node)
        self._services += start_services(self.world, self.folder, self.scenario)
        self.wait_ready()

    def start_fabric(self) -> None:
        """The provider's processes: the fabric in the router's namespace, its API beside it."""
        config = self.folder / "fabric.json"
        told = fabric_config(self.scenario, self.world, DEVICES)
        write_private(config, json.dumps(told).encode())
        log = self.evidence / "fabric.jsonl"
        self._python("fabric", ROUTER, ["-m", "netns.cloud.server", config, log])
        self._python("api", "api", ["-m", "netns.cloud.api", config])

    def wait_control_plane(self, active: str = DEVICES[0]) -> None:
        """Until the API answers, and the active device has nothing more to ask it for: a
        device that dies in the middle of a failover keeps its peer waiting (`device.extension`).
        One that asks again does so for want of an API that is slow to start on a busy host;
        or as the scenario has it, and then for good. On-premises there is none to wait for.
        """
        if self.scenario.world != "cloud":
            return
        over = {"idle", "failed"} | ({"retrying"} if self.scenario.cloud.api.refuses else set())

        def settled() -> bool:
            self.check_processes()
            ready = any(record["what"] == "api-ready" for record in self.fabric_log())
            return ready and self.status(active).get("cloud_failover") in over

        wait_until("the cloud's API", settled, timeout_s=API_READY_S)

    def start_dataplane(self) -> None:
        """What of the fabric routes cannot do, where the scenario has any of it."""
        if (settings := dataplane_config(self.scenario, self.world)) is None:
            return
        config, log = self.folder / "dataplane.json", self.evidence / "dataplane.jsonl"
        config.write_text(json.dumps(settings))
        self._python("dataplane", ROUTER, ["-m", "netns.cloud.dataplane", config, log])

        def started() -> bool:
            self.check_processes()
            return log.exists() and "dataplane-started" in log.read_text()

        wait_until("the fabric's data plane", started, timeout_s=READY_S)

    def start_device(self, node: str) -> None:
        """One BIG-IP's process, in its namespace and a PID namespace of its own."""
        config, told = self.folder / f"{node}.json", device_config(self.scenario, self.world, node)
        if (peer := self.peer(node)) is not None:
            told = peer.device_config
            peer.prepare()
            for name, argv in peer.programs.items():
                self._program(name, node, argv)
            wait_until(f"{peer.kind} of {node}", lambda: self._serves(peer), timeout_s=READY_S)
        told = replace(told, trust=str(trust.folder_of(self.folder, node)))
        write_private(config, configfile.dump(told))
        journal = self.evidence / f"{node}.jsonl"
        self._python(node, node, ["-m", "emulator.device", config, journal, self.socket(node)])

    def peer(self, node: str) -> Peer | None:
        """What serves a device's packets in its place, where something does."""
        kind = self.scenario.devices.data_plane
        if kind == "bigip" or node not in DEVICES:
            return None
        told = device_config(self.scenario, self.world, node)
        return Peer(kind, self.world.namespace(node), told, self.folder)

    def _serves(self, peer: Peer) -> bool:
        self.check_processes()
        return peer.ready()

    def programs_of(self, node: str) -> list[str]:
        """The processes that are one device: its own, and its peer's data plane."""
        peer = self.peer(node)
        return [node, *(peer.programs if peer else ())]

    def wait_ready(self) -> None:
        """Until the pair has found its roles and, where asked for, mirrors; raises LabFault."""
        mirrors = (
            self.scenario.virtual_server.mirrors_anything and self.scenario.devices.await_mirror
        )

        def ready() -> bool:
            self.check_processes()
            states = [self.status(node) for node in DEVICES]
            roles = [state.get("role") for state in states]
            channels = all(state.get("mirror_channel") == "up" for state in states)
            return roles == ["active", "standby"] and (channels or not mirrors)

        for node in BACKENDS:
            namespace = self.world.namespace(node)
            wanted = ports(
                self.scenario.sessions, first=node == self.scenario.virtual_server.pool[0]
            )
            wait_until(
                f"the servers of {node}",
                lambda n=namespace, w=wanted: call_in(n, lambda: listening(w)),  # type: ignore[misc]
                timeout_s=READY_S if PORTS["postgresql"] not in wanted else DATABASE_READY_S,
            )

        wait_until("bigip-a active and bigip-b standby", ready, timeout_s=READY_S)
        balancer = self.scenario.cloud.load_balancer
        if balancer is not None:
            patience_s = READY_S + balancer.detection_s
            wait_until("bigip-a healthy", self._sees_a_alone, timeout_s=patience_s)

    def _sees_a_alone(self) -> bool:
        """Whether the load balancer takes bigip-a, and no other, for healthy."""
        self.check_processes()
        states = {
            r["target"]: r["state"]
            for r in read_log(self.evidence / "dataplane.jsonl")
            if r["what"] == "target-health"
        }
        return [t for t, state in states.items() if state == "healthy"] == [DEVICES[0]]

    def check_processes(self) -> None:
        """Raises LabFault when a process we started has ended by itself."""
        for name, process in self._processes.items():
            if process.poll() is not None:
                log = (self.folder / f"{name}.log").read_text(errors="replace").strip()
                last = log.splitlines()[-1] if log else "no message"
                raise LabFault(f"{name} ended with status {process.returncode}: {last}")
        for process in self._services:
            if process.poll() is not None:
                what = " ".join(map(str, process.args)).rpartition("/etc ")[2]  # type: ignore[arg-type]
                raise LabFault(f"a server ended with status {process.returncode}: {what}")

    def forget_process(self, name: str) -> int:
        """It is about to be killed on purpose; returns its process id, raises NoSuchLab."""
        if name in self._processes:
            self._unwatched.append(self._processes.pop(name))
        try:
            return int((self.folder / f"{name}.pid").read_text())
        except (OSError, ValueError):
            raise NoSuchLab(f"{name} of lab {self.id!r} is not running") from None

    def socket(self, node: str) -> Path:
        """A device's control socket."""
        return self.folder / f"{node}.sock"

    def status(self, node: str) -> dict[str, object]:
        """A device's own account, or {} when it does not answer."""
        try:
            state = ask(self.socket(node), {"status": True}, timeout_s=2.0)
        except ControlError:
            return {}
        peer = self.peer(node)
        return state | peer.status() if peer else state

    def fabric_log(self) -> list[dict[str, object]]:
        """What the provider has accepted and carried out so far."""
        return self.journal("fabric")

    def journal(self, node: str) -> list[dict[str, object]]:
        """What a device or the provider has written down so far."""
        return read_log(self.evidence / f"{node}.jsonl")

    def tmsh(self, node: str, line: str) -> str:
        """Raises ControlError. Who has a device secure something needs the pair's keys."""
        if ".secure" in line:
            trust.establish(self.folder, DEVICES)
        return str(ask(self.socket(node), {"tmsh": line})["text"])

    def destroy(self) -> None:
        """Kill, remove, forget; idempotent. Not what another process made by the same name."""
        if self._made:
            down(self.id)
        for process in [*self._processes.values(), *self._services, *self._unwatched]:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=5)
        self._processes.clear()
        self._services.clear()
        self._unwatched.clear()

    def _python(self, name: str, node: str, arguments: list[str | Path]) -> None:
        self._program(name, node, [sys.executable, *arguments])

    def _program(self, name: str, node: str, argv: Sequence[str | Path]) -> None:
        with (self.folder / f"{name}.log").open("ab") as log:
            process = spawn(self.world.namespace(node), argv, log=log)
        self._processes[name] = process
        (self.folder / f"{name}.pid").write_text(str(process.pid))


def read_log(path: Path) -> list[dict[str, object]]:
    """The whole lines of a log of JSON lines; one still being written is left out."""
    lines = path.read_text().splitlines() if path.exists() else []
    return [json.loads(line) for line in lines if line.endswith("}")]


def down(lab: str) -> bool:
    """Take a lab down, whatever is left of it; False when there was nothing.

    Ctrl-C in the middle is heard once all is down: half a lab is of no use to anybody.
    """
    check_id(lab)
    try:
        return _down(lab)
    except KeyboardInterrupt:
        _down(lab)  # from here on a command ignores signals (commands.terminal)
        raise


def _down(lab: str) -> bool:
    namespaces = labs().get(lab, [])
    folder = ROOT / lab
    found = bool(namespaces) or folder.exists()
    destroy(namespaces)
    shutil.rmtree(folder, ignore_errors=True)
    sweep()
    return found


def all_labs() -> list[str]:
    """Every lab of which anything is left on this host."""
    folders = [p.name for p in ROOT.iterdir() if p.is_dir()] if ROOT.is_dir() else []
    return sorted({*labs(), *folders})


@contextlib.contextmanager
def _locked() -> Iterator[None]:
    """Two `up` of the same name at once must not both believe they were first."""
    handle = os.open(ROOT / ".lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
