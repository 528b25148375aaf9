"""Endpoint profiles as steps of the world's construction. Pure.

A Windows end retransmits data five times (TcpMaxDataRetransmissions), its shortest
retransmission time-out is 300 ms (MinRto of the Internet template), and it gives up when the
next one would be due: after 0.3 s x (2^6 - 1) = 18.9 s on a short path. Linux with
tcp_retries2 = 5 and the same minimum does so at the same moment.
"""

from __future__ import annotations

from emulator.lab.deployment import BACKENDS
from emulator.lab.settings.scenario import Scenario
from emulator.lab.workload.applications import NEEDS
from netns.plan import INTERNET, SetSysctl
from netns.topology import World

SYSCTLS: dict[str, dict[str, str]] = {
    "linux": {},
    "windows": {"net.ipv4.tcp_retries2": "5", "net.ipv4.tcp_rto_min_us": "300000"},
}


def endpoint_steps(scenario: Scenario, world: World) -> list[SetSysctl]:
    """What makes the nodes' kernels as patient as the scenario's ends."""
    ends = scenario.endpoints
    systems = {INTERNET: ends.client, **dict.fromkeys(BACKENDS, ends.server)}
    return [
        SetSysctl(world.namespace(node), key, value)
        for node, system in systems.items()
        for key, value in SYSCTLS[system].items()
    ]


def wanted(scenario: Scenario) -> set[str]:
    """What of a host not every lab needs, and this one does, by the names `netns.doctor` has."""
    found = {program for s in scenario.sessions for program in NEEDS.get(s, ())}
    ends = scenario.endpoints
    return found | ({"tcp_rto_min_us"} if "windows" in (ends.client, ends.server) else set())
