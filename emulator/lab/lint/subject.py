"""What is linted: a scenario, and what the inputs it came from declare. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network
from typing import Literal

from emulator.lab.inputs.declared import Declared, SelfIp, Server
from emulator.lab.inputs.tree import Place
from emulator.lab.settings.cloud import Route
from emulator.lab.settings.scenario import Scenario

CLIENTS = IPv4Network("10.0.1.0/24")
SERVERS = {
    "backend-1": IPv4Network("10.0.31.0/24"),
    "backend-2": IPv4Network("10.0.32.0/24"),
}
Severity = Literal["warning", "note"]


@dataclass(frozen=True)
class Subject:
    """`origins`: setting -> where it is said; the deepest known one counts. `server` and
    `declared`: from inputs, else None."""

    scenario: Scenario
    origins: dict[str, Place] = field(default_factory=dict)
    declared: Declared | None = None
    server: Server | None = None

    @property
    def asked(self) -> bool:
        """Whether mirroring is asked for; the inputs may ask for it and prevent it as well."""
        by_input = self.server is not None and self.server.mirroring
        return by_input or self.scenario.virtual_server.mirroring

    @property
    def self_ips(self) -> list[SelfIp]:
        return self.declared.self_ips if self.declared is not None else []

    def place(self, setting: str) -> Place:
        """Where a setting stands, or what it is part of."""
        parts = setting.split(".")
        for length in range(len(parts), 0, -1):
            found = self.origins.get(".".join(parts[:length]))
            if found is not None:
                return found
        return self.origins.get("name", Place("scenario"))

    def moves(self, address: IPv4Address | IPv4Network, table: str) -> bool:
        """Whether a route that a failover moves leads there."""
        return any(r.move for r in self._routes(address, table))

    def led(self, address: IPv4Address | IPv4Network, table: str) -> bool:
        """Whether any route leads there."""
        return bool(self._routes(address, table))

    def _routes(self, address: IPv4Address | IPv4Network, table: str) -> list[Route]:
        wanted = address if isinstance(address, IPv4Network) else IPv4Network(address)
        return [
            r for r in self.scenario.cloud.routes
            if r.table == table and wanted.subnet_of(r.destination)
        ]  # fmt: skip

    @property
    def failover_s(self) -> float:
        """Detection and propagation as set: what an outage takes at least."""
        scenario = self.scenario
        if scenario.failover is None:
            return 0.0
        planned = scenario.failover.how.value == "force-standby"
        detection = 0.0 if planned else scenario.devices.failover_timeout_s
        if scenario.world == "onprem":
            return detection
        cloud = scenario.cloud
        return detection + max([cloud.propagation_delay_s, *cloud.table_delay_s.values()])


@dataclass(frozen=True)
class Finding:
    """One warning: which rule, where, what, the claim of the article it bears on, the source."""

    rule: str
    severity: Severity
    claim: str
    place: Place
    text: str
    shows: str
    source: str
