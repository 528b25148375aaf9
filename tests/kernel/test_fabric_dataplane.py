"""The data plane's process in a router: what it queues, passes, holds and takes."""

from __future__ import annotations

import json
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from emulator.lab.wait import wait_until
from netns.build import build, destroy
from netns.execute import spawn
from netns.plan import plan
from netns.topology import World, cloud
from tests.kernel.test_fabric import arrives, listen, send

pytestmark = pytest.mark.root
ALL = {"protocol": "all", "network": "0.0.0.0/0", "ports": [0, 65535]}
DELAY_S = 0.2


def group(interface: str, ingress: list[object], egress: list[object]) -> dict[str, object]:
    return {
        "interface": interface, "owner": interface, "kind": "security-group", "ingress": ingress,
        "egress": egress, "idle_timeout_s": 350, "lost_state": "strict",
    }  # fmt: skip


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    built = cloud(f"d{secrets.token_hex(3)}")
    try:
        build(plan(built))
        yield built
    finally:
        destroy([built.namespace(node) for node in built.nodes])


@pytest.fixture
def dataplane(world: World, tmp_path: Path) -> Iterator[Path]:
    """backend-1 may send only, backend-2 receive only; the client's link takes its time."""
    config, log = tmp_path / "config.json", tmp_path / "log.jsonl"
    filters = [group("be1-eth0", [], [ALL]), group("be2-eth0", [ALL], [])]
    links = {"client-eth0": {"delay_s": DELAY_S}}
    config.write_text(json.dumps({"filters": filters, "links": links, "balancer": None}))
    argv: list[str | Path] = [sys.executable, "-m", "netns.cloud.dataplane", config, log]
    with (tmp_path / "output").open("wb") as output:
        process = spawn(world.namespace("router"), argv, log=output, tree=False)
    wait_until("the data plane", lambda: log.exists() and log.read_text(), timeout_s=20)
    yield log
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=10) == 0
    subprocess.run(
        ["ip", "netns", "exec", world.namespace("router"), "iptables", "-t", "mangle", "-F"],
        check=True,
    )


def counters(log: Path) -> list[str]:
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    return [line["counter"] for line in lines if line["what"] == "dropped"]


def test_a_packet_meets_the_groups_of_both_interfaces_it_crosses(
    world: World, dataplane: Path
) -> None:
    with (
        listen(world, "backend-1", "10.0.31.100") as one,
        listen(world, "backend-2", "10.0.32.100") as two,
        listen(world, "api", "10.0.2.10") as api,
    ):
        send(world, "backend-1", "10.0.32.100")
        assert arrives(two)
        send(world, "backend-2", "10.0.31.100")  # its own group lets nothing out
        assert not arrives(one)
        assert counters(dataplane) == ["security-group-denied/be2-eth0"]
        send(world, "api", "10.0.31.100")  # the receiver's lets nothing in
        assert not arrives(one)
        assert counters(dataplane)[-1] == "security-group-denied/be1-eth0"
        one.sendto(b"probe", ("10.0.2.10", 9))
        assert arrives(api)
        api.sendto(b"probe", ("10.0.31.100", 9))  # the answer
        assert arrives(one)


def test_a_link_holds_packets_for_its_delay_both_ways(world: World, dataplane: Path) -> None:
    with listen(world, "client", "10.0.1.10") as client, listen(world, "api", "10.0.2.10") as api:
        began = time.monotonic()
        send(world, "client", "10.0.2.10")
        assert arrives(api)
        api.sendto(b"probe", ("10.0.1.10", 9))
        assert arrives(client)
        assert time.monotonic() - began >= 2 * DELAY_S
    assert counters(dataplane) == []
