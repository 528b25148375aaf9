"""A device's configuration, as values (BIG-IP's own terms).

`device.configfile` reads and writes it as JSON, the form the lab hands to the process.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from ipaddress import IPv4Address, IPv4Network
from typing import Any

from emulator.wire.segment import PROTO_TCP, PROTO_UDP, Endpoint

ANY_PORT = 0


class Snat(Enum):
    """`source-address-translation` of a virtual server."""

    NONE = "none"
    AUTOMAP = "automap"
    POOL = "pool"
    DETERMINISTIC = "deterministic"  # of the subscriber's address and port alone: `core.natmap`


class ServerType(Enum):
    """fastL4 rewrites one connection's segments; standard ends it and opens another; forwarding
    (IP), a wildcard, passes them on to where they are addressed."""

    FASTL4 = "fastL4"
    STANDARD = "standard"
    FORWARDING = "forwarding"


class Protocol(Enum):
    """`ip-protocol` of a virtual server."""

    TCP = "tcp"
    UDP = "udp"
    ANY = "any"


class Commit(Enum):
    """When a mirrored standard virtual server lets a segment reach its own TCP: at once, as
    a BIG-IP does, or only once the standby holds it."""

    ASYNC = "async"
    SYNC = "sync"


@dataclass(frozen=True)
class VirtualServer:
    """One virtual server. A port of 0 means any, and is then not translated.

    `network`: what a forwarding one matches instead of `destination`'s address; `persistence_s`:
    for how long a client's new connections go to the member of its last one, 0 for no
    persistence; `change_port`: `source-port change`; `subscribers`: of deterministic SNAT.
    """

    name: str
    destination: Endpoint
    pool: tuple[Endpoint, ...]
    snat: Snat = Snat.AUTOMAP
    snat_pool: tuple[IPv4Address, ...] = ()
    mirroring: bool = False
    loose_initiation: bool = False
    loose_close: bool = False
    accelerated: bool = False  # `pva-acceleration full` of the fastL4 profile
    idle_timeout_s: int = 300
    type: ServerType = ServerType.FASTL4
    commit: Commit = Commit.ASYNC
    remirror: bool = False
    protocol: Protocol = Protocol.TCP
    udp_idle_timeout_s: int = 60  # of the udp profile
    network: IPv4Network | None = None
    persistence_s: int = 0
    persistence_mirroring: bool = False
    change_port: bool = False
    subscribers: IPv4Network | None = None

    @property
    def mirrors_anything(self) -> bool:
        """Whether the traffic group's mirroring channel is needed for it."""
        return self.mirroring or (self.persistence_s > 0 and self.persistence_mirroring)

    @property
    def remirrors(self) -> bool:
        """Whether proxied flows older than the mirroring channel are mirrored on it."""
        return self.standard and self.mirroring and self.remirror

    @property
    def standard(self) -> bool:
        return self.type is ServerType.STANDARD

    @property
    def forwarding(self) -> bool:
        return self.type is ServerType.FORWARDING

    @property
    def prefix_length(self) -> int:
        """How specific its destination is."""
        return 32 if self.network is None else self.network.prefixlen

    def takes(self, protocol: int) -> bool:
        """Whether it is for packets of this IP protocol."""
        number = {Protocol.TCP: PROTO_TCP, Protocol.UDP: PROTO_UDP}.get(self.protocol)
        return number in (None, protocol)

    def idle_s(self, protocol: int) -> int:
        """The idle time-out of its flows of a protocol."""
        return self.udp_idle_timeout_s if protocol == PROTO_UDP else self.idle_timeout_s

    def matches(self, target: Endpoint, protocol: int = PROTO_TCP) -> bool:
        """Whether a packet to `target` is for this virtual server."""
        if self.network is None:
            meant = self.destination.address == target.address
        else:
            meant = target.address in self.network
        port = self.destination.port in (ANY_PORT, target.port)
        return meant and port and self.takes(protocol)


@dataclass(frozen=True)
class SelfIp:
    """A self IP; `reaches` are the networks routed out of its interface."""

    interface: str
    address: IPv4Address
    reaches: tuple[IPv4Network, ...] = ()
    floating: bool = False  # the traffic group's: served by the active device only


@dataclass(frozen=True)
class FloatingAddress:
    """An address the active device answers ARP for on a shared segment."""

    interface: str
    address: IPv4Address


@dataclass(frozen=True)
class Port:
    """A data interface and the MAC address it was made with."""

    name: str
    mac: str


@dataclass(frozen=True)
class CloudFailover:
    """The failover extension: what it may ask the cloud with, and its declaration, as JSON.

    `instance`: the device's own instance id; `retry_s`: the wait before a failed call is
    made again.
    """

    api: Endpoint
    region: str
    access_key: str
    secret_key: str
    instance: str
    declaration: dict[str, Any]
    retry_s: float = 5.0


@dataclass(frozen=True)
class MirrorLimits:
    """What the standby takes from its peer at most; past it the channel is refused."""

    flows: int = 100_000
    persistence_records: int = 100_000
    held_octets: int = 256 << 20  # of all standard flows' bytes together


@dataclass(frozen=True)
class Config:
    """All one device knows before the first packet.

    `order` is its place in the HA order (0 first); times are seconds; `trust`: the folder of
    its certificates and keys (`device.trust`), for `statemirror_secure` and `failover_secure`.
    """

    name: str
    order: int
    traffic_group: str
    ha_address: IPv4Address
    peer_ha_address: IPv4Address
    self_ips: tuple[SelfIp, ...]
    virtual_servers: tuple[VirtualServer, ...]
    cloud_failover: CloudFailover | None = None
    mirror_port: int = 1029
    heartbeat_port: int = 1026
    failover_timeout_s: float = 3.0
    heartbeat_interval_s: float = 0.5
    ack_mirror: bool = True
    reject_unmatched: bool = True
    rebuild_automap: bool = True
    takeover_kick: bool = False
    statemirror_secure: bool = False
    failover_secure: bool = False
    trust: str = ""
    mirror_limits: MirrorLimits = MirrorLimits()
    data_interfaces: tuple[str, ...] = ("ext", "int")
    floating: tuple[FloatingAddress, ...] = ()
    gratuitous_arp: bool = True
    mac_masquerade: str = ""
    ports: tuple[Port, ...] = ()
    # Serves the packets in the device's place: a program, called with `active` or `standby`.
    data_plane: tuple[str, ...] = ()

    def floating_addresses(self, server: VirtualServer) -> tuple[IPv4Address, ...]:
        """The addresses of a standard virtual server that go where the traffic group goes."""
        pool = server.snat_pool if server.snat is Snat.POOL else ()
        automap = server.snat is Snat.AUTOMAP
        selves = (s.address for s in self.self_ips if automap and s.floating)
        return (server.destination.address, *pool, *selves)

    def transparent_members(self, server: VirtualServer) -> tuple[IPv4Address, ...]:
        """Pool members that see the client's own address: their segments to it are ours."""
        ours = server.standard and server.snat is Snat.NONE
        return tuple(member.address for member in server.pool) if ours else ()

    def proxy_addresses(self, server: VirtualServer) -> tuple[IPv4Address, ...]:
        """Every address a standard virtual server's own sockets are bound to."""
        automap = server.snat is Snat.AUTOMAP
        own = (s.address for s in self.self_ips if automap and not s.floating)
        return (*self.floating_addresses(server), *own)
