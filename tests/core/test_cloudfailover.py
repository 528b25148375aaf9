"""From a declaration and what the cloud answers to the ordered calls."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest

from emulator.core.cloudfailover import (
    Call,
    ElasticMove,
    Operations,
    Own,
    PlanError,
    RouteMove,
    SecondaryMove,
    address_operations,
    discovery,
    joined,
    look_ups,
    recovered,
    route_operations,
    stored,
    tracks,
)
from emulator.core.declaration import Declaration, read

TAGS = {"f5_cloud_failover_label": "mydeployment"}
B = Own("bigip-b", "i-b", ("10.0.22.11", "10.0.23.11"), ("10.0.22.101",))


def tagged(**tags: str) -> list[dict[str, str]]:
    return [{"Key": key, "Value": value} for key, value in {**TAGS, **tags}.items()]


def table(name: str, *routes: tuple[str, str | None], **tags: str) -> dict[str, Any]:
    return {
        "RouteTableId": name,
        "Tags": tagged(**tags),
        "Routes": [
            {"DestinationCidrBlock": d, **({"NetworkInterfaceId": t} if t else {})}
            for d, t in routes
        ],
    }


def nic(name: str, subnet: str, primary: str, *secondary: str, **tags: str) -> dict[str, Any]:
    return {
        "NetworkInterfaceId": name,
        "SubnetId": subnet,
        "PrivateIpAddress": primary,
        "TagSet": tagged(**tags),
        "PrivateIpAddresses": [
            {"PrivateIpAddress": primary, "Primary": True},
            *({"PrivateIpAddress": a, "Primary": False} for a in secondary),
        ],
    }


def declared(**parts: Any) -> Declaration:
    return read(
        {
            "class": "Cloud_Failover",
            "environment": "aws",
            "externalStorage": {"scopingTags": TAGS},
            "failoverAddresses": {"enabled": True, "scopingTags": TAGS},
            **parts,
        }
    )


def static(*items: str) -> dict[str, Any]:
    return {"discoveryType": "static", "items": list(items)}


TWO_TABLES = declared(
    failoverRoutes={
        "routeGroupDefinitions": [
            {
                "scopingName": "rtb-1",
                "scopingAddressRanges": [{"range": "100.1.0.0/29"}, {"range": "100.2.0.0/29"}],
                "defaultNextHopAddresses": static("10.0.12.11", "10.0.22.11"),
            },
            {
                "scopingName": "rtb-2",
                "scopingAddressRanges": [{"range": "0.0.0.0/0"}],
                "defaultNextHopAddresses": static("10.0.13.11", "10.0.23.11"),
            },
        ]
    }
)
TABLES = [
    table(
        "rtb-1", ("100.1.0.0/29", "eni-a-ext"), ("100.2.0.0/29", "eni-b-ext"),
        ("10.0.0.0/16", None),
    ),
    table("rtb-2", ("0.0.0.0/0", "eni-a-int")),
    table("rtb-3", ("100.1.0.0/29", "eni-a-ext")),
]  # fmt: skip
FOUND = {"10.0.22.11": "eni-b-ext", "10.0.23.11": "eni-b-int"}


class TestRoutes:
    def test_each_group_has_its_tables_and_its_own_next_hops(self) -> None:
        calls, warnings = look_ups(TWO_TABLES, B, TABLES)
        assert list(calls) == ["10.0.22.11", "10.0.23.11"]
        assert calls["10.0.22.11"].parameters["Filters"] == [
            {"Name": "private-ip-address", "Values": ["10.0.22.11"]},
            {"Name": "tag:f5_cloud_failover_label", "Values": ["mydeployment"]},
        ]
        assert warnings == ()
        found = route_operations(TWO_TABLES, B, TABLES, FOUND)
        assert found.routes == (
            RouteMove("rtb-1", "100.1.0.0/29", "eni-b-ext"),
            RouteMove("rtb-2", "0.0.0.0/0", "eni-b-int"),
        )
        assert found.same == (("rtb-1", "100.2.0.0/29"),)

    def test_an_item_with_a_mask_never_matches_and_the_failover_still_succeeds(self) -> None:
        wrong = declared(
            failoverRoutes={
                "routeGroupDefinitions": [
                    {
                        "scopingName": "rtb-1",
                        "scopingAddressRanges": [{"range": "100.1.0.0/29"}],
                        "defaultNextHopAddresses": static("10.0.12.11/24", "10.0.22.11/24"),
                    }
                ]
            }
        )
        calls, warnings = look_ups(wrong, B, TABLES)
        assert calls == {}
        assert warnings == ("Next hop address to use is empty: 10.0.12.11/24,10.0.22.11/24",)
        assert route_operations(wrong, B, TABLES, {}).empty

    def test_a_range_must_be_the_routes_very_text(self) -> None:
        other = declared(
            failoverRoutes={
                "scopingTags": TAGS,
                "scopingAddressRanges": [
                    {"range": "100.1.0.0/28", "nextHopAddresses": static("10.0.22.11")}
                ],
            }
        )
        assert route_operations(other, B, TABLES, FOUND).empty

    def test_all_is_every_route_that_leads_to_an_interface(self) -> None:
        every = declared(
            failoverRoutes={
                "scopingTags": TAGS,
                "scopingAddressRanges": [
                    {"range": "all", "nextHopAddresses": {"discoveryType": "routeTag"}}
                ],
            }
        )
        tables = [
            table(
                "rtb-1", ("100.1.0.0/29", "eni-a-ext"), ("10.0.0.0/16", None),
                f5_self_ips="10.0.12.11, 10.0.22.11",
            )
        ]  # fmt: skip
        assert list(look_ups(every, B, tables)[0]) == ["10.0.22.11"]
        assert route_operations(every, B, tables, FOUND).routes == (
            RouteMove("rtb-1", "100.1.0.0/29", "eni-b-ext"),
        )
        with pytest.raises(PlanError, match="no tag f5_self_ips"):
            look_ups(every, B, [table("rtb-1", ("100.1.0.0/29", "eni-a-ext"))])

    def test_an_interface_without_the_tags_ends_the_failover(self) -> None:
        with pytest.raises(PlanError, match=r"next hop address 10\.0\.22\.11"):
            route_operations(TWO_TABLES, B, TABLES, {"10.0.23.11": "eni-b-int"})


class TestElasticIps:
    ANSWERS: ClassVar[dict[str, Any]] = {
        "own": [nic("eni-b-ext", "subnet-b", "10.0.22.11", "10.0.22.101")],
        "addresses": [
            {
                "PublicIp": "203.0.113.10", "AllocationId": "eipalloc-1",
                "AssociationId": "eipassoc-1", "PrivateIpAddress": "10.0.12.101",
                "Tags": tagged(f5_cloud_failover_vips="10.0.12.101,10.0.22.101"),
            }
        ],
    }  # fmt: skip
    MOVE = ElasticMove("203.0.113.10", "eipalloc-1", "eipassoc-1", "eni-b-ext", "10.0.22.101")

    def test_it_goes_to_the_address_of_the_pair_that_is_here(self) -> None:
        assert address_operations(declared(), B, self.ANSWERS).elastic == (self.MOVE,)

    def test_it_stays_where_it_is_already(self) -> None:
        row = {**self.ANSWERS["addresses"][0], "PrivateIpAddress": "10.0.22.101"}
        assert address_operations(declared(), B, {**self.ANSWERS, "addresses": [row]}).empty

    def test_one_named_in_the_declaration_needs_no_tag(self) -> None:
        named = declared(
            failoverAddresses={
                "addressGroupDefinitions": [
                    {
                        "type": "elasticIpAddress",
                        "scopingAddress": "203.0.113.10",
                        "vipAddresses": ["10.0.12.101", "10.0.22.101"],
                    }
                ]
            }
        )
        answers = {"own": self.ANSWERS["own"], "named": self.ANSWERS["addresses"]}
        assert address_operations(named, B, answers).elastic == (self.MOVE,)
        assert discovery(named, B)["named"].parameters == {
            "Filters": [{"Name": "public-ip", "Values": ["203.0.113.10"]}]
        }

    def test_disassociated_first_and_whatever_that_says_then_associated(self) -> None:
        [[first, second]] = tracks(Operations(elastic=(self.MOVE,)))
        assert [call.action for call in first] == ["DisassociateAddress"]
        assert first[0].optional
        assert [call.action for call in second] == ["AssociateAddress"]
        assert second[0].parameters == {
            "AllocationId": "eipalloc-1",
            "NetworkInterfaceId": "eni-b-ext",
            "PrivateIpAddress": "10.0.22.101",
            "AllowReassociation": True,
        }
        assert not second[0].optional


class TestSecondaryAddresses:
    def answers(self, network: str) -> dict[str, list[dict[str, Any]]]:
        mine = nic("eni-b", "subnet-b", "10.0.22.11", f5_cloud_failover_nic_map="external")
        peer = nic(
            "eni-a", "subnet-a", "10.0.22.10", "10.0.22.101", "10.0.22.150",
            f5_cloud_failover_nic_map="external",
        )  # fmt: skip
        subnets = [
            {"SubnetId": "subnet-a", "CidrBlock": "10.0.22.0/24"},
            {"SubnetId": "subnet-b", "CidrBlock": network},
        ]
        return {"own": [mine], "tagged": [mine, peer], "subnets": subnets}

    def test_a_floating_address_comes_from_the_peers_paired_interface(self) -> None:
        """Not the other secondary address, which the device does not serve."""
        found = address_operations(declared(), B, self.answers("10.0.22.0/24"))
        assert found.secondary == (SecondaryMove("10.0.22.101", "eni-a", "eni-b"),)
        [[taken, given]] = tracks(found)
        assert [(c.action, c.parameters["NetworkInterfaceId"]) for c in [*taken, *given]] == [
            ("UnassignPrivateIpAddresses", "eni-a"),
            ("AssignPrivateIpAddresses", "eni-b"),
        ]

    def test_none_comes_from_another_subnet(self) -> None:
        assert address_operations(declared(), B, self.answers("10.0.23.0/24")).empty


class TestOrder:
    def test_what_is_looked_up_at_once(self) -> None:
        assert {name: call.action for name, call in discovery(TWO_TABLES, B).items()} == {
            "addresses": "DescribeAddresses",
            "tagged": "DescribeNetworkInterfaces",
            "own": "DescribeNetworkInterfaces",
            "subnets": "DescribeSubnets",
            "tables": "DescribeRouteTables",
        }

    def test_addresses_and_routes_move_beside_each_other(self) -> None:
        both = joined(
            Operations(routes=(RouteMove("rtb-1", "100.1.0.0/29", "eni-b-ext"),)),
            Operations(elastic=(TestElasticIps.MOVE,)),
        )
        addresses, routes = tracks(both)
        assert [len(addresses), len(routes)] == [2, 1]
        assert routes[0] == [
            Call(
                "ec2", "ReplaceRoute",
                {
                    "RouteTableId": "rtb-1", "DestinationCidrBlock": "100.1.0.0/29",
                    "NetworkInterfaceId": "eni-b-ext",
                },
                {"table": "rtb-1", "destination": "100.1.0.0/29"},
            )
        ]  # fmt: skip


class TestRecovery:
    WORK = Operations(
        routes=(RouteMove("rtb-1", "100.1.0.0/29", "eni-b-ext"),), elastic=(TestElasticIps.MOVE,)
    )

    def test_a_failed_failover_is_replayed_as_it_stands(self) -> None:
        state = {"taskState": "FAILED", "failoverOperations": stored(self.WORK)}
        assert recovered(state) == self.WORK

    def test_a_finished_one_is_not(self) -> None:
        for task in ("SUCCEEDED", "RUNNING", None):
            state = {"taskState": task, "failoverOperations": stored(self.WORK)}
            assert recovered(state) is None

    def test_nothing_to_replay_needs_the_operator(self) -> None:
        with pytest.raises(PlanError, match="Recovery operations are empty"):
            recovered({"taskState": "FAILED", "failoverOperations": stored(Operations())})

    def test_a_state_object_of_some_other_form_is_an_error_and_no_traceback(self) -> None:
        broken = {"taskState": "FAILED", "failoverOperations": {"routes": {"operations": [{}]}}}
        with pytest.raises(PlanError, match="not one of this extension's"):
            recovered(broken)
