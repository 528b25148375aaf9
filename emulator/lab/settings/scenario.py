"""A scenario: the causes an experiment sets. Pure values; `scenario_file` reads them.

Nothing in here names an outcome but `expect`, and `expect` is only ever compared with the
verdict, never used to reach it.
"""

from __future__ import annotations

from enum import StrEnum
from ipaddress import IPv4Address
from typing import Annotated, Literal

from pydantic import Field, model_validator

from emulator.lab.settings import servers
from emulator.lab.settings.cloud import Cloud
from emulator.lab.settings.devices import Devices, OnPrem, VirtualServer
from emulator.lab.settings.endpoints import TIMED, Endpoints
from emulator.lab.settings.mirror_channel import MirrorChannel
from emulator.lab.settings.model import Model, Seconds
from emulator.lab.settings.peers import check_data_plane
from emulator.lab.settings.private_addresses import place
from emulator.lab.workload.applications import connections, expectations
from netns.onprem import addresses_in_use, segment_of

Session = Literal[
    "ssh", "telnet", "echo", "bulk", "idle", "feed", "pausing", "udp", "reconnect",
    "ssh-keepalive", "ssh-bulk", "http", "ftp", "ftp-active", "postgresql", "fleet",
]  # fmt: skip


class How(StrEnum):
    """What makes the active device stop being active."""

    FORCE_STANDBY = "force-standby"
    POWER_OFF = "power-off"
    PROCESS_CRASH = "process-crash"
    LINK_DOWN = "link-down"
    HEARTBEATS_LOST = "heartbeats-lost"  # nothing fails but the HA network, for UDP 1026


class Failover(Model):
    """The event."""

    how: How = How.FORCE_STANDBY
    after_s: Seconds = Field(2.0, description="seconds of steady traffic before it")
    back_after_s: Annotated[float, Field(gt=0, le=3600)] | None = Field(
        None, description="so much later the other device is told to stand by: flapping"
    )
    heals_after_s: Annotated[float, Field(gt=0, le=3600)] | None = Field(
        None, description="heartbeats-lost: so much later they pass again; null: never"
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
    endpoints: Endpoints = Endpoints()
    mirror_channel: MirrorChannel | None = Field(None, description="a fault of the channel")
    failover: Failover | None = Field(Failover(), description="null: none takes place")
    observe_s: Annotated[float, Field(ge=1, le=3600)] = Field(
        4.0, description="seconds of traffic to see after it, or instead of it"
    )
    expect: dict[str, Literal["SURVIVED", "RESET", "STALLED", "TIMED_OUT", "CLOSED"]] = Field(
        default_factory=dict,
        description="outcomes that make the exit status 0, by session; of the data connection of "
        "ftp as ftp-data, of the fleet by kind (ehr-idle) or one (ehr-01)",
    )
    expect_member: Literal["same", "other"] | None = Field(
        None, description="where a reconnecting client's new connections go after the failover"
    )

    @model_validator(mode="after")
    def _consistent(self) -> Scenario:
        server = self.virtual_server
        if server.snat == "pool" and not server.snat_pool:
            raise ValueError("virtual_server.snat is pool, and snat_pool is empty")
        servers.check(server, self.world, self.sessions)
        healing = self.failover is not None and self.failover.heals_after_s is not None
        if healing and self.failover.how is not How.HEARTBEATS_LOST:  # type: ignore[union-attr]
            raise ValueError("failover.heals_after_s is for heartbeats-lost")
        if self.expect_member is not None and "reconnect" not in self.sessions:
            raise ValueError("expect_member is about the session reconnect")
        self._placed() if self.world == "cloud" else self._on_segments()
        if len(set(self.sessions)) != len(self.sessions):
            raise ValueError("sessions names one twice")
        known = {k for s in self.sessions for c in connections(s) for k in expectations(c)}
        if stray := set(self.expect) - known:
            raise ValueError(f"expect names {', '.join(sorted(stray))}, not among the sessions")
        if not self.sessions:
            raise ValueError("sessions is empty: nothing to observe")
        if not server.pool:
            raise ValueError("virtual_server.pool is empty: nothing to connect to")
        if self.endpoints.application_timer is not None and not set(TIMED) & set(self.sessions):
            raise ValueError(
                f"endpoints.application_timer: none of the sessions has it ({', '.join(TIMED)})"
            )
        self._check_channel()
        check_data_plane(self.devices, server, self.cloud, self.mirror_channel)
        return self

    def _placed(self) -> None:
        """A cloud: every address is in a route; nothing is announced on a wire."""
        server, devices = self.virtual_server, self.devices
        default = VirtualServer.model_fields["destination"].default
        if self.cloud.elastic_ips and server.destination != default:
            raise ValueError(
                "virtual_server.destination: each device has its own, in cloud.elastic_ips"
            )
        if server.type == "forwarding":
            servers.check_forwarded(server, self.cloud.routes)
            if self.cloud.elastic_ips or self.cloud.load_balancer is not None:
                raise ValueError("virtual_server.type forwarding: its backends are routed to")
        elif not self.cloud.elastic_ips and not self._delivered(server.destination, "ext"):
            raise ValueError(
                f"virtual_server.destination {server.destination} is in no route of rtb-client "
                "and no secondary address of ext (cloud.secondary_ips)"
            )
        for address in servers.snat_addresses(server):
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
        pool = servers.snat_addresses(server)
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
        if not self.virtual_server.mirrors_anything:
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
