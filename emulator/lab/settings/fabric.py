"""A scenario's settings for what stands in the fabric: filters, load balancers. Pure values.

Each translates itself into the plain data `netns.cloud.dataplane` reads; what the fabric then
does with packets is decided there.
"""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network
from typing import Annotated, Literal

from pydantic import Field, model_validator

from emulator.lab.settings.model import Model, Seconds
from netns.cloud.balancer import OnUnhealthy, Policy
from netns.cloud.profiles import BALANCERS, PROFILES

Port = Annotated[int, Field(ge=0, le=65535)]
LostState = Literal["loose", "strict"]
Interface = Literal[
    "client:eth0", "backend-1:eth0", "backend-2:eth0", "api:eth0",
    "bigip-a:ext", "bigip-a:int", "bigip-a:ha", "bigip-b:ext", "bigip-b:int", "bigip-b:ha",
]  # fmt: skip
LONGEST_IDLE_S = 432000.0  # AWS: the default of all but the newest instances
ANYWHERE = IPv4Network("0.0.0.0/0")


class Rule(Model):
    """What a security group allows."""

    protocol: Literal["tcp", "udp", "icmp", "all"] = "all"
    ports: tuple[Port, Port] = Field((0, 65535), description="first and last destination port")
    cidr: IPv4Network = Field(ANYWHERE, description="from (ingress) or to (egress) this network")

    @model_validator(mode="after")
    def _ordered(self) -> Rule:
        if self.ports[0] > self.ports[1]:
            raise ValueError(f"ports {self.ports[0]} to {self.ports[1]}: none")
        return self


class SecurityGroup(Model):
    """A stateful filter on each of the interfaces it is attached to."""

    interfaces: tuple[Interface, ...] = Field(description="attached to, e.g. bigip-b:int")
    ingress: tuple[Rule, ...] = ()
    egress: tuple[Rule, ...] = (Rule(),)
    tcp_established_timeout_s: Annotated[float, Field(ge=1, le=432000)] | None = Field(
        None,
        description="null: as the provider publishes, else 432000; AWS allows 60 s and more, "
        "less is time compression",
    )
    lost_state: LostState = Field(
        "strict",
        description="a TCP segment in the middle of a connection the interface does not know: "
        "loose takes it up where a rule allows it, strict drops it. AWS does not say which",
    )


class Firewall(Model):
    """A stateful firewall of a third party in front of each device, one per zone: it passes
    everything it has seen begin."""

    side: Literal["ext", "int"] = "ext"
    idle_timeout_s: Annotated[float, Field(ge=1, le=432000)] = Field(
        350, description="AWS Network Firewall: TcpIdleTimeoutSeconds"
    )
    lost_state: LostState = "strict"


class Link(Model):
    """The link of an interface, each way; packets keep their order.

    Both links of a path together stay below the time in which the verdict takes a segment at
    the captures' end for still on its way.
    """

    delay_s: Annotated[float, Field(ge=0, le=0.1)] = 0.0
    jitter_s: Annotated[float, Field(ge=0, le=0.1)] = 0.0
    loss: Annotated[float, Field(ge=0, le=1)] = Field(0.0, description="share of the packets")


class LoadBalancer(Model):
    """In front of the pair, on the client's side. What is not set is as published."""

    type: Literal["nlb", "gwlb", "azure", "gcp"]
    connection_termination: bool = Field(
        True, description="nlb: target_health_state.unhealthy.connection_termination.enabled"
    )
    target_failover: Literal["no_rebalance", "rebalance"] = Field(
        "no_rebalance", description="gwlb: target_failover.on_unhealthy"
    )
    persistence: Literal["DEFAULT_FOR_PROTOCOL", "NEVER_PERSIST", "ALWAYS_PERSIST"] = Field(
        "DEFAULT_FOR_PROTOCOL",
        description="gcp: connection persistence on unhealthy backends",
    )
    private: tuple[IPv4Address, IPv4Address] = Field(
        (IPv4Address("10.0.10.100"), IPv4Address("10.0.20.100")),
        description="nlb: the targets' addresses, on bigip-a and on bigip-b",
    )
    interval_s: Annotated[float, Field(ge=0.2, le=300)] | None = None
    timeout_s: Annotated[float, Field(ge=0.1, le=120)] | None = None
    healthy_threshold: Annotated[int, Field(ge=1, le=10)] | None = None
    unhealthy_threshold: Annotated[int, Field(ge=1, le=10)] | None = None
    idle_timeout_s: Annotated[float, Field(ge=1, le=6000)] | None = None
    propagation_s: Seconds = Field(
        0.0, description="from a target found unhealthy to what packets meet"
    )

    @property
    def translates(self) -> bool:
        """Whether each device has a destination address of its own behind it."""
        return self.type == "nlb"

    @property
    def policy(self) -> Policy:
        """What it does, as published, with the scenario's own figures."""
        published = BALANCERS[self.type]
        fates = {
            "nlb": published.on_unhealthy if self.connection_termination else OnUnhealthy.KEEP,
            "gwlb": OnUnhealthy.DIVERT if self.target_failover == "rebalance" else OnUnhealthy.KEEP,
            "azure": published.on_unhealthy,
            "gcp": OnUnhealthy.DIVERT if self.persistence == "NEVER_PERSIST" else OnUnhealthy.KEEP,
        }
        names = ("interval_s", "timeout_s", "healthy_threshold", "unhealthy_threshold")
        own = {
            name: value
            for name in (*names, "idle_timeout_s", "propagation_s")
            if (value := getattr(self, name)) is not None
        }
        return replace(published, on_unhealthy=fates[self.type], **own)

    @property
    def detection_s(self) -> float:
        """How long it takes at most to see that the devices have changed roles."""
        policy = self.policy
        probes = max(policy.healthy_threshold, policy.unhealthy_threshold) + 1
        return probes * policy.interval_s + policy.timeout_s + policy.propagation_s


def filters(
    groups: dict[str, SecurityGroup],
    firewall: Firewall | None,
    names: dict[str, str],
    provider: str | None,
) -> list[dict[str, object]]:
    """Every filter as data. `names`: interface ("bigip-b:int") -> its name on the router."""
    idle_s = PROFILES[provider].filter_idle_s.value if provider else LONGEST_IDLE_S
    found = [
        {
            "interface": names[interface],
            "owner": interface,
            "kind": "security-group",
            "ingress": [_plain(rule) for rule in group.ingress],
            "egress": [_plain(rule) for rule in group.egress],
            "idle_timeout_s": group.tcp_established_timeout_s or idle_s,
            "lost_state": group.lost_state,
        }
        for group in groups.values()
        for interface in group.interfaces
    ]
    if firewall is not None:
        found += [
            {
                "interface": names[f"{device}:{firewall.side}"],
                "owner": f"{device}:{firewall.side}",
                "kind": "firewall",
                "ingress": [_plain(Rule())],
                "egress": [_plain(Rule())],
                "idle_timeout_s": firewall.idle_timeout_s,
                "lost_state": firewall.lost_state,
                "always_track": True,
            }
            for device in ("bigip-a", "bigip-b")
        ]
    return found


def check_groups(groups: dict[str, SecurityGroup]) -> None:
    """Raises ValueError when an interface is in two groups: AWS would unite them, we do not."""
    seen: dict[str, str] = {}
    for name, group in groups.items():
        for interface in group.interfaces:
            if interface in seen:
                raise ValueError(
                    f"security_groups: {interface} is in {seen[interface]} and in {name}"
                )
            seen[interface] = name


def _plain(rule: Rule) -> dict[str, object]:
    return {"protocol": rule.protocol, "network": str(rule.cidr), "ports": list(rule.ports)}
