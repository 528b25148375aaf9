"""Failover within one zone against the API itself: what the failover extension plans from its
answers, carried out by boto3.

moto's state is a process's, so this seeded account has a process of its own.
"""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from ipaddress import IPv4Address
from multiprocessing import get_context
from typing import Any

from emulator.core import cloudfailover
from emulator.core.cloudfailover import Own, SecondaryMove
from emulator.core.declaration import read
from netns.topology import cloud
from tests.netns.test_aws import BUCKET, Api, addresses

OUTER, INNER = "10.0.10.100", "10.0.11.100"
DEVICES = ("bigip-a", "bigip-b")


def fail_over_and_back() -> list[Any]:
    """Runs in a process of its own: the subnets of the devices' interfaces, then for each
    device that takes over its plan and who has the addresses afterwards."""
    world = replace(
        cloud("x", zones="one"),
        secondary={IPv4Address(OUTER): "eni-bigip-a-ext", IPv4Address(INNER): "eni-bigip-a-int"},
    )
    label = {"f5_cloud_failover_label": "mine"}
    tags = {
        f"eni-{device}-{name}": label | {cloudfailover.NIC_MAP_TAG: name}
        for device in DEVICES
        for name in ("ext", "int")
    }
    api = Api(world, tags | {BUCKET: label})
    ec2 = api.client()
    shown = ec2.describe_network_interfaces()["NetworkInterfaces"]
    found: list[Any] = [{row["NetworkInterfaceId"]: row["SubnetId"] for row in shown}]
    for device in reversed(DEVICES):
        operations = plan(ec2, device)
        for stage in (s for track in cloudfailover.tracks(operations) for s in track):
            for call in stage:
                name = {"U": "unassign", "A": "assign"}[call.action[0]]
                getattr(ec2, f"{name}_private_ip_addresses")(**call.parameters)
        has = {f"{d} {n}": addresses(ec2, f"eni-{d}-{n}") for d in DEVICES for n in ("ext", "int")}
        found.append((operations.secondary, has, len(api.accepted())))
    return found


def plan(ec2: Any, device: str) -> cloudfailover.Operations:
    tags = {"f5_cloud_failover_label": "mine"}
    declaration = read(
        {
            "class": "Cloud_Failover",
            "environment": "aws",
            "externalStorage": {"scopingTags": tags},
            "failoverAddresses": {"enabled": True, "scopingTags": tags},
        }
    )
    own = Own(device, f"i-{device}", (), (OUTER, INNER))
    ask = {
        "DescribeAddresses": ("describe_addresses", "Addresses"),
        "DescribeNetworkInterfaces": ("describe_network_interfaces", "NetworkInterfaces"),
        "DescribeSubnets": ("describe_subnets", "Subnets"),
    }
    answers = {}
    for name, call in cloudfailover.discovery(declaration, own).items():
        method, rows = ask[call.action]
        answers[name] = getattr(ec2, method)(**call.parameters)[rows]
    return cloudfailover.address_operations(declaration, own, answers)


def test_both_addresses_go_to_the_peers_interfaces_and_come_back() -> None:
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        subnets, there, back = pool.submit(fail_over_and_back).result()
    for name in ("ext", "int", "ha"):
        assert {subnets[f"eni-{device}-{name}"] for device in DEVICES} == {f"subnet-bigip-{name}"}
    for (moves, has, changes), old, new in ((there, *DEVICES), (back, *reversed(DEVICES))):
        assert moves == (
            SecondaryMove(OUTER, f"eni-{old}-ext", f"eni-{new}-ext"),
            SecondaryMove(INNER, f"eni-{old}-int", f"eni-{new}-int"),
        )
        assert {OUTER in has[f"{new} ext"], INNER in has[f"{new} int"]} == {True}
        assert {len(has[f"{old} ext"]), len(has[f"{old} int"])} == {1}  # its primary one
        assert changes == 4
