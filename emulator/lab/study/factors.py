"""What can be changed in a deployment, one factor at a time, and what each change costs. Pure.

A factor is a set of changes to a scenario, as nested settings. `why` looks for the smallest
sets of them that keep the connections alive; `matrix` lays them out as axes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from emulator.lab.settings.scenario import Scenario

Changes = Mapping[str, Any]


class NotPossible(ValueError):
    """The changes make no valid scenario; the text says why."""


@dataclass(frozen=True, slots=True)
class Factor:
    """One change. `title` as an order to the engineer, `cost` in a manager's words."""

    id: str
    title: str
    cost: str
    changes: Changes


_NO_SNAT_ROUTES = [
    {"table": "rtb-client", "destination": "10.99.0.0/24", "interface": "ext"},
    {"table": "rtb-backend", "destination": "10.0.1.0/24", "interface": "int"},
]

_BOTH_ROUTES = [
    {"table": "rtb-client", "destination": "10.99.0.0/24", "interface": "ext"},
    {"table": "rtb-backend", "destination": "10.88.0.0/24", "interface": "int"},
]

FACTORS: tuple[Factor, ...] = (
    Factor(
        "mirroring", "turn connection mirroring on",
        "CPU and a dedicated link; every new connection waits one round trip to the standby",
        {"virtual_server": {"mirroring": True}},
    ),
    Factor(
        "snat-pool", "SNAT from a pool in a second range that is routed to the active device",
        "a range outside the cloud's own, one more route to move at failover",
        {"virtual_server": {"snat": "pool"}},
    ),
    Factor(
        "snat-none", "no SNAT: servers see the clients, their way back leads through the device",
        "the servers' route to the clients must lead to the active device and move with it",
        {"virtual_server": {"snat": "none"}, "cloud": {"routes": _NO_SNAT_ROUTES}},
    ),
    Factor(
        "loose-initiation", "loose initiation and loose close on a fastL4 virtual server",
        "the device accepts any segment as the beginning of a connection",
        {"virtual_server": {"loose_initiation": True, "loose_close": True}},
    ),
    Factor(
        "silent", "drop segments without a flow instead of resetting them (tm.rejectunmatched)",
        "dead connections are noticed late, by time-outs instead of resets",
        {"devices": {"reject_unmatched": False}},
    ),
    Factor(
        "fastL4", "a fastL4 virtual server instead of a standard one",
        "no work on the content: no TLS, no HTTP profiles, no iRules on the payload",
        {"virtual_server": {"type": "fastL4"}},
    ),
    Factor(
        "standard", "a standard virtual server (full proxy)",
        "the whole stream is mirrored, twice the traffic on the mirroring link",
        {"virtual_server": {"type": "standard"}},
    ),
    Factor(
        "sync", "acknowledge only what the standby holds (output commit)",
        "no BIG-IP can do this; every segment waits one round trip to the standby",
        {"virtual_server": {"commit": "sync"}},
    ),
    Factor(
        "kick", "have the ends retransmit as soon as their path is back (RFC 6069)",
        "no BIG-IP does this; a few packets per connection at takeover",
        {"devices": {"takeover_kick": True}},
    ),
    Factor(
        "fast-routes", "route changes that take effect at once",
        "not yours to change: no provider promises a time",
        {"cloud": {"propagation_delay_s": 0.1, "table_delay_s": {}}},
    ),
    Factor(
        "both-routes", "let the failover move the client's and the servers' route, by routes alone",
        "an address range outside the cloud's own, and the right to change both route tables",
        {"cloud": {
            "routes": _BOTH_ROUTES, "load_balancer": None, "failover_via": "route",
            "elastic_ips": [],
        }},
    ),
    Factor(
        "firewall-loose", "firewalls that take connections up in the middle",
        "a weaker firewall: it lets segments pass that no connection of its own explains",
        {"cloud": {"firewall": {"lost_state": "loose"}}},
    ),
    Factor(
        "mirror-link", "a mirroring link that is up and faster than the traffic",
        "bandwidth between the zones, which is paid by the gigabyte",
        {"mirror_channel": None},
    ),
    Factor(
        "gratuitous-arp", "the new active device announces its addresses",
        "nothing; check that no switch filters gratuitous ARP",
        {"devices": {"gratuitous_arp": True}},
    ),
    Factor(
        "idle-timeout", "an idle time-out of the virtual server of an hour",
        "memory: flows whose ends are gone are kept for an hour",
        {"virtual_server": {"idle_timeout_s": 3600}},
    ),
)  # fmt: skip


def changed(scenario: Scenario, *changes: Changes, name: str | None = None) -> Scenario:
    """The scenario with all the changes, without its expectations; raises NotPossible."""
    plain = scenario.model_dump(mode="json")
    for change in changes:
        plain = merged(plain, change)
    plain |= {"expect": {}, "name": name or scenario.name}
    try:
        return Scenario.model_validate(plain)
    except ValidationError as error:
        text = error.errors()[0]["msg"].removeprefix("Value error, ")
        raise NotPossible(text) from error


def merged(plain: Mapping[str, Any], changes: Changes) -> dict[str, Any]:
    """Nested settings, the changes' winning."""
    result = dict(plain)
    for key, value in changes.items():
        old = result.get(key)
        both = isinstance(old, Mapping) and isinstance(value, Mapping)
        result[key] = merged(old, value) if both else value  # type: ignore[arg-type]
    return result


def applicable(scenario: Scenario, factors: Sequence[Factor] = FACTORS) -> list[Factor]:
    """The factors that would change something about the scenario by themselves."""
    plain = scenario.model_dump(mode="json") | {"expect": {}}
    found = []
    for factor in factors:
        try:
            after = changed(scenario, factor.changes).model_dump(mode="json")
        except NotPossible:
            continue
        if after != plain and _matters(factor, scenario):
            found.append(factor)
    return found


def compatible(one: Factor, other: Factor) -> bool:
    """Whether two factors say different things of the same setting."""
    return not _conflict(one.changes, other.changes)


def _matters(factor: Factor, scenario: Scenario) -> bool:
    """A setting that the virtual server's type makes no use of is no factor by itself."""
    server = scenario.virtual_server
    if factor.id == "loose-initiation":
        return server.type != "standard"
    if factor.id == "sync":
        return server.type == "standard" and server.mirroring
    if factor.id == "firewall-loose":
        return scenario.cloud.firewall is not None
    if factor.id == "idle-timeout":
        return server.idle_timeout_s < 300  # shorter than anybody's default
    return True


def _conflict(one: Changes, other: Changes) -> bool:
    for key in one.keys() & other.keys():
        mine, theirs = one[key], other[key]
        if isinstance(mine, Mapping) and isinstance(theirs, Mapping):
            if _conflict(mine, theirs):
                return True
        elif mine != theirs:
            return True
    return False
