"""The control plane by a user's own tools, and runs in which it fails."""

from __future__ import annotations

import json
import secrets
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from emulator.lab.instance import Lab
from emulator.lab.wait import wait_until
from netns.execute import call_in
from tests.e2e.conftest import MIRRORLAB, Finished, run_cli

pytestmark = pytest.mark.e2e
DELAY_S = 4.0  # the scenario's propagation delay
DEADLINE_S = 120.0
ETH_IP = 0x0800


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    """A lab that is up, as by hand; its active device has asked the cloud what it had to: until
    then it would take a route back."""
    name = f"c{secrets.token_hex(3)}"
    try:
        subprocess.run([*MIRRORLAB, "up", "article", "--name", name], check=True, timeout=120)
        found = Lab.load(name)
        wait_until(
            "bigip-a's failover extension",
            lambda: found.status("bigip-a").get("cloud_failover") == "idle",
            timeout_s=DEADLINE_S,
        )
        yield found
    finally:
        subprocess.run([*MIRRORLAB, "down", "--name", name], check=True, timeout=60)


def inside(lab: Lab, node: str, *command: str) -> Any:
    """`mirrorlab exec NODE -- COMMAND`; what it prints is JSON, or nothing."""
    argv = [*MIRRORLAB, "exec", node, "--name", lab.id, "--", *command]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=DEADLINE_S)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout) if done.stdout.strip() else None


class Stream(threading.Thread):
    """Datagrams from the client to the virtual server, 50 a second, until `over`."""

    def __init__(self, lab: Lab, address: str = "10.99.0.10") -> None:
        super().__init__(daemon=True)
        self._lab, self._address, self.over = lab, address, threading.Event()

    def run(self) -> None:
        def send() -> None:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
                while not self.over.wait(0.02):
                    sender.sendto(b"live", (self._address, 9))

        call_in(self._lab.world.namespace("client"), send)


class Watch(threading.Thread):
    """When the first such datagram comes to a device's outer interface (wall clock)."""

    def __init__(self, lab: Lab, node: str) -> None:
        super().__init__(daemon=True)
        self.first: float | None = None
        self._socket = call_in(lab.world.namespace(node), self._open)

    def _open(self) -> socket.socket:
        watcher = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_IP))
        watcher.bind(("ext", ETH_IP))
        watcher.settimeout(DEADLINE_S)
        return watcher

    def run(self) -> None:
        with self._socket:
            while b"live" not in self._socket.recv(2048):
                pass
            self.first = time.time()


def test_the_aws_cli_moves_live_traffic_after_the_propagation_delay(lab: Lab) -> None:
    """From the client: the API shows the new target at once, packets follow later."""
    stream, at_a, at_b = Stream(lab), Watch(lab, "bigip-a"), Watch(lab, "bigip-b")
    for thread in (at_a, at_b, stream):
        thread.start()
    try:
        wait_until("traffic at bigip-a", lambda: at_a.first is not None, timeout_s=DEADLINE_S)
        inside(
            lab, "client", "aws", "ec2", "replace-route", "--route-table-id", "rtb-client",
            "--destination-cidr-block", "10.99.0.0/24",
            "--network-interface-id", "eni-bigip-b-ext",
        )  # fmt: skip
        wait_until("traffic at bigip-b", lambda: at_b.first is not None, timeout_s=DEADLINE_S)
    finally:
        stream.over.set()
    [accepted] = [r for r in lab.fabric_log() if r["what"] == "accepted"]
    assert accepted["target"] == "eni-bigip-b-ext"
    assert at_b.first is not None
    assert at_b.first - float(str(accepted["time"])) >= DELAY_S
    shown = inside(lab, "client", "aws", "ec2", "describe-route-tables")
    [table] = [t for t in shown["RouteTables"] if t["RouteTableId"] == "rtb-client"]
    targets = {r["DestinationCidrBlock"]: r.get("NetworkInterfaceId") for r in table["Routes"]}
    assert targets["10.99.0.0/24"] == "eni-bigip-b-ext"


BOTO3 = """
import boto3, json
ec2 = boto3.client("ec2")
interfaces = ec2.describe_network_interfaces()["NetworkInterfaces"]
state = boto3.client("s3").get_object(
    Bucket="mirrorlab-failover-state", Key="f5cloudfailover/f5cloudfailoverstate.json"
)["Body"].read()
print(json.dumps([[i["NetworkInterfaceId"] for i in interfaces], json.loads(state)]))
"""


def test_boto3_in_the_apis_namespace_needs_no_settings(lab: Lab) -> None:
    """And finds the state object the active device's failover extension has written."""
    interfaces, state = inside(lab, "api", "python", "-c", BOTO3)
    assert set(interfaces) == {i.id for i in lab.world.interfaces}
    assert state["taskState"] == "SUCCEEDED"
    assert state["instance"] == "bigip-a"


BROKEN = {
    "api-down": ("api: {outage: {}}", "cloud-call-failed", "ConnectionClosedError"),
    "unknown-region": (
        "api: {device_region: eu-nowhere-9}", "cloud-call-failed", "AuthorizationHeaderMalformed",
    ),
    "unknown-key": ("api: {credentials: unknown-key}", "cloud-call-failed", "InvalidAccessKeyId"),
    "not-allowed": (
        'api: {denied_actions: ["ec2:ReplaceRoute"]}', "route-refused", "UnauthorizedOperation",
    ),
    "bad-declaration": (
        "declaration: {class: Cloud_Failover, environment: aws, nosuch: 1}",
        "declaration-refused", "nosuch: Extra inputs are not permitted",
    ),
}  # fmt: skip


def run_broken(name: str, folder: Path) -> Finished:
    path = folder / f"{name}.yaml"
    path.write_text(
        "title: a control plane that fails\nsessions: [ssh, echo]\nobserve_s: 1\n"
        f"virtual_server: {{snat: pool}}\ncloud:\n  {BROKEN[name][0]}\n"
        "expect: {ssh: STALLED, echo: STALLED}\n"
    )
    return run_cli(str(path), folder / "runs")


def check_broken(name: str, folder: Path) -> None:
    """The journal says why, in one clear line; the verdict says what it did to the sessions."""
    done = run_broken(name, folder)
    _, what, text = BROKEN[name]
    assert done.result["void"] is None
    assert done.status == 0
    assert set(done.causes.values()) == {"route-never-moved"}
    assert done.result["failover"]["effective"] is None
    assert text in done.result["failover"]["refusals"]["last"]
    lines = [json.loads(line) for line in (done.folder / "bigip-b.jsonl").read_text().splitlines()]
    told = [line for line in lines if line["what"] == what]
    assert told
    assert text in (told[0].get("error") or told[0]["reason"])
    assert "Traceback" not in (done.folder / "bigip-b.jsonl").read_text()


def test_without_an_api_nothing_moves(tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    check_broken("api-down", tmp_path)


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", [name for name in BROKEN if name != "api-down"])
def test_a_control_plane_that_refuses(name: str, tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    check_broken(name, tmp_path)


@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.parametrize(
    ("name", "routes", "seconds"), [("throttled-200", 200, 30), ("throttled-500", 500, 90)]
)
def test_throttling_takes_the_time_the_buckets_make(
    name: str, routes: int, seconds: int, tmp_path: Path
) -> None:
    """Within 30 % of the token model, which at 500 routes is what F5 publishes."""
    done = run_cli(name, tmp_path, timeout_s=600)
    assert done.result["void"] is None
    assert done.status == 0
    log = [json.loads(line) for line in (done.folder / "fabric.jsonl").read_text().splitlines()]
    accepted = [line["time"] for line in log if line["what"] == "accepted"]
    assert len(accepted) == routes
    took = accepted[-1] - accepted[0]
    assert 0.7 * seconds <= took <= 1.3 * seconds
    effective = [line["time"] for line in log if line["what"] == "effective"]
    assert len(effective) == routes
