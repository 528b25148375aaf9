"""A pair that rounds of the campaign are done to: built, brought into position, looked at."""

from __future__ import annotations

import contextlib
import json
import secrets
import socket
import time
from collections.abc import Callable
from pathlib import Path

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from emulator.device.control import ControlError, ask
from emulator.lab.campaign.chaosfaults import Faults
from emulator.lab.campaign.chaosmodel import FAILOVER_TIMEOUT_S
from emulator.lab.campaign.chaosplan import World
from emulator.lab.campaign.killtraffic import BulkServer
from emulator.lab.campaign.skew import SkewedLab
from emulator.lab.control_plane import BUCKET, OPERATOR
from emulator.lab.deployment import DEVICES
from emulator.lab.settings.scenario import Scenario
from emulator.lab.wait import LabFault, wait_until
from emulator.lab.workload.applications import PORTS
from netns.execute import NamespaceError, call_in, run
from netns.topology import API_PORT

# Of the ends and the devices: who waits for a retransmission waits seconds, not minutes. A
# socket without a program would give up as soon as its timer is at its largest, and a SYN after
# six tries.
_SYSCTLS = (
    "net.ipv4.tcp_rto_max_ms=4000",
    "net.ipv4.tcp_orphan_retries=15",
    "net.ipv4.tcp_syn_retries=20",
)
_WAITS_FOR_PEER_S = 8.0  # a failover extension that waits for its peer's longer is stuck
_PROBE_S = 3.0


class DeviceEnded(RuntimeError):
    """A device's process ended by itself; the text says how."""


class ChaosWorld:
    """One lab. `create` first, `destroy` in any case."""

    def __init__(self, world: World, folder: Path) -> None:
        server = {
            "type": world.type, "snat": "pool", "mirroring": True,
            "commit": world.commit, "snat_pool": ["10.88.0.10"],
        }  # fmt: skip
        plain = {
            "name": "chaos", "title": "chaos", "world": world.kind, "virtual_server": server,
            "sessions": ["ssh"], "devices": {"failover_timeout_s": FAILOVER_TIMEOUT_S},
        }  # fmt: skip
        if world.kind == "cloud":
            plain["cloud"] = {"propagation_delay_s": 0.05, "api": {"retry_s": 1.0}}
        self.world = world
        self.lab = SkewedLab(secrets.token_hex(3), Scenario.model_validate(plain), folder)
        self.faults = Faults(self.lab)
        self.address = str(self.lab.scenario.virtual_server.destination)
        self.server: BulkServer | None = None
        self.resets = 0  # of the failover extension's state, by the operator
        self._waiting_since: float | None = None

    def create(self) -> None:
        """Raises LabFault, BuildError."""
        self.lab.create()
        for node in self.lab.world.nodes:
            for setting in _SYSCTLS:
                with contextlib.suppress(NamespaceError):  # before Linux 6.15
                    run(self.lab.world.namespace(node), ["sysctl", "-q", "-w", setting])
        self.lab.start()
        backend = self.lab.world.interface("backend-1", "eth0")
        namespace = self.lab.world.namespace(backend.node)
        self.server = call_in(namespace, lambda: BulkServer(str(backend.address)))
        self.lab.wait_control_plane()

    def destroy(self) -> None:
        """Idempotent."""
        with contextlib.suppress(LabFault, NamespaceError):
            self.faults.heal_channel()  # its thread holds a queue of the lab's
        if self.server is not None:
            self.server.close()
        self.lab.destroy()

    def position(self, first: str) -> None:
        """`first` is active, the other one stands by, in sync; raises LabFault, DeviceEnded."""
        wait_until("the pair to be whole", lambda: not self.lacks(), timeout_s=30)
        if self.active() != first:
            other = DEVICES[1 - DEVICES.index(first)]
            self.lab.tmsh(other, "run sys failover standby")
            wait_until(f"{first} to be active", lambda: self.active() == first, timeout_s=15)
        wait_until("the pair to be whole", lambda: not self.lacks(), timeout_s=30)
        if (told := self.probe()) is not None:
            raise LabFault(f"before the round no connection comes about: {told}")

    def check(self) -> None:
        """Raises DeviceEnded; LabFault where another process has ended."""
        try:
            self.lab.check_processes()
        except LabFault as error:
            if str(error).startswith(DEVICES):
                raise DeviceEnded(str(error)) from None
            raise

    def active(self) -> str | None:
        """The one active device, if there is exactly one."""
        found = [n for n in DEVICES if self.lab.status(n).get("role") == "active"]
        return found[0] if len(found) == 1 else None

    def lacks(self, dead: frozenset[int] = frozenset()) -> str:
        """What keeps the pair from being whole: one active, one standby, a channel, in sync, the
        cloud told. Empty when nothing does. `dead`: ports of lost conversations; the active
        device may keep such a flow, with bytes beyond a gap that nobody will ever fill, until it
        is idle for too long, and has nothing to give. Raises DeviceEnded, LabFault."""
        self.check()
        states = {node: self.lab.status(node) for node in DEVICES}
        roles = {node: str(state.get("role", "silent")) for node, state in states.items()}
        if sorted(roles.values()) != ["active", "standby"]:
            return ", ".join(f"{node} is {role}" for node, role in roles.items())
        if down := [n for n, s in states.items() if s.get("mirror_channel") != "up"]:
            return f"the mirroring channel of {down[0]} is down"
        active, standby = sorted(DEVICES, key=lambda node: roles[node])
        told = str(states[active].get("cloud_failover"))
        if told not in ("idle", "none"):
            self._unstick(active, told)
            return f"the failover extension of {active} is {told}"
        self._waiting_since = None
        lag = states[active].get("mirror_lag")
        if isinstance(lag, dict) and lag.get("messages"):
            return f"{standby} owes {lag['messages']} acknowledgements"
        return self._out_of_sync(active, standby, dead)

    def _out_of_sync(self, active: str, standby: str, dead: frozenset[int]) -> str:
        """Flows that one device has and the other has not. With asynchronous mirroring those
        older than the channel are not mirrored (K13478)."""
        there, here = self._flows(active), self._flows(standby)
        if there is None or here is None:
            return "a device does not answer"
        if stale := here.keys() - there.keys():
            return f"{standby} holds {len(stale)} flows that are gone, {min(stale)}"
        owed = {key for key, flow in there.items() if flow["state"] == "open"} - here.keys()
        owed = {key for key in owed if dead.isdisjoint(_ports(key))}
        if owed and (self.world.sync or self.world.type != "standard"):
            return f"{standby} lacks {len(owed)} flows, {min(owed)}"
        return ""

    def _flows(self, node: str) -> dict[str, dict[str, object]] | None:
        try:
            rows = ask(self.lab.socket(node), {"flows": True}, timeout_s=2.0)["flows"]
        except ControlError:
            return None
        assert isinstance(rows, list)
        return {f"{row['client']} {row['virtual']}": row for row in rows}

    def _unstick(self, active: str, told: str) -> None:
        """A device that died during its failover keeps its peer's waiting for twenty minutes
        (CFE: 400 times 3 s); an operator resets the state, and so does the campaign."""
        now = time.monotonic()
        journal = self.lab.journal(active)
        last = [r["what"] for r in journal if str(r["what"]).startswith("failover-")]
        if told != "running" or not last or last[-1] != "failover-waiting":
            self._waiting_since = None
            return
        self._waiting_since = self._waiting_since or now
        if now - self._waiting_since > _WAITS_FOR_PEER_S:
            self.resets += 1
            self._waiting_since = None
            call_in(self.lab.world.namespace("api"), self._reset_state)

    def _reset_state(self) -> None:
        key, secret = OPERATOR
        url = f"http://{self.lab.world.interface('api', 'eth0').address}:{API_PORT}"
        region = self.lab.scenario.cloud.api.region
        state = {"taskState": "SUCCEEDED", "message": "Failover state file was reset"}
        try:
            storage = boto3.Session(key, secret, region_name=region).client("s3", endpoint_url=url)
            for row in storage.list_objects_v2(Bucket=BUCKET).get("Contents", []):
                storage.put_object(Bucket=BUCKET, Key=row["Key"], Body=json.dumps(state).encode())
        except (BotoCoreError, ClientError) as error:
            raise LabFault(f"the operator could not reset the state: {error}") from error

    def probe(self) -> str | None:
        """One new connection through the pair, a few bytes there and back: None, or what failed."""

        def ask_echo() -> str | None:
            said = secrets.token_bytes(200)
            try:
                with socket.create_connection((self.address, PORTS["echo"]), _PROBE_S) as talk:
                    talk.sendall(said)
                    talk.shutdown(socket.SHUT_WR)
                    answer = b""
                    while data := talk.recv(4096):
                        answer += data
            except OSError as error:
                return str(error)
            return None if answer == said else f"{len(answer)} of {len(said)} bytes came back"

        return call_in(self.lab.world.namespace("client"), ask_echo)


def _ports(flow: str) -> set[int]:
    """Of "client virtual", as `_flows` calls them."""
    return {int(end.rpartition(":")[2]) for end in flow.split()}


def eventually(condition: Callable[[], str | None], timeout_s: float) -> tuple[str, float]:
    """What is still wrong at the deadline (nothing: empty), and the seconds it took."""
    began = time.monotonic()
    while (wrong := condition()) and time.monotonic() < began + timeout_s:
        time.sleep(0.1)
    return wrong or "", time.monotonic() - began
