"""Security groups and firewalls: whose table knows what, and what becomes of the rest."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network

import pytest

from netns.cloud.filters import Filter, LostState, Policy, Rule, Way
from netns.cloud.packets import ACK, ICMP, RST, SYN, TCP, UDP, Packet

CLIENT, DEVICE = IPv4Address("10.0.1.10"), IPv4Address("10.0.20.11")
IN, OUT = Way.INGRESS, Way.EGRESS
CLIENTS = Rule("tcp", IPv4Network("10.0.1.0/24"))
ALL = Rule()


def group(
    ingress: tuple[Rule, ...] = (CLIENTS,),
    egress: tuple[Rule, ...] = (ALL,),
    *,
    lost_state: str = "strict",
    idle_s: float = 350.0,
    always_track: bool = False,
) -> Filter:
    return Filter(
        Policy("security-group", ingress, egress, idle_s, LostState(lost_state), always_track)
    )


def tcp(flags: int, *, back: bool = False, port: int = 22) -> Packet:
    """Between client and device; `back`: from the device."""
    packet = Packet(TCP, CLIENT, DEVICE, 40000, port, flags, 1, 1)
    if not back:
        return packet
    return replace(
        packet, source=DEVICE, destination=CLIENT, source_port=port, destination_port=40000
    )


def test_answers_come_back_as_part_of_what_was_opened() -> None:
    """No rule lets the device open anything: the entry alone does."""
    filter_ = group(egress=())
    assert filter_.judge(tcp(SYN), IN, 0.0) is None
    assert filter_.judge(tcp(SYN | ACK, back=True), OUT, 0.1) is None
    assert filter_.judge(tcp(ACK), IN, 0.2) is None
    assert filter_.tracked(0.2) == 1


def test_what_no_rule_allows_is_denied() -> None:
    assert group().judge(tcp(SYN, back=True), IN, 0.0) == "security-group-denied"
    assert group(ingress=()).judge(tcp(SYN), IN, 0.0) == "security-group-denied"


@pytest.mark.parametrize(
    ("port", "passes"), [(1028, False), (1029, True), (1055, True), (1056, False)]
)
def test_a_rules_ports_are_a_closed_range(port: int, passes: bool) -> None:
    filter_ = group((Rule("tcp", IPv4Network("10.0.0.0/8"), (1029, 1055)),))
    assert (filter_.judge(tcp(SYN, port=port), IN, 0.0) is None) is passes


def test_loose_and_strict_differ_in_the_middle_of_a_connection_a_rule_allows() -> None:
    assert group(lost_state="loose").judge(tcp(ACK), IN, 0.0) is None
    assert group(lost_state="strict").judge(tcp(ACK), IN, 0.0) == "security-group-lost-state"


@pytest.mark.parametrize("lost_state", ["loose", "strict"])
def test_who_speaks_first_decides_where_only_the_entry_allowed_it(lost_state: str) -> None:
    """The inner interface: nobody may open anything towards the device. Loose: once the device
    has sent something on, the server's segments pass again."""
    inner = group(ingress=(), egress=(ALL,), lost_state=lost_state)
    assert inner.judge(tcp(ACK), IN, 0.0) == "security-group-lost-state"
    sent = inner.judge(tcp(ACK, back=True), OUT, 1.0)
    assert sent == (None if lost_state == "loose" else "security-group-lost-state")
    assert (inner.judge(tcp(ACK), IN, 2.0) is None) is (lost_state == "loose")


def test_0_0_0_0_both_ways_is_untracked_and_knows_no_middle() -> None:
    """AWS: allowed from 0.0.0.0/0, and everything back to 0.0.0.0/0."""
    filter_ = group((Rule("tcp"),), (ALL,))
    assert filter_.judge(tcp(ACK), IN, 0.0) is None
    assert filter_.tracked(0.0) == 0


@pytest.mark.parametrize(
    ("ingress", "egress"),
    [
        (CLIENTS, ALL),  # not from everywhere
        (Rule("tcp"), Rule("tcp", IPv4Network("10.0.0.0/8"))),  # not back to everywhere
        (Rule("tcp"), Rule("tcp", ports=(1024, 65535))),  # not to every port
        (Rule("tcp"), Rule("udp")),
    ],
)
def test_any_narrower_shape_is_tracked(ingress: Rule, egress: Rule) -> None:
    filter_ = group((ingress,), (egress,))
    assert filter_.judge(tcp(SYN), IN, 0.0) is None
    assert filter_.tracked(0.0) == 1
    assert filter_.judge(tcp(ACK, port=23), IN, 0.0) == "security-group-lost-state"


def test_a_firewall_tracks_whatever_the_rules_look_like() -> None:
    wall = group((ALL,), (ALL,), always_track=True)
    assert wall.judge(tcp(ACK), IN, 0.0) == "security-group-lost-state"
    assert wall.judge(tcp(SYN), IN, 0.0) is None
    assert wall.judge(tcp(ACK), IN, 0.0) is None


def test_icmp_is_always_tracked_and_errors_pass() -> None:
    ping = Packet(ICMP, CLIENT, DEVICE, 7, 7)
    filter_ = group((Rule("icmp"),), (ALL,))
    assert filter_.judge(ping, IN, 0.0) is None
    assert filter_.tracked(0.0) == 1
    error = replace(ping, icmp_error=True)
    assert group(ingress=(), egress=()).judge(error, IN, 0.0) is None


def test_tracked_flows_outlive_their_rule_and_untracked_ones_do_not() -> None:
    tracked, untracked = group((CLIENTS,)), group((Rule("tcp"),))
    for filter_ in (tracked, untracked):
        assert filter_.judge(tcp(SYN), IN, 0.0) is None
        filter_.policy = replace(filter_.policy, ingress=())
    assert tracked.judge(tcp(ACK), IN, 1.0) is None
    assert untracked.judge(tcp(ACK), IN, 1.0) == "security-group-lost-state"


def test_an_entry_expires_for_want_of_traffic_and_every_packet_renews_it() -> None:
    filter_ = group(idle_s=350.0)
    filter_.judge(tcp(SYN), IN, 0.0)
    assert filter_.judge(tcp(ACK, back=True), OUT, 350.0) is None
    assert filter_.judge(tcp(ACK), IN, 700.0) is None
    assert filter_.judge(tcp(ACK), IN, 1050.1) == "security-group-lost-state"
    assert filter_.tracked(1050.1) == 0


def test_udp_entries_live_30_s_and_answered_ones_180_s() -> None:
    question = Packet(UDP, CLIENT, DEVICE, 5000, 53)
    answer = Packet(UDP, DEVICE, CLIENT, 53, 5000)
    filter_ = group((Rule("udp", IPv4Network("10.0.1.0/24")),), ())
    filter_.judge(question, IN, 0.0)
    assert filter_.judge(answer, OUT, 30.1) == "security-group-denied"
    filter_.judge(question, IN, 100.0)
    assert filter_.judge(answer, OUT, 101.0) is None
    assert filter_.judge(answer, OUT, 281.0) is None


def test_a_reset_ends_the_entry() -> None:
    filter_ = group()
    filter_.judge(tcp(SYN), IN, 0.0)
    assert filter_.judge(tcp(RST, back=True), OUT, 1.0) is None
    assert filter_.judge(tcp(ACK), IN, 1.1) == "security-group-lost-state"


def test_a_reset_makes_no_entry() -> None:
    filter_ = group(lost_state="loose")
    assert filter_.judge(tcp(RST), IN, 0.0) is None
    assert filter_.tracked(0.0) == 0
