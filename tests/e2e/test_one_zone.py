"""A secondary private address moved by hand, with the AWS CLI, while traffic goes to it."""

from __future__ import annotations

import secrets
import subprocess
from collections.abc import Iterator

import pytest

from emulator.lab.instance import Lab
from emulator.lab.wait import wait_until
from tests.e2e.conftest import MIRRORLAB
from tests.e2e.test_control_plane import DEADLINE_S, DELAY_S, Stream, Watch, inside

pytestmark = [pytest.mark.e2e, pytest.mark.long, pytest.mark.timeout(600)]
ADDRESS = "10.0.10.100"
ASSIGN = (
    "aws", "ec2", "assign-private-ip-addresses", "--network-interface-id", "eni-bigip-b-ext",
    "--private-ip-addresses", ADDRESS,
)  # fmt: skip


@pytest.fixture
def lab() -> Iterator[Lab]:
    name = f"z{secrets.token_hex(3)}"
    try:
        subprocess.run([*MIRRORLAB, "up", "secondary-ip", "--name", name], check=True, timeout=120)
        found = Lab.load(name)
        wait_until(
            "bigip-a's failover extension",
            lambda: found.status("bigip-a").get("cloud_failover") == "idle",
            timeout_s=DEADLINE_S,
        )
        yield found
    finally:
        subprocess.run([*MIRRORLAB, "down", "--name", name], check=True, timeout=60)


def refused(lab: Lab, *command: str) -> str:
    argv = [*MIRRORLAB, "exec", "client", "--name", lab.id, "--", *command]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=DEADLINE_S)
    assert done.returncode != 0
    return done.stderr


def test_the_aws_cli_moves_an_address_within_its_subnet_and_only_if_allowed(lab: Lab) -> None:
    stream, at_a, at_b = Stream(lab, ADDRESS), Watch(lab, "bigip-a"), Watch(lab, "bigip-b")
    for thread in (at_a, at_b, stream):
        thread.start()
    try:
        wait_until("traffic at bigip-a", lambda: at_a.first is not None, timeout_s=DEADLINE_S)
        assert "assigned, but move is not allowed" in refused(lab, *ASSIGN)
        inside(lab, "client", *ASSIGN, "--allow-reassignment")
        wait_until("traffic at bigip-b", lambda: at_b.first is not None, timeout_s=DEADLINE_S)
    finally:
        stream.over.set()
    accepted = [r for r in lab.fabric_log() if r["what"] == "accepted"]
    assert [(r.get("taken_from"), r.get("target")) for r in accepted] == [
        ("eni-bigip-a-ext", None), (None, "eni-bigip-b-ext"),
    ]  # fmt: skip
    assert at_b.first is not None
    assert at_b.first - float(str(accepted[0]["time"])) >= DELAY_S
    by = f"Name=addresses.private-ip-address,Values={ADDRESS}"
    shown = inside(lab, "client", "aws", "ec2", "describe-network-interfaces", "--filters", by)
    [row] = shown["NetworkInterfaces"]
    assert (row["NetworkInterfaceId"], row["SubnetId"]) == ("eni-bigip-b-ext", "subnet-bigip-ext")
