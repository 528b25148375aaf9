"""A scenario: the causes an experiment sets. Pure values; `scenario_file` reads them.

Nothing in here names an outcome but `expect`, and `expect` is only ever compared with the
verdict, never used to reach it.
"""

from __future__ import annotations

from enum import StrEnum
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
from emulator.lab.settings.mirror_channel import MirrorChannel
from emulator.lab.settings.model import Model, Seconds
from emulator.lab.settings.private_addresses import check_private, place
from netns.cloud.profiles import PROFILES
from netns.onprem import addresses_in_use, segment_of

Session = Literal["ssh", "telnet", "echo", "bulk", "idle", "feed", "pausing"]
Backend = Literal["backend-1", "backend-2"]


class How(StrEnum):
    """What makes the active device stop being active."""

    FORCE_STANDBY = "force-standby"
    POWER_OFF = "power-off"
    PROCESS_CRASH = "process-crash"
    LINK_DOWN = "link-down"


class VirtualServer(Model):
    """The virtual server under test: any port of one address, TCP."""

    destination: IPv4Address = Field(
        IPv4Address("10.99.0.10"),
        description="address; in the routed alien range 10.99.0.0/24, on-premises the external "
        "segment",
    )
    type: Literal["fastL4", "standard"] = Field(
        "fastL4", description="fastL4: segments are rewritten; standard: a full proxy"
    )
    pool: tuple[Backend, ...] = Field(("backend-1",), description="members, round robin")
    snat: Literal["none", "automap", "pool"] = Field(
        "automap", description="source-address-translation"
    )
    snat_pool: tuple[IPv4Address, ...] = Field(
        (IPv4Address("10.88.0.10"),),
        description="with snat pool; routed range 10.88.0.0/24, on-premises the internal segment",
    )
    mirroring: bool = Field(True, description="connection mirroring")
    commit: Literal["async", "sync"] = Field(
        "async",
        description="mirrored standard: segments reach the device's TCP at once (async, as on a "
        "BIG-IP) or once the standby holds them (sync)",
    )
    remirror: bool | None = Field(
        None,
        description="mirrored standard: connections older than the channel are mirrored on it, so "
        "they outlive a second failover; a BIG-IP does not (default: with commit sync)",
    )
    loose_initiation: bool = False
    loose_close: bool = False
    idle_timeout_s: Annotated[int, Field(ge=1, le=86400)] = 300


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


class Devices(Model):
    """What both devices are set to."""

    failover_timeout_s: Annotated[float, Field(ge=0.5, le=120)] = Field(
        3.0, description="failover.nettimeoutsec"
    )
    gratuitous_arp: bool = Field(
        True, description="on-premises: the new active device announces its addresses"
    )
    mac_masquerade: bool = Field(
        False, description="on-premises: the traffic group has a MAC address, which moves along"
    )
    reject_unmatched: bool = Field(True, description="tm.rejectunmatched")
    ack_mirror: bool = Field(True, description="tm.fastl4_ack_mirror")
    rebuild_automap: bool = Field(
        True, description="a mirrored automap flow takes the new device's own self IP"
    )
    await_mirror: bool = Field(
        True, description="begin once the standby mirrors; false: whether or not it does"
    )
    takeover_kick: bool = Field(
        False,
        description="the new active device has the ends retransmit at once when their path is "
        "back (RFC 6069); a BIG-IP does not",
    )


class OnPrem(Model):
    """The shared segments: what the devices have there, and how their neighbours behave."""

    floating_self_ips: bool = Field(
        True, description="the traffic group has self IPs; without, automap takes a device's own"
    )

    router_arp_cache_s: Annotated[float, Field(ge=1, le=86400)] = Field(
        14400.0, description="for how long the router trusts an ARP entry (Cisco IOS: 4 hours)"
    )
    backend_arp_cache_s: Annotated[float, Field(ge=1, le=86400)] = Field(
        30.0, description="the same for the backends (Linux: base_reachable_time)"
    )


class Failover(Model):
    """The event."""

    how: How = How.FORCE_STANDBY
    after_s: Seconds = Field(2.0, description="seconds of steady traffic before it")
    back_after_s: Annotated[float, Field(gt=0, le=3600)] | None = Field(
        None, description="so much later the other device is told to stand by: flapping"
    )
    watch_s: Seconds | None = Field(
        None, description="seconds to watch it at most; null: from the delays that are set"
    )


class Scenario(Model):
    """One experiment."""

    name: str = Field(
        "scenario", pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$", description="the file's name"
    )
    title: str
    description: str = ""
    claims: tuple[str, ...] = Field((), description="claims of the article it bears on")
    world: Literal["cloud", "onprem"] = Field(
        "cloud", description="zones of a cloud, or shared segments and floating addresses"
    )
    sessions: tuple[Session, ...] = ("ssh", "telnet", "echo")
    virtual_server: VirtualServer = VirtualServer()
    devices: Devices = Devices()
    cloud: Cloud = Cloud()
    onprem: OnPrem = OnPrem()
    mirror_channel: MirrorChannel | None = Field(None, description="a fault of the channel")
    failover: Failover | None = Field(Failover(), description="null: none takes place")
    observe_s: Annotated[float, Field(ge=1, le=3600)] = Field(
        4.0, description="seconds of traffic to see after it, or instead of it"
    )
    expect: dict[Session, Literal["SURVIVED", "RESET", "STALLED", "TIMED_OUT", "CLOSED"]] = Field(
        default_factory=dict, description="outcomes that make the exit status 0"
    )

    @model_validator(mode="after")
    def _consistent(self) -> Scenario:
        server = self.virtual_server
        if server.snat == "pool" and not server.snat_pool:
            raise ValueError("virtual_server.snat is pool, and snat_pool is empty")
        self._placed() if self.world == "cloud" else self._on_segments()
        if len(set(self.sessions)) != len(self.sessions):
            raise ValueError("sessions names one twice")
        if stray := set(self.expect) - set(self.sessions):
            raise ValueError(f"expect names {', '.join(sorted(stray))}, not among the sessions")
        if not self.sessions:
            raise ValueError("sessions is empty: nothing to observe")
        if not server.pool:
            raise ValueError("virtual_server.pool is empty: nothing to connect to")
        self._check_channel()
        return self

    def _placed(self) -> None:
        """A cloud: every address is in a route; nothing is announced on a wire."""
        server, devices = self.virtual_server, self.devices
        default = VirtualServer.model_fields["destination"].default
        if self.cloud.elastic_ips and server.destination != default:
            raise ValueError(
                "virtual_server.destination: each device has its own, in cloud.elastic_ips"
            )
        if not self.cloud.elastic_ips and not self._delivered(server.destination, "ext"):
            raise ValueError(
                f"virtual_server.destination {server.destination} is in no route of rtb-client "
                "and no secondary address of ext (cloud.secondary_ips)"
            )
        for address in server.snat_pool if server.snat == "pool" else ():
            if not self._delivered(address, "int"):
                raise ValueError(
                    f"snat_pool address {address} is in no route of rtb-backend and no secondary "
                    "address of int (cloud.secondary_ips)"
                )
        if devices.mac_masquerade or not devices.gratuitous_arp or self.onprem != OnPrem():
            raise ValueError(
                "devices.mac_masquerade, devices.gratuitous_arp and onprem are for world onprem: "
                "a cloud has no shared segment to announce an address on"
            )

    def _on_segments(self) -> None:
        """On-premises: every address is in a segment, and nobody else's."""
        server = self.virtual_server
        pool = server.snat_pool if server.snat == "pool" else ()
        wanted = [(server.destination, "ext", "virtual_server.destination")]
        taken = addresses_in_use()
        for address, interface, what in [*wanted, *((a, "int", "snat_pool address") for a in pool)]:
            if segment_of(address) != interface:
                raise ValueError(
                    f"{what} {address} is not in the {interface} segment of the devices"
                )
            if address in taken:
                raise ValueError(f"{what} {address} is {taken[address]}'s")
        if server.snat == "none" and not self.onprem.floating_self_ips:
            raise ValueError(
                "virtual_server.snat none needs onprem.floating_self_ips: the backends' gateway "
                "is the floating internal one"
            )
        if self.cloud != Cloud():
            raise ValueError("cloud is for world cloud: on-premises nobody routes to the devices")

    def _check_channel(self) -> None:
        fault = self.mirror_channel
        if fault is None:
            return
        if not self.virtual_server.mirroring:
            raise ValueError("mirror_channel: without mirroring there is no channel")
        before = fault.before_failover_s
        if before is not None and (self.failover is None or before > self.failover.after_s):
            raise ValueError(
                "mirror_channel.before_failover_s: the failover comes failover.after_s seconds "
                "after the sessions have opened, not so late"
            )

    @model_validator(mode="after")
    def _one_way_in(self) -> Scenario:
        balanced = self.cloud.load_balancer is not None
        if balanced and any(r.table == "rtb-client" and r.move for r in self.cloud.routes):
            raise ValueError(
                "cloud.load_balancer leads the client's side: no route of rtb-client may move "
                "(move: false)"
            )
        if balanced and self.cloud.elastic_ips:
            raise ValueError("cloud.load_balancer and cloud.elastic_ips exclude each other")
        return self

    def _delivered(self, address: IPv4Address, interface: Literal["ext", "int"]) -> bool:
        """Whether the fabric leads an address to that interface of a device."""
        cloud = self.cloud
        if address in cloud.secondary_ips:
            return place(address, cloud.zones) == interface
        table = {"ext": "rtb-client", "int": "rtb-backend"}[interface]
        return any(address in r.destination for r in cloud.routes if r.table == table)
