"""The virtual server under test, and what both devices are set to. Pure values."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network
from typing import Annotated, Literal

from pydantic import Field

from emulator.lab.settings.model import Model

Backend = Literal["backend-1", "backend-2"]


class VirtualServer(Model):
    """The virtual server under test: any port of one address, or of a network."""

    destination: IPv4Address = Field(
        IPv4Address("10.99.0.10"),
        description="address; in the routed alien range 10.99.0.0/24, on-premises the external "
        "segment",
    )
    type: Literal["fastL4", "standard", "forwarding"] = Field(
        "fastL4",
        description="fastL4: segments are rewritten; standard: a full proxy; forwarding: a "
        "wildcard, clients address the (first) backend of pool itself",
    )
    network: IPv4Network = Field(
        IPv4Network("0.0.0.0/0"), description="forwarding: destinations it is for"
    )
    protocol: Literal["tcp", "udp", "any"] = Field("tcp", description="ip-protocol")
    pool: tuple[Backend, ...] = Field(("backend-1",), description="members, round robin")
    snat: Literal["none", "automap", "pool", "deterministic"] = Field(
        "automap",
        description="source-address-translation; deterministic: each of the subscribers has a "
        "block of ports of a snat_pool address, by arithmetic (RFC 7422)",
    )
    source_port: Literal["preserve", "change"] = Field(
        "preserve", description="with snat pool; change: a free port of the device's choice"
    )
    subscribers: IPv4Network = Field(
        IPv4Network("10.0.1.0/24"), description="with snat deterministic: whose flows it takes"
    )
    persistence: Literal["source-address"] | None = Field(
        None, description="new connections of a client go to the member of its last one"
    )
    persistence_timeout_s: Annotated[int, Field(ge=1, le=86400)] = Field(
        180, description="without a new connection"
    )
    persistence_mirroring: bool = Field(False, description="of the persistence profile")
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
    pva_acceleration: Literal["none", "full"] = Field(
        "none",
        description="fastL4 profile; full: established segments pass without being seen by the "
        "device's process, as those that hardware forwards",
    )
    idle_timeout_s: Annotated[int, Field(ge=1, le=86400)] = 300
    udp_idle_timeout_s: Annotated[int, Field(ge=1, le=86400)] = Field(
        60, description="of UDP flows (udp profile)"
    )

    @property
    def mirrors_anything(self) -> bool:
        """Whether the devices need their mirroring channel."""
        return self.mirroring or self.persistence_mirroring


class MirrorLimits(Model):
    """What a standby takes from its peer; what is too much for it is counted and journalled."""

    flows: Annotated[int, Field(ge=1, le=1_000_000)] = Field(
        100_000, description="mirrored flows; one more is not entered"
    )
    persistence_records: Annotated[int, Field(ge=1, le=1_000_000)] = Field(
        100_000, description="mirrored persistence records; one more is not entered"
    )
    held_octets: Annotated[int, Field(ge=65_536, le=8 << 30)] = Field(
        256 << 20,
        description="bytes of all standard flows together; the flow that has one more is given up",
    )


class Devices(Model):
    """What both devices are set to."""

    failover_timeout_s: Annotated[float, Field(ge=0.5, le=120)] = Field(
        3.0, description="failover.nettimeoutsec"
    )
    data_plane: Literal["bigip", "conntrackd", "haproxy"] = Field(
        "bigip",
        description="who serves the packets: the lab's BIG-IP, or a peer to compare it with: "
        "kernel NAT and conntrackd (for fastL4), HAProxy (for an unmirrored standard one)",
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
    statemirror_secure: bool = Field(
        False,
        description="statemirror.secure: the mirroring channel in TLS 1.3, with certificates of "
        "the pair's own",
    )
    failover_secure: bool | None = Field(
        None,
        description="failover.secure: heartbeats are authenticated; null: as statemirror_secure",
    )
    mirror_limits: MirrorLimits = Field(
        MirrorLimits(), description="what a standby takes from its peer at most"
    )
    takeover_kick: bool = Field(
        False,
        description="the new active device has the ends retransmit at once when their path is "
        "back (RFC 6069); a BIG-IP does not",
    )

    @property
    def secured(self) -> bool:
        """Whether the pair needs its certificates and keys."""
        return self.statemirror_secure or self.authenticated

    @property
    def authenticated(self) -> bool:
        """Whether heartbeats are."""
        own = self.failover_secure
        return self.statemirror_secure if own is None else own


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
