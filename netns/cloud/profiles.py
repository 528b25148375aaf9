"""What the providers publish, as data: times, time-outs, and what their load balancers do. Pure.

Each value with its source. Where a provider publishes a range or several figures, the one
taken is named. Nothing here decides anything: `cloud.balancer` and `cloud.filters` do.
"""

from __future__ import annotations

from dataclasses import dataclass

from netns.cloud.balancer import OnUnhealthy, OnUnknown, Policy


@dataclass(frozen=True, slots=True)
class Published:
    """One figure and where it is published."""

    value: float
    source: str


@dataclass(frozen=True, slots=True)
class Profile:
    """A provider's times, seconds.

    `failover_s`: from the failover extension's first call to its last object done, as F5
    measured it for one to a few objects: the control plane's part. No provider publishes when
    a route change reaches packets. `filter_idle_s`: idle time-out of the stateful filter at an
    interface.
    """

    failover_s: Published
    filter_idle_s: Published


_CFE = "F5 Cloud Failover Extension, performance-sizing: "

PROFILES: dict[str, Profile] = {
    "aws": Profile(
        Published(5.0, _CFE + "AWS, up to 100 routes or 25 addresses: 5 s"),
        Published(
            350.0, "EC2 user guide, security group connection tracking: Nitro v6 (others 432000 s)"
        ),
    ),
    "azure": Profile(
        Published(40.0, _CFE + "Azure, legacy control plane, 50 routes: 40 s (others 50 to 85 s)"),
        Published(240.0, "Azure, NSG and load balancer: flows are cut after 4 minutes idle"),
    ),
    "gcp": Profile(
        Published(30.0, _CFE + "GCP, 10 addresses: 30 s (50 routes: 35 s, 200 routes: 90 s)"),
        Published(600.0, "GCP VPC firewall rules: active with one packet every 10 minutes"),
    ),
}

# NLB: user guide, target group health checks and attributes: interval 30 s, timeout 10 s
# (TCP), unhealthy after 2, healthy after 5; unhealthy.connection_termination enabled; idle
# 350 s, then a reset for data; fails open.
NLB = Policy(
    OnUnhealthy.RESET, OnUnknown.RESET, idle_timeout_s=350.0, interval_s=30.0, timeout_s=10.0,
    healthy_threshold=5, unhealthy_threshold=2,
)  # fmt: skip
# GWLB: user guide, target group attributes: target_failover no_rebalance; interval 10 s,
# timeout 5 s, unhealthy after 2, healthy after 5; idle 350 s; what is not in the flow table is
# taken as a new flow unless send_tcp_reset is on.
GWLB = Policy(
    OnUnhealthy.KEEP, OnUnknown.SELECT, idle_timeout_s=350.0, interval_s=10.0, timeout_s=5.0,
    healthy_threshold=5, unhealthy_threshold=2,
)  # fmt: skip
# Azure Standard: custom probe overview: interval 5 s, a probe times out with its interval,
# 2 failures, a refused probe counts at once; established TCP connections continue on a backend
# that is down; idle 4 minutes, then silence.
AZURE = Policy(
    OnUnhealthy.KEEP, OnUnknown.DROP, idle_timeout_s=240.0, interval_s=5.0, timeout_s=5.0,
    healthy_threshold=1, unhealthy_threshold=2, refusal_fails=True, fails_open=False,
)  # fmt: skip
# GCP internal passthrough: traffic distribution: DEFAULT_FOR_PROTOCOL persists TCP on an
# unhealthy backend, NEVER_PERSIST diverts; health check interval 5 s, timeout 5 s, 2 and 2;
# tracked for 600 s; with no healthy backend all get traffic.
GCP = Policy(
    OnUnhealthy.KEEP, OnUnknown.SELECT, idle_timeout_s=600.0, interval_s=5.0, timeout_s=5.0,
    healthy_threshold=2, unhealthy_threshold=2,
)  # fmt: skip

BALANCERS: dict[str, Policy] = {"nlb": NLB, "gwlb": GWLB, "azure": AZURE, "gcp": GCP}
