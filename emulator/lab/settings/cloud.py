"""The provider's side: routes, addresses, filters and the API. Pure values."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network
from typing import Annotated, Any, Literal

from pydantic import Field, JsonValue, model_validator

from emulator.lab.settings.api import Api, ElasticIp
from emulator.lab.settings.fabric import (
    Firewall,
    Interface,
    Link,
    LoadBalancer,
    SecurityGroup,
    check_groups,
)
from emulator.lab.settings.model import Model, Seconds
from emulator.lab.settings.private_addresses import check_private
from netns.cloud.profiles import PROFILES


class Route(Model):
    """A route of the fabric towards the active device; `move`: it follows a failover."""

    table: Literal["rtb-client", "rtb-backend"]
    destination: IPv4Network
    interface: Literal["ext", "int"]
    move: bool = True


DEFAULT_ROUTES = (
    Route(table="rtb-client", destination=IPv4Network("10.99.0.0/24"), interface="ext"),
    Route(table="rtb-backend", destination=IPv4Network("10.88.0.0/24"), interface="int"),
)


class Cloud(Model):
    """The provider's side."""

    provider: Literal["aws", "azure", "gcp"] | None = Field(
        None,
        description="whose published times are the defaults of propagation_delay_s and of the "
        "security groups' time-outs (netns/cloud/profiles.py); null: the lab's own",
    )
    propagation_delay_s: Seconds = Field(
        4.0, description="from a route change accepted to effective"
    )
    table_delay_s: dict[Literal["rtb-client", "rtb-backend"], Seconds] = Field(
        default_factory=dict, description="the same for one route table, where it differs"
    )
    zones: Literal["two", "one"] = Field(
        "two", description="of the devices: each in its own, or both in the subnets of one"
    )
    routes: tuple[Route, ...] = DEFAULT_ROUTES
    extra_routes: Annotated[int, Field(ge=0, le=1000)] = Field(
        0, description="alien /24 routes of rtb-client beside them that a failover moves as well"
    )
    failover_via: Literal["route", "elastic-ip", "secondary-ip"] = Field(
        "route", description="what the failover extension moves"
    )
    elastic_ips: tuple[ElasticIp, ...] = ()
    secondary_ips: tuple[IPv4Address, ...] = Field(
        (),
        description="private addresses of bigip-a beside its own, at first: of its ext or its int, "
        "in whose subnet they are",
    )
    declaration: dict[str, JsonValue] | str | None = Field(
        None, description="a Cloud Failover declaration, or its file; null: made to fit"
    )
    label: str = Field("mirrorlab", description="value of the tag f5_cloud_failover_label")
    api: Api = Api()
    security_groups: dict[str, SecurityGroup] = Field(
        default_factory=dict, description="by name; an interface in none of them passes everything"
    )
    firewall: Firewall | None = Field(None, description="null: none in the path")
    load_balancer: LoadBalancer | None = Field(
        None, description="in front of the pair, for virtual_server.destination; null: none"
    )
    links: dict[Interface, Link] = Field(
        default_factory=dict, description="by interface, e.g. bigip-b:int; others take no time"
    )

    @model_validator(mode="before")
    @classmethod
    def _as_published(cls, data: Any) -> Any:
        """What is not set is the provider's."""
        provider = data.get("provider") if isinstance(data, dict) else None
        if isinstance(provider, str) and provider in PROFILES:
            return {"propagation_delay_s": PROFILES[provider].failover_s.value, **data}
        return data

    @model_validator(mode="after")
    def _one_group_each(self) -> Cloud:
        check_groups(self.security_groups)
        for address in self.secondary_ips:
            check_private(address, "cloud.secondary_ips", self.zones)
        for pair in [e.private for e in self.elastic_ips]:
            for address, device in zip(pair, ("bigip-a", "bigip-b"), strict=True):
                check_private(address, "cloud.elastic_ips: private", self.zones, device, "ext")
        if self.zones == "one" and self.load_balancer is not None and self.load_balancer.translates:
            for address, device in zip(
                self.load_balancer.private, ("bigip-a", "bigip-b"), strict=True
            ):
                check_private(address, "cloud.load_balancer.private", self.zones, device, "ext")
        return self
