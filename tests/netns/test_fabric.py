"""Accepted now, effective later."""

from __future__ import annotations

import pytest

from netns.cloud.fabric import ApiError, Fabric, ReplaceRoute
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
