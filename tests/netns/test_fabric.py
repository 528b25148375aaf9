"""Accepted now, effective later."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address

import pytest

from netns.cloud.fabric import (
    ApiError,
    AssignPrivateAddress,
    AssociateAddress,
    DisassociateAddress,
    Fabric,
    ReplaceRoute,
    UnassignPrivateAddress,
)
from netns.topology import VIRTUAL_RANGE, cloud

WORLD = cloud("x")
VIP, SNAT = "10.99.0.0/24", "10.88.0.0/24"


def fabric(**delays: float) -> Fabric:
    return Fabric(WORLD, propagation_delay_s=4.0, table_delay_s=delays)


def test_a_route_moves_only_after_the_propagation_delay() -> None:
    model = fabric()
    pending = model.replace_route("rtb-client", VIP, "eni-bigip-b-ext", now=10.0)
    assert (pending.accepted_at, pending.effective_at) == (10.0, 14.0)
    assert model.next_timer() == 14.0
    assert model.due(13.9) == []
    assert model.routes["rtb-client", VIRTUAL_RANGE] == "eni-bigip-a-ext"
    assert model.due(14.0) == [pending]
    assert model.routes["rtb-client", VIRTUAL_RANGE] == "eni-bigip-b-ext"
    assert model.next_timer() is None
    assert model.due(99.0) == []


def test_route_tables_move_independently() -> None:
    model = fabric(**{"rtb-backend": 9.0})
    model.replace_route("rtb-client", VIP, "eni-bigip-b-ext", now=0.0)
    model.replace_route("rtb-backend", SNAT, "eni-bigip-b-int", now=0.0)
    [first] = model.due(5.0)
    assert isinstance(first.change, ReplaceRoute)
    assert first.change.table == "rtb-client"
    assert model.next_timer() == 9.0


def test_the_last_of_two_requests_wins_whatever_their_order_in_the_queue() -> None:
    model = fabric()
    model.replace_route("rtb-client", VIP, "eni-bigip-b-ext", now=0.0)
    model.replace_route("rtb-client", VIP, "eni-bigip-a-ext", now=1.0)
    assert len(model.due(10.0)) == 2
    assert model.routes["rtb-client", VIRTUAL_RANGE] == "eni-bigip-a-ext"


@pytest.mark.parametrize(
    ("table", "destination", "target", "code"),
    [
        ("rtb-nosuch", VIP, "eni-bigip-b-ext", "InvalidRouteTableID.NotFound"),
        ("rtb-client", "nonsense", "eni-bigip-b-ext", "InvalidParameterValue"),
        ("rtb-client", "10.77.0.0/24", "eni-bigip-b-ext", "InvalidParameterValue"),
        ("rtb-client", VIP, "eni-nosuch", "InvalidNetworkInterfaceID.NotFound"),
    ],
)
def test_bad_requests_get_ec2s_own_codes_and_change_nothing(
    table: str, destination: str, target: str, code: str
) -> None:
    model = fabric()
    with pytest.raises(ApiError) as caught:
        model.replace_route(table, destination, target, now=0.0)
    assert caught.value.code == code
    assert model.next_timer() is None


def test_a_source_dest_check_takes_effect_at_once() -> None:
    model = fabric()
    pending = model.set_source_dest_check("eni-bigip-b-int", True, now=3.0)
    assert model.due(3.0) == [pending]


A_EXT, B_EXT = WORLD.interface("bigip-a", "ext"), WORLD.interface("bigip-b", "ext")
PUBLIC = IPv4Address("203.0.113.10")
AT_A, AT_B = IPv4Address("10.0.10.101"), IPv4Address("10.0.20.101")
BOUND = replace(
    WORLD,
    elastic_ips={PUBLIC: (A_EXT.id, AT_A)},
    secondary={AT_A: A_EXT.id, AT_B: B_EXT.id},
)


def with_addresses() -> Fabric:
    return Fabric(BOUND, propagation_delay_s=4.0)


def test_an_elastic_ip_is_accepted_elsewhere_now_and_effective_later() -> None:
    model = with_addresses()
    model.disassociate_address(str(PUBLIC), now=1.0)
    assert PUBLIC not in model.elastic_ips
    model.associate_address(str(PUBLIC), B_EXT.id, str(AT_B), now=2.0)
    assert model.elastic_ips[PUBLIC] == (B_EXT.id, AT_B)
    assert [p.change for p in model.due(5.0)] == [DisassociateAddress(PUBLIC)]
    assert [p.change for p in model.due(6.0)] == [AssociateAddress(PUBLIC, B_EXT, AT_B)]


def test_an_elastic_ip_needs_an_address_the_interface_has() -> None:
    model = with_addresses()
    with pytest.raises(ApiError, match="InvalidParameterValue"):
        model.associate_address(str(PUBLIC), B_EXT.id, str(AT_A), now=0.0)
    with pytest.raises(ApiError, match=r"Resource\.AlreadyAssociated"):
        model.associate_address("203.0.113.11", A_EXT.id, str(AT_A), now=0.0)
    with pytest.raises(ApiError, match=r"InvalidAssociationID\.NotFound"):
        model.disassociate_address("203.0.113.11", now=0.0)
    assert model.next_timer() is None


def test_a_secondary_address_stays_in_its_subnet() -> None:
    """So it cannot go to another zone: AWS's own reason for failover within one only."""
    model = with_addresses()
    with pytest.raises(ApiError, match="does not fall within the subnet's address range"):
        model.assign_private_addresses(B_EXT.id, [str(AT_A)], True, now=0.0)
    assert model.secondary[AT_A] == A_EXT.id


def test_a_secondary_address_moves_only_when_that_is_allowed_and_its_elastic_ip_with_it() -> None:
    twin = replace(B_EXT, subnet=A_EXT.subnet, address=IPv4Address("10.0.10.12"))
    world = replace(
        BOUND, interfaces=tuple(twin if i.id == twin.id else i for i in BOUND.interfaces)
    )
    model = Fabric(world, propagation_delay_s=4.0)
    with pytest.raises(ApiError, match="move is not allowed"):
        model.assign_private_addresses(twin.id, [str(AT_A)], False, now=0.0)
    model.assign_private_addresses(twin.id, [str(AT_A)], True, now=0.0)
    assert [p.change for p in model.due(4.0)] == [
        UnassignPrivateAddress(A_EXT, AT_A),
        AssignPrivateAddress(twin, AT_A),
        AssociateAddress(PUBLIC, twin, AT_A),
    ]
    assert model.elastic_ips[PUBLIC] == (twin.id, AT_A)


def test_no_address_is_assigned_when_one_of_them_cannot_be() -> None:
    model = with_addresses()
    for wrong in ("10.0.10.11", "10.0.99.1", "nonsense"):  # a primary one, outside, no address
        with pytest.raises(ApiError):
            model.assign_private_addresses(A_EXT.id, ["10.0.10.50", wrong], True, now=0.0)
    assert IPv4Address("10.0.10.50") not in model.secondary
    assert model.next_timer() is None


def test_unassigning_an_address_ends_its_elastic_ip() -> None:
    model = with_addresses()
    model.unassign_private_addresses(A_EXT.id, [str(AT_A)], now=0.0)
    assert [p.change for p in model.due(4.0)] == [
        DisassociateAddress(PUBLIC),
        UnassignPrivateAddress(A_EXT, AT_A),
    ]
    with pytest.raises(ApiError, match="not assigned"):
        model.unassign_private_addresses(A_EXT.id, [str(AT_A)], now=0.0)
