"""Cloud Failover declarations: what is read, and what is refused with the field's name."""

from __future__ import annotations

from typing import Any

import pytest

from emulator.core.declaration import Declaration, DeclarationError, read

TAGS = {"f5_cloud_failover_label": "mydeployment"}
STORAGE = {"scopingTags": TAGS}
RANGES = [{"range": "192.168.11.0/24", "nextHopAddresses": {"discoveryType": "routeTag"}}]


def declared(**parts: Any) -> Declaration:
    return read(
        {"class": "Cloud_Failover", "environment": "aws", "externalStorage": STORAGE, **parts}
    )


def test_both_forms_of_failover_routes_are_groups() -> None:
    flat = declared(failoverRoutes={"scopingTags": TAGS, "scopingAddressRanges": RANGES})
    grouped = declared(
        failoverRoutes={
            "routeGroupDefinitions": [{"scopingTags": TAGS, "scopingAddressRanges": RANGES}]
        }
    )
    assert flat.failover_routes is not None
    assert grouped.failover_routes is not None
    assert flat.failover_routes.groups == grouped.failover_routes.groups
    assert flat.failover_routes.groups[0].scoping_address_ranges[0].range == "192.168.11.0/24"


def test_what_is_not_enabled_has_no_groups() -> None:
    off = declared(
        failoverRoutes={"enabled": False, "scopingTags": TAGS, "scopingAddressRanges": RANGES}
    )
    assert off.failover_routes is not None
    assert off.failover_routes.groups == ()


def test_unknown_keys_inside_a_section_are_let_pass_as_by_the_schema() -> None:
    assert declared(failoverAddresses={"scopingTags": TAGS, "somethingNew": 1})


@pytest.mark.parametrize(
    ("parts", "text"),
    [
        ({"class": "ADC"}, "class: "),
        ({"environment": "cloudless"}, "environment: "),
        ({"environment": "azure"}, "environment: 'azure' is another provider"),
        ({"nosuch": 1}, "nosuch: Extra inputs are not permitted"),
        ({"externalStorage": None}, "externalStorage: missing"),
        ({"externalStorage": {}}, "externalStorage: needs scopingName or scopingTags"),
        ({"externalStorage": {**STORAGE, "scopingName": "b"}}, "externalStorage: needs"),
        ({"failoverRoutes": {"scopingTags": TAGS}}, "failoverRoutes: needs"),
        (
            {"failoverRoutes": {"enabled": "true", "routeGroupDefinitions": []}},
            "failoverRoutes.enabled: ",  # as in F5's own openapi example
        ),
        (
            {"failoverRoutes": {"routeGroupDefinitions": [{"scopingname": "rtb-1"}]}},
            "failoverRoutes.routeGroupDefinitions.0.scopingname: Extra",
        ),
        (
            {"failoverRoutes": {"routeGroupDefinitions": [{"scopingAddressRanges": [{}]}]}},
            "failoverRoutes.routeGroupDefinitions.0.scopingAddressRanges.0.range: Field required",
        ),
        (
            {
                "failoverRoutes": {
                    "scopingTags": TAGS,
                    "scopingAddressRanges": [
                        {"range": "all", "nextHopAddresses": {"discoveryType": "routetag"}}
                    ],
                }
            },
            "failoverRoutes.scopingAddressRanges.0.nextHopAddresses.discoveryType: ",
        ),
        ({"failoverAddresses": {"enabled": True}}, "failoverAddresses: needs scopingTags"),
        (
            {
                "failoverAddresses": {
                    "addressGroupDefinitions": [
                        {"type": "elasticIpAddress", "scopingAddress": "203.0.113.10"}
                    ]
                }
            },
            "failoverAddresses.addressGroupDefinitions.0: elasticIpAddress needs",
        ),
    ],
)
def test_a_wrong_declaration_names_its_field(parts: dict[str, Any], text: str) -> None:
    with pytest.raises(DeclarationError) as caught:
        declared(**parts)
    assert str(caught.value).startswith(text)
