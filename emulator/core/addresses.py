"""Address selection: virtual server, pool member, SNAT address and port.

SNAT automap takes the self IP of the interface the member is reached by (a floating one
first where one exists: across zones of a cloud none does; F5 K7336, CFE FAQ). The source
port is preserved unless the server-side tuple is taken (`source-port preserve`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from ipaddress import IPv4Address

from emulator.core.config import ANY_PORT, Config, Snat, VirtualServer
from emulator.core.natmap import PortBlocks, PortSequence
from emulator.wire.mirror import FlowRecord, SnatKind
from emulator.wire.segment import PROTO_TCP, Endpoint

Taken = Callable[[Endpoint, Endpoint], bool]

_KINDS = {
    Snat.NONE: SnatKind.NONE,
    Snat.AUTOMAP: SnatKind.AUTOMAP,
    Snat.POOL: SnatKind.POOL,
    Snat.DETERMINISTIC: SnatKind.POOL,
}


class NoAddress(ValueError):
    """No pool member, SNAT address or port is left; the text is the reset cause."""


class Selector:
    """Chooses for new flows; keeps the round-robin place of each pool."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._turn: dict[str, int] = {}
        self._selves = frozenset(s.address for s in config.self_ips)
        self._ports = PortSequence(config.name)
        self._blocks = {
            v.name: PortBlocks(v.subscribers, v.snat_pool)
            for v in config.virtual_servers
            if v.snat is Snat.DETERMINISTIC and v.subscribers is not None
        }

    def reconfigure(self, config: Config) -> None:
        """For what is selected from now on."""
        self._config = config

    def virtual_server(self, target: Endpoint, protocol: int = PROTO_TCP) -> VirtualServer | None:
        """The most specific virtual server for `target`: the longer prefix, then an exact port
        before any port (F5 K14800). A wildcard is not for the device's own addresses."""
        matching = [
            v
            for v in self._config.virtual_servers
            if v.matches(target, protocol)
            and not (v.network is not None and target.address in self._selves)
        ]
        return max(
            matching, key=lambda v: (v.prefix_length, v.destination.port != ANY_PORT), default=None
        )

    def select(
        self,
        server: VirtualServer,
        client: Endpoint,
        virtual: Endpoint,
        taken: Taken,
        *,
        protocol: int = PROTO_TCP,
        persistent: Endpoint | None = None,
    ) -> FlowRecord:
        """The record of a new flow; raises NoAddress with F5's reset cause.

        `persistent`: the pool member it has to go to. A forwarding virtual server has no pool:
        where a packet is addressed, there it goes.
        """
        member = virtual if server.forwarding else persistent or self.balance(server)
        if member.port == ANY_PORT:
            member = Endpoint(member.address, virtual.port)
        snat = self._snat(server, client, member, taken)
        return FlowRecord(
            server.name, client, virtual, snat, member, _KINDS[server.snat],
            server.idle_s(protocol), protocol,
        )  # fmt: skip

    def balance(self, server: VirtualServer) -> Endpoint:
        """The next pool member, round robin; raises NoAddress."""
        if not server.pool:
            raise NoAddress("No pool member available")
        turn = self._turn.get(server.name, 0)
        self._turn[server.name] = turn + 1
        return server.pool[turn % len(server.pool)]

    def adopt(self, record: FlowRecord, taken: Taken) -> FlowRecord:
        """A mirrored record as this device can serve it.

        An automap address was the peer's own non-floating self IP, which this device does
        not own (F5: "you cannot mirror SNAT connections on non-floating self IPs"); with
        `rebuild_automap` the device maps the flow to its own, else keeps the peer's.
        """
        if record.snat_kind is not SnatKind.AUTOMAP or not self._config.rebuild_automap:
            return record
        own = self._automap(record.member)
        if own == record.snat.address:  # a floating self IP, or our own flow come back
            return record
        return replace(record, snat=self._free(own, record.client, record.member, taken))

    def _snat(
        self, server: VirtualServer, client: Endpoint, member: Endpoint, taken: Taken
    ) -> Endpoint:
        match server.snat:
            case Snat.NONE:
                return client
            case Snat.AUTOMAP:
                return self._free(self._automap(member), client, member, taken)
            case Snat.POOL:
                if not server.snat_pool:
                    raise NoAddress("No available SNAT addr")
                address = server.snat_pool[int(client.address) % len(server.snat_pool)]
                if server.change_port:
                    return _first_free(self._ports.candidates(address), member, taken)
                return self._free(address, client, member, taken)
            case Snat.DETERMINISTIC:
                blocks = self._blocks.get(server.name)
                if blocks is None or client.address not in blocks.subscribers:
                    raise NoAddress("No available SNAT addr")
                return _first_free(blocks.candidates(client), member, taken)

    def _automap(self, member: Endpoint) -> IPv4Address:
        for self_ip in sorted(self._config.self_ips, key=lambda s: not s.floating):
            if any(member.address in network for network in self_ip.reaches):
                return self_ip.address
        raise NoAddress("No route to host")

    @staticmethod
    def _free(address: IPv4Address, client: Endpoint, member: Endpoint, taken: Taken) -> Endpoint:
        ports = (
            1024 + (client.port - 1024 + step) % 64512 if step else client.port
            for step in range(64512)
        )
        return _first_free((Endpoint(address, port) for port in ports), member, taken)


def _first_free(candidates: Iterable[Endpoint], member: Endpoint, taken: Taken) -> Endpoint:
    for snat in candidates:
        if not taken(member, snat):
            return snat
    raise NoAddress("No available SNAT addr")
