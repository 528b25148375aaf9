"""Endpoint profiles as the kernel's settings, and what of a host they need."""

from __future__ import annotations

from emulator.lab.deployment import world
from emulator.lab.endpoints import endpoint_steps, wanted
from emulator.lab.settings.scenario import Scenario


def scenario(**settings: object) -> Scenario:
    return Scenario.model_validate({"title": "x", **settings})


def test_linux_ends_are_left_as_they_are() -> None:
    plain = scenario()
    assert endpoint_steps(plain, world(plain, "x")) == []
    assert wanted(plain) == set()


def test_a_windows_client_is_the_clients_node_alone() -> None:
    """TcpMaxDataRetransmissions 5, and a shortest time-out of 300 ms."""
    one = scenario(endpoints={"client": "windows"})
    steps = [str(step) for step in endpoint_steps(one, world(one, "x"))]
    assert len(steps) == 2
    assert all("-x-client " in step for step in steps)
    assert steps[0].endswith("net.ipv4.tcp_retries2=5")
    assert steps[1].endswith("net.ipv4.tcp_rto_min_us=300000")


def test_windows_servers_are_both_backends() -> None:
    one = scenario(endpoints={"server": "windows"})
    nodes = {step.namespace for step in endpoint_steps(one, world(one, "x"))}
    assert {node.rpartition("-x-")[2] for node in nodes} == {"backend-1", "backend-2"}


def test_what_a_scenario_needs_of_its_host() -> None:
    assert wanted(scenario(sessions=["ftp"])) == {"vsftpd"}
    assert wanted(scenario(sessions=["postgresql"])) == {"postgres", "psql"}
    assert wanted(scenario(endpoints={"client": "windows"})) == {"tcp_rto_min_us"}
