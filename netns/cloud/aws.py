"""moto as the lab's EC2 and S3: seeded with the world, corrected where it differs from AWS.

moto keeps what the API shows and speaks the wire format; what AWS would refuse and what a
change does to packets is the fabric's (`fabric.Fabric`, asked through `ask`). Resource ids
are the lab's own readable ones ("eni-bigip-a-ext", "rtb-client"): moto's generators are
replaced while the world is seeded, so there is one name for a thing everywhere.

Corrections, each with its test in tests/netns/test_aws.py (letters: moto 5.2.5 against the
EC2 API reference and user guide):

  a  AssignPrivateIpAddresses: the subnet is checked, an address is on one interface only,
     AllowReassignment decides whether it moves; an elastic IP moves along
  b  AssociateAddress: PrivateIpAddress is honoured; re-association is the default in a VPC
  c  ReplaceRoute: DryRun changes nothing
  d  a route to an interface that is gone shows state "blackhole"
  e  AllocateAddress gives public (documentation, RFC 5737) addresses, not 127.x.x.x
  f  the filter addresses.private-ip-address sees secondary addresses
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from importlib import import_module
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

from netns.cloud.fabric import ApiError
from netns.topology import NetworkInterface, World

VPC_ID = "vpc-mirrorlab"
VPC_RANGE = "10.0.0.0/16"
ACCOUNT = "123456789012"
# The changing actions of EC2 that the lab carries out; any other one is refused.
CHANGES = {
    "ReplaceRoute",
    "AssociateAddress",
    "DisassociateAddress",
    "AssignPrivateIpAddresses",
    "UnassignPrivateIpAddresses",
    "ModifyNetworkInterfaceAttribute",
    "AllocateAddress",
    "ReleaseAddress",
    "CreateTags",
    "DeleteTags",
}
Ask = Callable[[Mapping[str, object]], None]


class Aws:
    """The account: a WSGI application, and the state behind it. One per process."""

    def __init__(self, region: str, ask: Ask) -> None:
        """Imports moto: a second or two. Raises ApiError what `ask` raises."""
        os.environ.setdefault("MOTO_EC2_LOAD_DEFAULT_AMIS", "false")
        from moto.ec2.models import ec2_backends
        from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
        from moto.s3.models import s3_backends

        self.application = DomainDispatcherApplication(create_backend_app)
        self.region = region
        self._ec2: Any = ec2_backends[ACCOUNT][region]
        self._s3: Any = s3_backends[ACCOUNT]["aws"]
        _correct(ask)

    def seed(self, world: World, tags: Mapping[str, Mapping[str, str]], bucket: str) -> None:
        """Make the world's resources. `tags`: resource id or bucket name -> its tags."""
        ec2 = self._ec2
        for known in (ec2.vpcs, ec2.subnets, ec2.route_tables):
            known.clear()  # the default VPC: the lab's account has none
        with patch("moto.ec2.models.vpcs.random_vpc_id", lambda: VPC_ID):
            ec2.create_vpc(VPC_RANGE)
        for table in world.route_tables:
            with patch("moto.ec2.models.route_tables.random_route_table_id", lambda t=table: t):
                ec2.create_route_table(VPC_ID)
        subnets = self._subnets(world)
        for interface in world.interfaces:
            self._interface(world, interface, subnets[interface.subnet.name])
        for (table, destination), target in world.routes.items():
            ec2.create_route(table, str(destination), interface_id=target)
        for public, (target, private) in world.elastic_ips.items():
            name = f"eipalloc-{str(public).replace('.', '-')}"
            where = "moto.ec2.models.elastic_ip_addresses.random_eip_allocation_id"
            with patch(where, lambda n=name: n):
                elastic = ec2.allocate_address("vpc", str(public))
            _bind(ec2, elastic, ec2.get_network_interface(target), str(private))
        self._s3.create_bucket(bucket, self.region)
        for resource, pairs in tags.items():
            if resource == bucket:
                self._s3.put_bucket_tagging(bucket, dict(pairs))
            else:
                ec2.create_tags([resource], dict(pairs))

    def _subnets(self, world: World) -> dict[str, Any]:
        """Each subnet once, however many interfaces are in it; by name."""
        made: dict[str, Any] = {}
        for subnet in dict.fromkeys(i.subnet for i in world.interfaces):
            name = f"subnet-{subnet.name}"
            with patch("moto.ec2.models.subnets.random_subnet_id", lambda n=name: n):
                made[subnet.name] = self._ec2.create_subnet(
                    VPC_ID, str(subnet.network), availability_zone=f"{self.region}{subnet.zone}"
                )
            self._ec2.associate_route_table(subnet.route_table, subnet_id=name)
        return made

    def _interface(self, world: World, interface: NetworkInterface, subnet: Any) -> None:
        ec2 = self._ec2
        where = "moto.ec2.models.elastic_network_interfaces.random_eni_id"
        with patch(where, lambda: interface.id):
            eni = ec2.create_network_interface(subnet, str(interface.address))
        eni.mac_address = interface.mac
        eni.description = f"{interface.node} {interface.name}"
        eni.source_dest_check = interface.source_dest_check
        eni.status = "in-use"
        index = [i.name for i in world.of(interface.node)].index(interface.name)
        eni.instance = SimpleNamespace(
            id=f"i-{interface.node}", owner_id=ACCOUNT, security_groups=[]
        )
        eni.attachment_id, eni.device_index = f"eni-attach-{interface.id[4:]}", index
        eni.attach_time = datetime.now(UTC)
        for address, target in world.secondary.items():
            if target == interface.id:
                eni.private_ip_addresses.append(_secondary(str(address)))


def _secondary(address: str) -> dict[str, Any]:
    return {"Primary": False, "PrivateIpAddress": address}


def _bind(ec2: Any, elastic: Any, eni: Any, private: str) -> None:
    """The association as Describe* shows it: on the address, not only on the interface."""
    from moto.ec2.utils import random_eip_association_id

    _loose(elastic)
    elastic.eni, elastic.private = eni, private
    elastic.association_id = random_eip_association_id()
    if private == eni.private_ip_address:
        eni.public_ip = elastic.public_ip
    for row in eni.private_ip_addresses:
        if row["PrivateIpAddress"] == private:
            row["Association"] = {
                "AllocationId": elastic.allocation_id,
                "AssociationId": elastic.association_id,
                "IpOwnerId": ec2.account_id,
                "PublicIp": elastic.public_ip,
            }


def _loose(elastic: Any) -> None:
    if elastic.eni is not None:
        if elastic.eni.public_ip == elastic.public_ip:
            elastic.eni.public_ip = None
        for row in elastic.eni.private_ip_addresses:
            if row.get("Association", {}).get("PublicIp") == elastic.public_ip:
                del row["Association"]
    elastic.eni = elastic.private = elastic.association_id = None


def _correct(ask: Ask) -> None:
    """Put the corrections in moto's place, for this process."""
    models: Any = import_module("moto.ec2.models")
    elastic_ips: Any = import_module("moto.ec2.models.elastic_ip_addresses")
    responses: Any = import_module("moto.ec2.responses").EC2Response
    modify = responses.modify_network_interface_attribute
    actions = _Actions(ask, responses.replace_route, modify)
    for name in (
        "replace_route",
        "associate_address",
        "disassociate_address",
        "assign_private_ip_addresses",
        "unassign_private_ip_addresses",
        "modify_network_interface_attribute",
    ):
        method = getattr(actions, name)
        setattr(responses, name, lambda self, m=method: m(self))
    elastic = elastic_ips.ElasticAddress
    elastic.private = None
    elastic.private_ip_address = property(lambda self: self.private)
    elastic.instance_id = property(lambda self: self.eni.instance.id if self.eni else None)
    elastic_ips.random_ip = lambda: f"203.0.113.{random.randint(1, 254)}"
    interface: Any = import_module("moto.ec2.models.elastic_network_interfaces").NetworkInterface
    interface.get_filter_value = _eni_filter(interface.get_filter_value)
    import_module("moto.ec2.models.route_tables").Route.state = property(_route_state)
    models.is_valid_resource_id = lambda _: True  # ours are words, not hex


def _eni_filter(original: Callable[..., Any]) -> Callable[..., Any]:
    def value(self: Any, name: str, method: str | None = None) -> Any:
        if name == "addresses.private-ip-address":
            return [row["PrivateIpAddress"] for row in self.private_ip_addresses]
        return original(self, name, method)

    return value


def _route_state(route: Any) -> str:
    gone = (
        route.interface is not None and route.interface.id not in route.interface.ec2_backend.enis
    )
    return "blackhole" if gone else "active"


class _Actions:
    """What the changing actions do; `response` is moto's request in hand."""

    def __init__(
        self, ask: Ask, replace: Callable[[Any], Any], modify: Callable[[Any], Any]
    ) -> None:
        self._ask, self._replace, self._modify = ask, replace, modify

    def _request(self, name: str, *arguments: object) -> None:
        from moto.ec2.exceptions import EC2ClientError

        try:
            self._ask({"request": name, "arguments": arguments})
        except ApiError as error:
            raise EC2ClientError(error.code, error.message) from error

    def replace_route(self, response: Any) -> Any:
        response.error_on_dryrun()
        get = response._get_param
        table, destination = get("RouteTableId"), get("DestinationCidrBlock")
        self._request("replace_route", table, destination or "", get("NetworkInterfaceId") or "")
        return self._replace(response)

    def modify_network_interface_attribute(self, response: Any) -> Any:
        response.error_on_dryrun()
        check = response._get_param("SourceDestCheck.Value")
        if check is not None:
            enabled = str(check).lower() == "true"
            target = response._get_param("NetworkInterfaceId")
            self._request("set_source_dest_check", target, enabled)
        return self._modify(response)

    def associate_address(self, response: Any) -> Any:
        from moto.core.responses import ActionResult

        response.error_on_dryrun()
        ec2, get = response.ec2_backend, response._get_param
        if public := get("PublicIp"):
            elastic = ec2.address_by_ip([public])[0]
        else:
            elastic = ec2.address_by_allocation([get("AllocationId")])[0]
        eni = ec2.get_network_interface(get("NetworkInterfaceId"))
        private = get("PrivateIpAddress") or eni.private_ip_address
        same = elastic.eni is eni and elastic.private == private
        again = str(get("AllowReassociation", True)).lower() != "false"
        if elastic.eni is not None and not same and not again:
            ec2.raise_error(
                "Resource.AlreadyAssociated",
                f"resource {elastic.allocation_id} is already associated with "
                f"associate-id {elastic.association_id}",
            )
        if not same:  # the same association again: idempotent
            self._request("associate_address", elastic.public_ip, eni.id, private)
            _bind(ec2, elastic, eni, private)
        return ActionResult({"AssociationId": elastic.association_id})

    def disassociate_address(self, response: Any) -> Any:
        from moto.core.responses import EmptyResult

        response.error_on_dryrun()
        ec2 = response.ec2_backend
        if public := response._get_param("PublicIp"):
            elastic = ec2.address_by_ip([public])[0]
        else:
            elastic = ec2.address_by_association([response._get_param("AssociationId")])[0]
        self._request("disassociate_address", elastic.public_ip)
        _loose(elastic)
        return EmptyResult()

    def assign_private_ip_addresses(self, response: Any) -> Any:
        from moto.core.responses import ActionResult

        response.error_on_dryrun()
        ec2, get = response.ec2_backend, response._get_param
        eni = ec2.get_network_interface(get("NetworkInterfaceId"))
        wanted = list(get("PrivateIpAddresses", []))
        if not wanted:
            free = _free(ec2, eni.subnet.cidr)
            wanted = [next(free) for _ in range(int(get("SecondaryPrivateIpAddressCount", 0)))]
        move = str(get("AllowReassignment", False)).lower() == "true"
        self._request("assign_private_addresses", eni.id, wanted, move)
        for address in wanted:
            bound = [e for e in ec2.addresses if e.eni is not None and e.private == address]
            for elastic in bound:
                _loose(elastic)
            for other in ec2.enis.values():
                rows = other.private_ip_addresses
                rows[:] = [row for row in rows if row["PrivateIpAddress"] != address]
            eni.private_ip_addresses.append(_secondary(address))
            for elastic in bound:
                _bind(ec2, elastic, eni, address)
        assigned = [{"PrivateIpAddress": address} for address in wanted]
        return ActionResult({"NetworkInterfaceId": eni.id, "AssignedPrivateIpAddresses": assigned})

    def unassign_private_ip_addresses(self, response: Any) -> Any:
        from moto.core.responses import EmptyResult

        response.error_on_dryrun()
        ec2 = response.ec2_backend
        eni = ec2.get_network_interface(response._get_param("NetworkInterfaceId"))
        gone = list(response._get_param("PrivateIpAddresses", []))
        self._request("unassign_private_addresses", eni.id, gone)
        for elastic in ec2.addresses:
            if elastic.eni is not None and elastic.private in gone:
                _loose(elastic)
        rows = eni.private_ip_addresses
        rows[:] = [row for row in rows if row["PrivateIpAddress"] not in gone]
        return EmptyResult()


def _free(ec2: Any, network: Any) -> Any:
    """Addresses of a subnet nobody has; AWS keeps the first four and the last to itself."""
    taken = {r["PrivateIpAddress"] for e in ec2.enis.values() for r in e.private_ip_addresses}
    hosts = [str(address) for address in network.hosts()][3:]
    return (address for address in hosts if address not in taken)
