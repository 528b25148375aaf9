"""The rules: when each applies, what it says, its claim and its source, as data. Pure.

`shows` says what a run of the lab would show; the run decides, not the rule.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from emulator.lab.lint import conditions as when
from emulator.lab.lint.conditions import Hit
from emulator.lab.lint.subject import Finding, Severity, Subject


@dataclass(frozen=True)
class Rule:
    """`when`: the hits, none where the rule does not apply."""

    id: str
    severity: Severity
    claim: str
    shows: str
    source: str
    when: Callable[[Subject], Iterator[Hit]]


# What can be said of inputs that make no scenario.
OF_INPUTS = (
    "port-lockdown", "port-lockdown-1028", "no-mirror-address", "statemirror-disabled",
    "tls-without-secure", "mirrored-http", "mirrored-udp", "next-hop", "failover-moves-nothing",
)  # fmt: skip


_RESET = "RESET, cause snat-address-changed; STALLED with devices.rebuild_automap false"
RULES: tuple[Rule, ...] = (
    Rule("automap-across-zones", "warning", "C5", _RESET,
         "F5: \"you cannot mirror SNAT connections on non-floating self IPs\"; CFE FAQ: automap "
         "\"uses the unique Self IP of each BIG-IP\"; scenario article", when.automap),
    Rule("elastic-ip", "warning", "C4", "RESET, cause vip-address-changed",
         "CFE f5_cloud_failover_vips: an address per zone; scenario elastic-ip", when.elastic_ip),
    Rule("nlb-in-front", "warning", "C3", "RESET, cause load-balancer-reset",
         "AWS: target_health_state.unhealthy.connection_termination.enabled is true by default; "
         "scenario load-balancer-nlb", when.nlb),
    Rule("load-balancer-pins", "warning", "C3", "STALLED, cause load-balancer-pinned",
         "Azure load-balancer-custom-probe-overview; AWS GWLB target_failover no_rebalance; GCP "
         "connection persistence on unhealthy backends; scenarios load-balancer-azure, -gwlb, -gcp",
         when.pinned),
    Rule("mirror-ports-filtered", "warning", "C8", "RESET, cause mirror-channel-down",
         "K14894: TCP 1029 and one more for each traffic group; scenario "
         "security-group-no-mirror-ports", when.ports_filtered),
    Rule("port-lockdown", "note", "C8", "no difference with one traffic group",
         "K13250: the peer's TCP 1029 to 1043 are exempt", when.lockdown),
    Rule("port-lockdown-1028", "note", "C8", "nothing: not emulated", "K12932", when.custom_1028),
    Rule("no-mirror-address", "warning", "C8", "RESET, cause no-flow-reset",
         "cm device mirror-ip is any6 by default; article: \"Enable connection mirroring over a "
         "VLAN\"; scenario article-no-mirroring", when.no_mirror_address),
    Rule("statemirror-disabled", "warning", "C8", "RESET, cause no-flow-reset",
         "db statemirror.state; scenario article-no-mirroring", when.statemirror_off),
    Rule("tls-without-secure", "warning", "C8", "nothing: TLS is not emulated",
         "K17391; load error 01071958:3", when.tls_not_secure),
    Rule("mirrored-http", "warning", "C12", "the session itself, as any TCP",
         "K13478: not recommended for HTTP", when.http),
    Rule("mirrored-udp", "warning", "C12", "datagrams that go on with or without it",
         "K13478: not recommended for UDP", when.udp),
    Rule("mirrored-standard", "warning", "C16", "after a power-off bytes may be missing: STALLED, "
         "cause mirror-lag",
         "F5 lab guide: standard virtual servers copy the complete data stream; "
         "ID480699; scenario mirror-lag", when.standard),
    Rule("idle-timeout-short", "warning", "C2", "RESET, cause idle-expired or no-flow-reset",
         "fastL4 idleTimeout, resetOnTimeout", when.idle),
    Rule("filter-forgets-first", "warning", "C7", "STALLED or TIMED_OUT for sessions idle so long",
         "AWS: connection tracking time-outs per interface; scenario security-group-idle",
         when.filter_idle),
    Rule("filter-lost-state", "warning", "C7", "STALLED, cause security-group-lost-state or "
         "firewall-lost-state", "AWS Network Firewall API_FlowTimeouts; AWS does not say for "
         "security groups; scenarios firewall-lost-state, security-group-strict",
         when.filter_strict),
    Rule("not-mirrored", "note", "C12", "RESET, cause no-flow-reset: \"No flow found for ACK\"",
         "ltm virtual: mirror is disabled by default; scenario article-no-mirroring",
         when.not_mirrored),
    Rule("loose-initiation", "warning", "C14", "RESET by the server, or by another member",
         "fastL4 loose-initiation; scenario article-loose-initiation", when.loose),
    Rule("persistence-not-mirrored", "note", "C11", "nothing of the connections that exist",
         "persistence profile: mirror is disabled by default", when.persistence),
    Rule("reject-unmatched-off", "note", "C9", "STALLED instead of RESET where the flow is "
         "unknown", "db tm.rejectunmatched", when.silent),
    Rule("route-does-not-move", "warning", "C9", "STALLED, cause route-never-moved",
         "CFE: routes in scopingAddressRanges are replaced, others are not; scenario trigger-lost",
         when.route_stays),
    Rule("snat-range-does-not-move", "warning", "C5", "STALLED, cause asymmetric-route or "
         "route-never-moved", "AWS: a subnet's address is reached in that subnet; scenario "
         "half-done-server-side", when.snat_stays),
    Rule("no-way-back", "warning", "C5", "STALLED or no connection at all",
         "CFE example awsMultipleRoutingTables: a second group moves the servers' way back; "
         "scenario article-no-snat", when.no_way_back),
    Rule("next-hop", "warning", "C9", "STALLED, cause route-never-moved",
         "CFE source: a next hop is matched as text with the device's own addresses",
         when.next_hop),
    Rule("failover-moves-nothing", "warning", "C9", "STALLED, cause route-never-moved",
         "CFE base_schema: enabled", when.failover_off),
    Rule("no-traffic-group", "warning", "C8", "the lab's virtual server is in traffic-group-1",
         "F5 DSC manual: mirroring operates at the traffic-group level; inference for none",
         when.no_group),
    Rule("channel-fault", "note", "C1", "cause mirror-channel-down or mirror-lag",
         "scenario mirror-channel-cut", when.channel),
)  # fmt: skip


def lint(subject: Subject, *, inputs_only: bool = False) -> list[Finding]:
    """All findings, in the order of the rules; `inputs_only`: there is no scenario to look at."""
    return [
        Finding(rule.id, rule.severity, rule.claim, place, text, rule.shows, rule.source)
        for rule in RULES
        if not inputs_only or rule.id in OF_INPUTS
        for text, place in rule.when(subject)
    ]
