"""The seventeen claims of the article and its comments, and the runs that answer them. Pure.

Cases name built-in scenarios and what is changed in them; no case says what comes out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from emulator.lab.study.claims import Answer, Case, Claim, Question

POOL = "article-snat-pool"
_OFF = {"power-off": {"failover": {"how": "power-off", "after_s": 4.0}}}


def _server(**settings: Any) -> dict[str, Any]:
    return {"virtual_server": settings}


def _standard(commit: str = "async", **settings: Any) -> dict[str, Any]:
    return _server(type="standard", commit=commit, **settings)


def _power_off(changes: Mapping[str, Any] | None = None) -> dict[str, Any]:
    return {**(changes or {}), **_OFF["power-off"]}


def _delay(seconds: float, **more: Any) -> dict[str, Any]:
    return {"cloud": {"propagation_delay_s": seconds, "table_delay_s": {}}, **more}


_ONE = {"sessions": ["ssh", "telnet", "echo"]}

CLAIMS: tuple[Claim, ...] = (
    Claim(
        "C1", "In a cloud the standby does show mirrored connections.", Question.ON_STANDBY,
        (
            Case("fastL4, SNAT automap, as in the article", "article"),
            Case("fastL4, routed SNAT pool", POOL),
            Case("standard, SNAT automap", "article", _standard()),
            Case(
                "the mirroring ports are missing in the security group",
                "security-group-no-mirror-ports",
            ),
            Case("mirroring is off", "article-no-mirroring", contrast=True),
        ),
    ),
    Claim(
        "C2", "Failover by API calls takes longer than a connection tolerates.",
        Question.DIES_OF_TIME,
        (
            Case("4 s outage, Linux ends", POOL),
            Case("22 s outage, Linux ends", "long-delay"),
            Case("500 routes behind the API's throttle, Linux ends", "throttled-500"),
            Case("22 s outage, Windows-like ends", "endpoint-gives-up"),
            Case("5 s outage, a program that waits 3 s for an answer", "application-timer",
                 sessions=("echo", "bulk")),
            Case("5 s outage, ssh beside that program", "application-timer",
                 sessions=("ssh",)),
        ),
    ),
    Claim(
        "C3", "Failover by a cloud load balancer is too slow as well, even with perfect mirroring.",
        Question.DIES,
        (
            Case("AWS NLB", "load-balancer-nlb"),
            Case("Azure load balancer", "load-balancer-azure"),
            Case("AWS GWLB, no_rebalance", "load-balancer-gwlb"),
            Case("AWS GWLB, rebalance", "load-balancer-gwlb-rebalance"),
            Case("GCP internal load balancer, default", "load-balancer-gcp"),
            Case("GCP internal load balancer, NEVER_PERSIST", "load-balancer-gcp-never-persist"),
        ),
    ),
    Claim(
        "C4", "If the failover changes a destination NAT (elastic IP), mirroring does not work.",
        Question.DIES,
        (
            Case("fastL4", "elastic-ip"),
            Case("standard, nothing acknowledged before it is mirrored", "elastic-ip",
                 _standard("sync")),
            Case("a route moves instead: the destination stays", POOL, contrast=True),
        ),
    ),
    Claim(
        "C5", "If the SNAT address changes at failover, mirroring fails.", Question.DIES,
        (
            Case("automap, fastL4", "article"),
            Case("automap, fastL4, the route moves at once", "article", _delay(0.1)),
            Case("automap, standard, committed synchronously", "article", _standard("sync")),
            Case("a SNAT pool in a range that is routed", POOL, contrast=True),
            Case("no SNAT, the return route moves", "article-no-snat", contrast=True),
            Case("on-premises, automap takes the floating self IP", "onprem", contrast=True),
        ),
    ),
    Claim(
        "C6", "Cloud API calls are authenticated and queued, and have no guaranteed time.",
        Question.TAKES_LONG,
        (
            Case("2 routes", POOL),
            Case("200 routes", "throttled-200"),
            Case("500 routes", "throttled-500"),
            Case("the device's credentials are refused", POOL,
                 {"cloud": {"api": {"credentials": "wrong-secret"}}, "sessions": ["ssh"]}),
            Case("the change needs a tag that is missing", "trigger-lost"),
        ),
    ),
    Claim(
        "C7", "Other components hold connection state as well: security groups, firewalls.",
        Question.DIES,
        (
            Case("security groups that take segments up in the middle",
                 "security-group-lost-state"),
            Case("security groups that do not", "security-group-strict"),
            Case("a firewall in each zone", "firewall-lost-state"),
            Case("no filter in the path", POOL, contrast=True),
        ),
    ),
    Claim(
        "C8", "It takes all of: mirroring switched on, and TCP 1029 to 1055 open between the "
        "devices.", Question.DIES,
        (
            Case("the ports are not open in the security group",
                 "security-group-no-mirror-ports"),
            Case("the virtual server's mirroring is off", "article-no-mirroring"),
            Case("the channel is cut before the failover", "mirror-channel-cut"),
            Case("all of it is there", POOL, contrast=True),
        ),
    ),
    Claim(
        "C9", "SSH through a virtual server in an alien range, failover by routes across two "
        "zones within seconds: the session drops.", Question.DIES,
        (
            Case("SNAT automap", "article", {"sessions": ["ssh"]}),
            Case("a SNAT pool that is routed", POOL, {"sessions": ["ssh"]}),
            Case("a SNAT pool that is routed, power-off", POOL, _power_off({"sessions": ["ssh"]})),
            Case("no SNAT, both routes move", "article-no-snat", {"sessions": ["ssh"]}),
            Case("a SNAT pool, standard virtual server, synchronous", POOL,
                 _power_off({**_standard("sync"), "sessions": ["ssh"]})),
            Case("no mirroring", "article-no-mirroring", {"sessions": ["ssh"]}),
        ),
    ),
    Claim(
        "C10", "Mirroring half works: of the sessions of an EHR application some survive.",
        Question.DIES,
        (
            Case("50 sessions, mirrored asynchronously over a slow channel, power-off",
                 "fleet-async", says=Answer.PARTLY),
            Case("security groups that lost their state", "security-group-lost-state",
                 says=Answer.PARTLY),
            Case("50 sessions, nothing acknowledged before it is mirrored", "fleet-sync",
                 contrast=True),
        ),
    ),
    Claim(
        "C11", "Persistence mirroring works in a public cloud.", Question.SAME_MEMBER,
        (
            Case("persistence records are mirrored", "persistence-mirrored"),
            Case("they are not", "persistence-not-mirrored", contrast=True),
        ),
    ),
    Claim(
        "C12", "Without mirroring, long-lived telnet and FTP die; short HTTP and UDP do not.",
        Question.DIES,
        (
            Case("telnet", "article-no-mirroring", sessions=("telnet",)),
            Case("FTP, control and data", "workloads-no-mirroring", sessions=("ftp", "ftp-data")),
            Case("short HTTP requests", "workloads-no-mirroring", sessions=("http",),
                 says=Answer.NO),
            Case("UDP", "udp-no-mirroring", says=Answer.NO),
            Case("telnet, mirrored", POOL, sessions=("telnet",), contrast=True),
            Case("FTP, mirrored", "workloads", sessions=("ftp", "ftp-data"), contrast=True),
        ),
    ),
    Claim(
        "C13", "SSH keep-alives are an alternative to mirroring.", Question.LIVES,
        (
            Case("keep-alives, no mirroring, the new device resets", "workloads-no-mirroring",
                 sessions=("ssh-keepalive",)),
            Case("keep-alives, no mirroring, the new device is silent", "ssh-keepalive",
                 sessions=("ssh-keepalive",)),
            Case("keep-alives shorter than the outage, mirrored", "ssh-keepalive-too-short",
                 sessions=("ssh-keepalive",)),
            Case("keep-alives longer than the outage, mirrored", "workloads",
                 sessions=("ssh-keepalive",), contrast=True),
        ),
    ),
    Claim(
        "C14", "fastL4 with loose initiation and loose close passes flows in flight.",
        Question.LIVES,
        (
            Case("the same member and the same SNAT address", "article-loose-initiation"),
            Case("SNAT automap: another SNAT address", "article-loose-initiation",
                 _server(snat="automap")),
        ),
    ),
    Claim(
        "C15", "With a wildcard fastL4 virtual server most protocols are fine.", Question.LIVES,
        (
            Case("mirrored", "wildcard"),
            Case("not mirrored, loose initiation", "wildcard-loose-initiation"),
            Case("not mirrored, loose initiation, in the middle of a database transaction",
                 "wildcard-loose-initiation", {"sessions": ["postgresql"]}),
            Case("not mirrored, strict", "wildcard-no-mirroring"),
            Case("not mirrored, strict, in the middle of a database transaction",
                 "wildcard-no-mirroring", {"sessions": ["postgresql"]}),
        ),
    ),
    Claim(
        "C16", "A standard (full proxy) virtual server needs caution by application.",
        Question.DIES,
        (
            Case("mirrored asynchronously over a slow channel, power-off", "mirror-lag"),
            Case("the same, committed synchronously", "mirror-lag", _standard("sync")),
            Case("mirrored asynchronously, forced standby", POOL, _standard()),
            Case("not mirrored", "article-no-mirroring", _standard()),
        ),
    ),
    Claim(
        "C17", "A carrier-grade NAT can fail devices so that subscribers do not notice.",
        Question.LIVES,
        (
            Case("deterministic NAT and loose initiation, no mirroring", "cgnat-deterministic"),
            Case("dynamic NAT, mirrored, in a routed pool", "cgnat-mirrored"),
            Case("dynamic NAT, no mirroring", "cgnat-dynamic"),
        ),
    ),
)  # fmt: skip
