"""Stateful filters of the fabric: security groups, and firewalls in the path. Pure.

Every filtered interface has a connection table of its own, as the hypervisor under it has:
what one interface has seen is unknown to every other, so traffic that moves to another
interface arrives in the middle of a conversation that its table never saw begin.

A packet is judged once, in the direction it crosses the interface::

    entry in the table --yes--> pass (whatever the rules say by now), entry renewed
        | no
    a rule allows it? --no--> drop:  begins something  "...-denied"
        | yes                        goes on with it   "...-lost-state"
    rule untracked? --yes--> pass, no entry
        | no
    begins something, or `lost_state` is loose --yes--> pass, new entry
        | no
    drop "...-lost-state"

AWS says when a rule is untracked and how long entries live. It does not say what becomes of
a packet in the middle of a TCP connection without an entry: therefore `lost_state`. Loose
is what Linux's connection tracking does by default (nf_conntrack_tcp_loose), strict is
documented of AWS Network Firewall. Time is an argument, in seconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum
from ipaddress import IPv4Address, IPv4Network

from netns.cloud.packets import ICMP, RST, TCP, UDP, Packet

ANYWHERE = IPv4Network("0.0.0.0/0")
ALL_PORTS = (0, 65535)
UDP_IDLE_S, UDP_STREAM_IDLE_S = 30.0, 180.0  # AWS; of all but TCP and UDP: 600 s
OTHER_IDLE_S = 600.0
_NUMBERS = {"tcp": TCP, "udp": UDP, "icmp": ICMP}


class LostState(Enum):
    """What a filter does with a TCP segment that goes on with a connection it does not know."""

    LOOSE = "loose"
    STRICT = "strict"


class Way(Enum):
    """How a packet crosses an interface, as its owner sees it."""

    INGRESS = "ingress"
    EGRESS = "egress"


@dataclass(frozen=True, slots=True)
class Rule:
    """Allows `protocol` ("tcp", "udp", "icmp" or "all") with `network`: from it at ingress, to
    it at egress. `ports`: the first and the last destination port."""

    protocol: str = "all"
    network: IPv4Network = ANYWHERE
    ports: tuple[int, int] = ALL_PORTS

    def allows(self, packet: Packet, other: IPv4Address) -> bool:
        if self.protocol != "all" and _NUMBERS[self.protocol] != packet.protocol:
            return False
        ported = packet.protocol in (TCP, UDP)
        if ported and not self.ports[0] <= packet.destination_port <= self.ports[1]:
            return False
        return other in self.network

    @property
    def everything(self) -> bool:
        return self.network == ANYWHERE and self.ports == ALL_PORTS


@dataclass(frozen=True, slots=True)
class Policy:
    """One filter's settings. `kind` begins its drop counters: "security-group", "firewall"."""

    kind: str
    ingress: tuple[Rule, ...]
    egress: tuple[Rule, ...]
    idle_timeout_s: float
    lost_state: LostState
    always_track: bool = False

    def rules(self, way: Way) -> tuple[Rule, ...]:
        return self.ingress if way is Way.INGRESS else self.egress


@dataclass(slots=True)
class _Entry:
    seen: float
    answered: bool = False


@dataclass(slots=True)
class Filter:
    """One interface's filter: its policy, which may be replaced, and its connection table.
    `owner`: the interface as its node has it, for the log."""

    policy: Policy
    owner: str = ""
    _entries: dict[tuple[object, ...], _Entry] = field(default_factory=dict)

    def judge(self, packet: Packet, way: Way, now: float) -> str | None:
        """None: it passes; else the drop counter's first part, e.g. "security-group-denied"."""
        if packet.icmp_error:  # belongs to a conversation that is judged by its own packets
            return None
        if self._known(packet, now):
            return None
        rule = self._allowing(packet, way)
        if rule is None:
            return f"{self.policy.kind}-{'denied' if packet.opens else 'lost-state'}"
        if self._untracked(packet, rule, way):
            return None
        if not packet.opens and self.policy.lost_state is LostState.STRICT:
            return f"{self.policy.kind}-lost-state"
        if not (packet.protocol == TCP and packet.flags & RST):
            self._entries[packet.key] = _Entry(now)
        return None

    def tracked(self, now: float) -> int:
        """How many connections the table holds."""
        return sum(not self._expired(key, entry, now) for key, entry in self._entries.items())

    def _known(self, packet: Packet, now: float) -> bool:
        for key in (packet.key, packet.reverse_key):
            entry = self._entries.get(key)
            if entry is None:
                continue
            if self._expired(key, entry, now):
                del self._entries[key]
                continue
            entry.seen = now
            entry.answered = entry.answered or key == packet.reverse_key
            if packet.protocol == TCP and packet.flags & RST:
                del self._entries[key]
            return True
        return False

    def _expired(self, key: tuple[object, ...], entry: _Entry, now: float) -> bool:
        if key[0] == TCP:
            limit = self.policy.idle_timeout_s
        elif key[0] == UDP:
            limit = UDP_STREAM_IDLE_S if entry.answered else UDP_IDLE_S
        else:
            limit = OTHER_IDLE_S
        return now - entry.seen > limit

    def _allowing(self, packet: Packet, way: Way) -> Rule | None:
        other = packet.source if way is Way.INGRESS else packet.destination
        return next((r for r in self.policy.rules(way) if r.allows(packet, other)), None)

    def _untracked(self, packet: Packet, rule: Rule, way: Way) -> bool:
        """AWS: a TCP or UDP flow that a rule allows for 0.0.0.0/0, while the other direction
        allows everything to 0.0.0.0/0, all ports. ICMP is always tracked."""
        if self.policy.always_track or packet.protocol not in (TCP, UDP):
            return False
        back = Way.EGRESS if way is Way.INGRESS else Way.INGRESS
        return rule.network == ANYWHERE and _covers(self.policy.rules(back), packet.protocol)


def _covers(rules: Sequence[Rule], protocol: int) -> bool:
    return any(
        rule.everything and (rule.protocol == "all" or _NUMBERS[rule.protocol] == protocol)
        for rule in rules
    )
