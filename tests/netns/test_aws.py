"""The API as boto3 sees it: each correction of moto, and what stands before the actions.

One moto for the whole module (its state is a process's); every test leaves the addresses and
routes as it found them, or makes its own.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from dataclasses import replace
from ipaddress import IPv4Address
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from werkzeug.serving import ThreadedWSGIServer, WSGIRequestHandler

from netns.cloud.aws import Aws
from netns.cloud.fabric import Fabric
from netns.cloud.front import Fault, Front, Key, Settings
from netns.cloud.throttle import Throttle
from netns.topology import World, cloud

REGION, BUCKET = "us-east-1", "state-bucket"
PUBLIC, AT_A, AT_B = "203.0.113.10", "10.0.10.101", "10.0.20.101"
KEYS = {
    "AKIAOPERATOR": Key("operator", "right"),
    "AKIADEVICE": Key("bigip-a", "right", ("ec2:ReplaceRoute", "s3:PutObject")),
}


class Api:
    """The API of one small lab, and what its fabric was asked."""

    def __init__(
        self, world: World | None = None, tags: Mapping[str, Mapping[str, str]] | None = None
    ) -> None:
        self.world = world or replace(
            cloud("x"),
            elastic_ips={IPv4Address(PUBLIC): ("eni-bigip-a-ext", IPv4Address(AT_A))},
            secondary={
                IPv4Address(AT_A): "eni-bigip-a-ext",
                IPv4Address(AT_B): "eni-bigip-b-ext",
            },
        )
        self.fabric = Fabric(self.world, propagation_delay_s=4.0)
        self.refused: list[tuple[str, str]] = []
        self.settings = Settings(REGION, KEYS)
        self._aws = Aws(REGION, self._ask)
        label = {"f5_cloud_failover_label": "mine"}
        plain = {"eni-bigip-a-ext": label, "rtb-client": label, BUCKET: label}
        self._aws.seed(self.world, tags or plain, BUCKET)
        front = Front(
            self.settings, self._aws.application, lambda a, c: self.refused.append((a, c))
        )
        self.server = ThreadedWSGIServer("127.0.0.1", 0, front, handler=Quiet)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def _ask(self, message: Mapping[str, Any]) -> None:
        getattr(self.fabric, message["request"])(*message["arguments"], now=0.0)

    def client(
        self, service: str = "ec2", key: str = "AKIAOPERATOR", secret: str = "right",
        region: str = REGION,
    ) -> Any:  # fmt: skip
        session = boto3.Session(key, secret, region_name=region)
        return session.client(
            service,
            endpoint_url=f"http://127.0.0.1:{self.server.server_port}",
            config=Config(retries={"total_max_attempts": 1}),
        )

    def accepted(self) -> list[dict[str, object]]:
        """What the fabric has accepted since the last look."""
        return [pending.change.details() for pending in self.fabric.due(1e9)]


class Quiet(WSGIRequestHandler):
    def log(self, type: str, message: str, *args: Any) -> None:
        pass


@pytest.fixture(scope="module")
def module_api() -> Iterator[Api]:
    api = Api()
    yield api
    api.server.shutdown()
    api.server.server_close()


@pytest.fixture
def api(module_api: Api) -> Iterator[Api]:
    module_api.accepted()
    yield module_api
    module_api.settings.throttle, module_api.settings.faults = None, []


def refused(call: Any, **parameters: Any) -> tuple[int, str]:
    """Status and code of the error a call ends in."""
    with pytest.raises(ClientError) as caught:
        call(**parameters)
    answer = caught.value.response
    return answer["ResponseMetadata"]["HTTPStatusCode"], answer["Error"]["Code"]


def addresses(ec2: Any, interface: str) -> set[str]:
    [row] = ec2.describe_network_interfaces(NetworkInterfaceIds=[interface])["NetworkInterfaces"]
    return {pair["PrivateIpAddress"] for pair in row["PrivateIpAddresses"]}


ROUTE = {"RouteTableId": "rtb-client", "DestinationCidrBlock": "10.99.0.0/24"}


def target(ec2: Any) -> str:
    [table] = ec2.describe_route_tables(RouteTableIds=["rtb-client"])["RouteTables"]
    [route] = [r for r in table["Routes"] if r["DestinationCidrBlock"] == "10.99.0.0/24"]
    return str(route["NetworkInterfaceId"])


def test_the_world_is_there_under_the_labs_own_names(api: Api) -> None:
    ec2 = api.client()
    [vpc] = ec2.describe_vpcs()["Vpcs"]
    assert vpc["VpcId"] == "vpc-mirrorlab"
    nics = ec2.describe_network_interfaces()["NetworkInterfaces"]
    assert {n["NetworkInterfaceId"] for n in nics} == {i.id for i in api.world.interfaces}
    checks = {n["NetworkInterfaceId"]: n["SourceDestCheck"] for n in nics}
    assert checks["eni-client-eth0"] is True
    assert checks["eni-bigip-a-ext"] is False
    assert {s["CidrBlock"] for s in ec2.describe_subnets()["Subnets"]} == {
        str(i.subnet.network) for i in api.world.interfaces
    }
    tagged = [{"Name": "tag:f5_cloud_failover_label", "Values": ["mine"]}]
    [table] = ec2.describe_route_tables(Filters=tagged)["RouteTables"]
    assert table["RouteTableId"] == "rtb-client"
    own = [{"Name": "attachment.instance-id", "Values": ["i-bigip-a"]}]
    assert len(ec2.describe_network_interfaces(Filters=own)["NetworkInterfaces"]) == 3
    s3 = api.client("s3")
    assert s3.get_bucket_tagging(Bucket=BUCKET)["TagSet"][0]["Value"] == "mine"


def test_a_replaced_route_is_shown_at_once_and_asked_of_the_fabric(api: Api) -> None:
    ec2 = api.client()
    ec2.replace_route(**ROUTE, NetworkInterfaceId="eni-bigip-b-ext")
    assert target(ec2) == "eni-bigip-b-ext"
    assert api.accepted() == [
        {"table": "rtb-client", "destination": "10.99.0.0/24", "target": "eni-bigip-b-ext"}
    ]
    ec2.replace_route(**ROUTE, NetworkInterfaceId="eni-bigip-a-ext")


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        ({"RouteTableId": "rtb-nosuch"}, "InvalidRouteTableID.NotFound"),
        ({"DestinationCidrBlock": "10.77.0.0/24"}, "InvalidParameterValue"),
        ({"NetworkInterfaceId": "eni-nosuch"}, "InvalidNetworkInterfaceID.NotFound"),
    ],
)
def test_a_route_that_cannot_be_replaced_stays(api: Api, wrong: dict[str, str], code: str) -> None:
    ec2 = api.client()
    request = {**ROUTE, "NetworkInterfaceId": "eni-bigip-b-ext", **wrong}
    assert refused(ec2.replace_route, **request) == (400, code)
    assert target(ec2) == "eni-bigip-a-ext"
    assert api.accepted() == []


def test_a_dry_run_changes_nothing(api: Api) -> None:
    """c: moto replaces and assigns all the same."""
    ec2 = api.client()
    request = {**ROUTE, "NetworkInterfaceId": "eni-bigip-b-ext", "DryRun": True}
    assert refused(ec2.replace_route, **request) == (412, "DryRunOperation")
    assert target(ec2) == "eni-bigip-a-ext"
    assert api.accepted() == []


def test_an_elastic_ip_goes_to_the_private_address_that_is_named(api: Api) -> None:
    """b: moto takes the primary address, and refuses re-association by default."""
    ec2 = api.client()
    [before] = ec2.describe_addresses(PublicIps=[PUBLIC])["Addresses"]
    assert before["PrivateIpAddress"] == AT_A
    to_b = {
        "AllocationId": before["AllocationId"],
        "NetworkInterfaceId": "eni-bigip-b-ext",
        "PrivateIpAddress": AT_B,
    }
    assert refused(ec2.associate_address, **to_b, AllowReassociation=False) == (
        400, "Resource.AlreadyAssociated",
    )  # fmt: skip
    first = ec2.associate_address(**to_b)["AssociationId"]
    assert ec2.associate_address(**to_b)["AssociationId"] == first  # idempotent
    [after] = ec2.describe_addresses(PublicIps=[PUBLIC])["Addresses"]
    assert (after["NetworkInterfaceId"], after["PrivateIpAddress"]) == ("eni-bigip-b-ext", AT_B)
    [row] = ec2.describe_network_interfaces(NetworkInterfaceIds=["eni-bigip-b-ext"])[
        "NetworkInterfaces"
    ]
    assert "Association" not in row  # that would be the primary address's
    bound = {p["PrivateIpAddress"]: p.get("Association", {}) for p in row["PrivateIpAddresses"]}
    assert bound[AT_B]["PublicIp"] == PUBLIC
    ec2.disassociate_address(AssociationId=first)
    [loose] = ec2.describe_addresses(PublicIps=[PUBLIC])["Addresses"]
    assert not loose.get("AssociationId")
    assert refused(ec2.disassociate_address, AssociationId=first)[1] == (
        "InvalidAssociationID.NotFound"
    )
    ec2.associate_address(
        AllocationId=before["AllocationId"],
        NetworkInterfaceId="eni-bigip-a-ext",
        PrivateIpAddress=AT_A,
    )
    assert [change.get("private", "none") for change in api.accepted()] == [AT_B, "none", AT_A]


def test_an_elastic_ip_refuses_an_address_its_interface_does_not_have(api: Api) -> None:
    ec2 = api.client()
    [row] = ec2.describe_addresses(PublicIps=[PUBLIC])["Addresses"]
    request = {
        "AllocationId": row["AllocationId"],
        "NetworkInterfaceId": "eni-bigip-b-ext",
        "PrivateIpAddress": AT_A,
    }
    assert refused(ec2.associate_address, **request) == (400, "InvalidParameterValue")
    assert ec2.describe_addresses(PublicIps=[PUBLIC])["Addresses"] == [row]


def test_a_secondary_address_is_on_one_interface_and_in_its_subnet(api: Api) -> None:
    """a: moto leaves it on both, and takes any address."""
    ec2 = api.client()
    wrong = {"NetworkInterfaceId": "eni-bigip-b-ext", "PrivateIpAddresses": [AT_A]}
    assert refused(ec2.assign_private_ip_addresses, **wrong, AllowReassignment=True) == (
        400, "InvalidParameterValue",
    )  # fmt: skip
    assert AT_A in addresses(ec2, "eni-bigip-a-ext")
    assert AT_A not in addresses(ec2, "eni-bigip-b-ext")
    assert api.accepted() == []
    ec2.assign_private_ip_addresses(
        NetworkInterfaceId="eni-bigip-b-ext", PrivateIpAddresses=["10.0.20.102"]
    )
    assert "10.0.20.102" in addresses(ec2, "eni-bigip-b-ext")
    ec2.unassign_private_ip_addresses(
        NetworkInterfaceId="eni-bigip-b-ext", PrivateIpAddresses=["10.0.20.102"]
    )
    assert "10.0.20.102" not in addresses(ec2, "eni-bigip-b-ext")
    assert [change["address"] for change in api.accepted()] == ["10.0.20.102"] * 2


def test_so_many_addresses_are_free_ones_of_the_subnet(api: Api) -> None:
    ec2 = api.client()
    answer = ec2.assign_private_ip_addresses(
        NetworkInterfaceId="eni-client-eth0", SecondaryPrivateIpAddressCount=2
    )
    given = [row["PrivateIpAddress"] for row in answer["AssignedPrivateIpAddresses"]]
    assert given == ["10.0.1.4", "10.0.1.5"]
    ec2.unassign_private_ip_addresses(
        NetworkInterfaceId="eni-client-eth0", PrivateIpAddresses=given
    )


def test_unassigning_an_address_ends_its_elastic_ip(api: Api) -> None:
    ec2 = api.client()
    ec2.unassign_private_ip_addresses(
        NetworkInterfaceId="eni-bigip-a-ext", PrivateIpAddresses=[AT_A]
    )
    [row] = ec2.describe_addresses(PublicIps=[PUBLIC])["Addresses"]
    assert not row.get("AssociationId")
    ec2.assign_private_ip_addresses(NetworkInterfaceId="eni-bigip-a-ext", PrivateIpAddresses=[AT_A])
    ec2.associate_address(
        AllocationId=row["AllocationId"],
        NetworkInterfaceId="eni-bigip-a-ext",
        PrivateIpAddress=AT_A,
    )


def test_an_interface_is_found_by_a_secondary_address(api: Api) -> None:
    """f: moto looks at the primary one only."""
    by = [{"Name": "addresses.private-ip-address", "Values": [AT_B]}]
    [row] = api.client().describe_network_interfaces(Filters=by)["NetworkInterfaces"]
    assert row["NetworkInterfaceId"] == "eni-bigip-b-ext"


def test_an_allocated_address_is_a_public_one(api: Api) -> None:
    """e: moto's are 127.x.x.x."""
    ec2 = api.client()
    made = ec2.allocate_address(Domain="vpc")
    assert made["PublicIp"].startswith("203.0.113.")
    ec2.release_address(AllocationId=made["AllocationId"])


def test_a_route_to_an_interface_that_is_gone_is_a_blackhole(api: Api) -> None:
    """d: moto calls it active."""
    from moto.ec2.models import ec2_backends

    enis = ec2_backends["123456789012"][REGION].enis
    gone = enis.pop("eni-bigip-a-ext")
    try:
        [table] = api.client().describe_route_tables(RouteTableIds=["rtb-client"])["RouteTables"]
        assert {r["State"] for r in table["Routes"]} == {"active", "blackhole"}
    finally:
        enis["eni-bigip-a-ext"] = gone


def test_the_source_dest_check_is_asked_of_the_fabric(api: Api) -> None:
    ec2 = api.client()
    for on in (True, False):
        ec2.modify_network_interface_attribute(
            NetworkInterfaceId="eni-bigip-b-int", SourceDestCheck={"Value": on}
        )
    assert [change["source_dest_check"] for change in api.accepted()] == [True, False]


def test_what_the_lab_does_not_carry_out_is_refused_not_pretended(api: Api) -> None:
    ec2 = api.client()
    assert refused(ec2.create_route, **ROUTE, NetworkInterfaceId="eni-bigip-b-ext") == (
        400, "UnsupportedOperation",
    )  # fmt: skip
    assert refused(ec2.delete_network_interface, NetworkInterfaceId="eni-bigip-a-ext") == (
        400, "UnsupportedOperation",
    )  # fmt: skip


def test_tags_are_made_and_found(api: Api) -> None:
    ec2 = api.client()
    ec2.create_tags(Resources=["eni-bigip-b-ext"], Tags=[{"Key": "colour", "Value": "blue"}])
    by = [{"Name": "tag:colour", "Values": ["blue"]}]
    [row] = ec2.describe_network_interfaces(Filters=by)["NetworkInterfaces"]
    assert row["NetworkInterfaceId"] == "eni-bigip-b-ext"


@pytest.mark.parametrize(
    ("change", "ec2_error", "s3_error"),
    [
        ({"key": "AKIANOBODY"}, (401, "AuthFailure"), (403, "InvalidAccessKeyId")),
        ({"secret": "wrong"}, (401, "AuthFailure"), (403, "SignatureDoesNotMatch")),
        ({"region": "eu-nowhere-9"}, (401, "AuthFailure"), (400, "AuthorizationHeaderMalformed")),
    ],
)
def test_who_is_not_known_is_told_so_as_aws_does(
    api: Api, change: dict[str, str], ec2_error: tuple[int, str], s3_error: tuple[int, str]
) -> None:
    assert refused(api.client(**change).describe_route_tables) == ec2_error
    s3 = api.client("s3", **change)
    assert refused(s3.get_object, Bucket=BUCKET, Key="x") == s3_error
    assert ("DescribeRouteTables", "AuthFailure") in api.refused


def test_who_may_not_is_told_so_as_aws_does(api: Api) -> None:
    device = api.client(key="AKIADEVICE")
    device.describe_route_tables()
    request = {**ROUTE, "NetworkInterfaceId": "eni-bigip-b-ext"}
    assert refused(device.replace_route, **request) == (403, "UnauthorizedOperation")
    s3 = api.client("s3", key="AKIADEVICE")
    assert refused(s3.put_object, Bucket=BUCKET, Key="x", Body=b"") == (403, "AccessDenied")
    assert target(api.client()) == "eni-bigip-a-ext"


def test_an_object_comes_back_as_it_was_put(api: Api) -> None:
    """Signed with odd characters in its name, too."""
    s3 = api.client("s3")
    for key in ("f5cloudfailover/f5cloudfailoverstate.json", "a b+ü/ä.json"):
        s3.put_object(Bucket=BUCKET, Key=key, Body=b'{"a": 1}')
        assert s3.get_object(Bucket=BUCKET, Key=key)["Body"].read() == b'{"a": 1}'


def test_too_many_requests_are_refused(api: Api) -> None:
    api.settings.throttle = Throttle({"mutate": (2, 0.001)})
    ec2 = api.client()
    request = {**ROUTE, "NetworkInterfaceId": "eni-bigip-a-ext"}
    for _ in range(2):
        ec2.replace_route(**request)
    assert refused(ec2.replace_route, **request) == (503, "RequestLimitExceeded")
    ec2.describe_route_tables()


def test_faults_hit_the_action_and_the_device_they_name(api: Api) -> None:
    api.settings.faults = [Fault("DescribeSubnets", "InternalError", 500, 0.0, 2, "bigip-a")]
    operator, device = api.client(), api.client(key="AKIADEVICE")
    operator.describe_subnets()
    device.describe_vpcs()
    assert refused(device.describe_subnets) == (500, "InternalError")
    assert refused(device.describe_subnets) == (500, "InternalError")
    device.describe_subnets()
