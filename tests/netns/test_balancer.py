"""Where a load balancer sends a flow, and what its target's death means for it."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address

import pytest

from netns.cloud.balancer import Act, Balancer, OnUnhealthy
from netns.cloud.packets import ACK, RST, SYN, TCP, Packet
from netns.cloud.profiles import AZURE, BALANCERS, GCP, GWLB, NLB

CLIENT, VIP = IPv4Address("10.0.1.10"), IPv4Address("10.99.0.10")


def packet(flags: int = ACK, port: int = 40000) -> Packet:
    return Packet(TCP, CLIENT, VIP, port, 22, flags, 1, 1)


def probe(balancer: Balancer, now: float, times: int = 10, **answered: bool) -> None:
    """`times` results of each target named, all the same."""
    for name, good in answered.items():
        for _ in range(times):
            balancer.probed(name, now, answered=good)


def pair(kind: str = "gcp", **settings: object) -> Balancer:
    """a healthy, b not, one flow on a."""
    balancer = Balancer(replace(BALANCERS[kind], **settings), ["a", "b"])  # type: ignore[arg-type]
    probe(balancer, 0.0, a=True, b=False)
    assert balancer.route(packet(SYN), 0.0).target == "a"
    return balancer


def test_a_flow_stays_where_it_began() -> None:
    balancer = pair()
    probe(balancer, 1.0, b=True)
    assert {balancer.route(packet(), t).target for t in (1.0, 2.0, 3.0)} == {"a"}


def test_new_flows_go_to_healthy_targets_only() -> None:
    balancer = pair()
    targets = {balancer.route(packet(SYN, port), 1.0).target for port in range(1, 50)}
    assert targets == {"a"}
    probe(balancer, 2.0, b=True)
    targets = {balancer.route(packet(SYN, port), 3.0).target for port in range(50, 99)}
    assert targets == {"a", "b"}


@pytest.mark.parametrize(
    ("kind", "act", "target"),
    [
        ("nlb", Act.RESET, "a"),
        ("gwlb", Act.FORWARD, "a"),
        ("azure", Act.FORWARD, "a"),
        ("gcp", Act.FORWARD, "a"),
    ],
)
def test_what_each_does_by_default_with_the_flows_of_a_dead_target(
    kind: str, act: Act, target: str
) -> None:
    balancer = pair(kind)
    probe(balancer, 5.0, b=True, a=False)
    decision = balancer.route(packet(), 6.0)
    assert (decision.act, decision.target) == (act, target)


@pytest.mark.parametrize("kind", ["gwlb", "gcp"])
def test_a_flow_can_be_diverted_to_the_target_that_is_healthy(kind: str) -> None:
    balancer = pair(kind, on_unhealthy=OnUnhealthy.DIVERT)
    probe(balancer, 5.0, b=True, a=False)
    decision = balancer.route(packet(), 6.0)
    assert (decision.act, decision.target, decision.moved_from) == (Act.FORWARD, "b", "a")
    assert balancer.route(packet(), 7.0).moved_from == ""
    probe(balancer, 8.0, a=True)  # it has come back: the flow stays where it is now
    assert balancer.route(packet(), 9.0).target == "b"


def test_nlb_resets_a_flow_once_and_knows_it_no_more() -> None:
    balancer = pair("nlb")
    probe(balancer, 5.0, b=True, a=False)
    assert balancer.route(packet(), 6.0).reason == "a is unhealthy"
    assert balancer.route(packet(), 6.1).reason.startswith("no such flow")


@pytest.mark.parametrize("kind", ["nlb", "gwlb", "gcp"])
def test_with_no_healthy_target_it_fails_open(kind: str) -> None:
    """The failover's first seconds: neither answers, and NLB resets nothing yet."""
    balancer = pair(kind)
    probe(balancer, 5.0, a=False)
    assert balancer.healthy() == []
    assert balancer.route(packet(), 6.0).target == "a"
    assert balancer.route(packet(SYN, 7), 6.0).act is Act.FORWARD


def test_azure_drops_new_flows_and_keeps_established_ones_when_all_are_down() -> None:
    balancer = pair("azure")
    probe(balancer, 5.0, a=False)
    assert balancer.route(packet(), 6.0).target == "a"
    assert balancer.route(packet(SYN, 7), 6.0).act is Act.DROP


@pytest.mark.parametrize(
    ("kind", "act"),
    [("nlb", Act.RESET), ("azure", Act.DROP), ("gwlb", Act.FORWARD), ("gcp", Act.FORWARD)],
)
def test_a_segment_after_too_long_a_silence(kind: str, act: Act) -> None:
    balancer = pair(kind)
    idle_s = BALANCERS[kind].idle_timeout_s
    assert balancer.route(packet(), idle_s).act is Act.FORWARD
    assert balancer.route(packet(), 2 * idle_s + 1).act is act


def test_a_reset_is_never_answered_with_one() -> None:
    assert pair("nlb").route(packet(RST, 7), 1.0).act is Act.DROP


@pytest.mark.parametrize("policy", [NLB, GWLB, AZURE, GCP])
def test_health_changes_after_so_many_probes_in_a_row_and_no_sooner(policy: object) -> None:
    balancer = Balancer(policy, ["a"])  # type: ignore[arg-type]
    rises = [balancer.probed("a", 0.0, answered=True) for _ in range(10)]
    assert rises.index(True) + 1 == policy.healthy_threshold  # type: ignore[attr-defined]
    assert rises.count(True) == 1
    for _ in range(policy.unhealthy_threshold - 1):  # type: ignore[attr-defined]
        assert not balancer.probed("a", 0.0, answered=False)
    assert not balancer.probed("a", 0.0, answered=True)  # the row is broken
    falls = [balancer.probed("a", 0.0, answered=False) for _ in range(10)]
    assert falls.index(True) + 1 == policy.unhealthy_threshold  # type: ignore[attr-defined]


def test_azure_takes_a_refused_probe_at_its_word() -> None:
    for policy, at_once in ((AZURE, True), (GCP, False)):
        balancer = Balancer(policy, ["a"])
        probe(balancer, 0.0, a=True)
        assert balancer.probed("a", 1.0, answered=False, refused=True) is at_once


def test_a_change_of_health_meets_packets_after_its_propagation() -> None:
    policy = replace(GCP, on_unhealthy=OnUnhealthy.DIVERT, propagation_s=3.0)
    balancer = Balancer(policy, ["a", "b"])
    probe(balancer, 0.0, a=True, b=False)
    assert balancer.route(packet(SYN), 3.0).target == "a"
    probe(balancer, 10.0, b=True, a=False)
    assert balancer.route(packet(), 12.9).target == "a"
    assert balancer.route(packet(), 13.0).target == "b"
