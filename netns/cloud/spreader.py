"""The load balancer as a part of the data plane: packets from the client's side to a target.

`cloud.balancer` decides on each; the decision becomes a packet mark, and the mark a route:
the kernel forwards. The frontend's address is the packets' destination up to the device
(Azure with floating IP, GCP, GWLB), unless a target has a `private` address of its own, to
which the destination is then translated and from which answers are translated back (NLB).
"""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import Any

from netfilterqueue import Packet as Queued

from netns.cloud.balancer import Act, Balancer, Decision, OnUnhealthy, OnUnknown, Policy
from netns.cloud.packets import Packet, parse, reset_for
from netns.cloud.prober import Prober, Target
from netns.cloud.queue import Queue
from netns.cloud.writing import Log, describe

QUEUE = 21
_FIRST_TABLE = 200
_RULE_PRIORITY = 900  # before the route tables of the subnets


@dataclass(frozen=True, slots=True)
class Place:
    """Where the balancer stands: the client's side, its frontend, and what lies behind it."""

    entry: str
    frontend: IPv4Address
    targets: tuple[Target, ...]
    private: tuple[IPv4Address, ...]


class Spreader:
    """Prepares the router, probes the targets, marks the packets."""

    def __init__(self, place: Place, policy: Policy, log: Log) -> None:
        self._place, self._log = place, log
        self._balancer = Balancer(policy, [t.name for t in place.targets])
        self._marks = {target.name: n for n, target in enumerate(place.targets, 1)}
        self._probers = [
            Prober(target, policy.interval_s, policy.timeout_s, self._report)
            for target in place.targets
        ]
        self._raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
        self._raw.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, place.entry.encode())
        self._prepare()
        self.queue = Queue(QUEUE, self._on_packet)

    def rules(self) -> list[str]:
        """As iptables-restore reads them, for the mangle table."""
        what = f"-i {self._place.entry} -p tcp -d {self._place.frontend}"
        return [f"-A PREROUTING {what} -j NFQUEUE --queue-num {QUEUE}"]

    def tick(self) -> float:
        """Probe what is due; returns in how many seconds to call again."""
        now = time.monotonic()
        return min(prober.tick(now) for prober in self._probers) - now

    def _prepare(self) -> None:
        """A routing table for each mark, and the translation where targets have addresses."""
        lines = []
        for number, target in enumerate(self._place.targets, 1):
            table = _FIRST_TABLE + number
            lines += [
                f"rule add fwmark {number} lookup {table} priority {_RULE_PRIORITY}",
                f"route add default via {target.address} dev {target.interface} onlink "
                f"table {table}",
            ]
        _run(["ip", "-batch", "-"], "\n".join(lines) + "\n")
        if self._place.private:
            _run(["nft", "-f", "-"], translation(self._place))

    def _on_packet(self, queued: Queued) -> None:
        try:
            packet = parse(queued.get_payload())
        except ValueError as error:
            self._log.write("malformed", reason=str(error))
            queued.drop()
            return
        decision = self._balancer.route(packet, time.monotonic())
        if decision.moved_from and decision.moved_from != decision.target:
            self._say("flow-diverted", packet, decision)
        if decision.act is Act.FORWARD:
            queued.set_mark(self._marks[decision.target])
            queued.accept()
            return
        queued.drop()
        if decision.act is Act.RESET:
            self._say("load-balancer-reset", packet, decision)
            self._raw.sendto(reset_for(packet), (str(packet.source), 0))
        else:
            self._log.write(
                "dropped", counter=f"load-balancer/{self._place.entry}", packets=1,
                reason=decision.reason, **describe(packet),
            )  # fmt: skip

    def _say(self, what: str, packet: Packet, decision: Decision) -> None:
        details = {"target": decision.target, "reason": decision.reason}
        if decision.moved_from:
            details["from"] = decision.moved_from
        self._log.write(what, **describe(packet), **details)

    def _report(self, target: str, answered: bool, refused: bool) -> None:
        changed = self._balancer.probed(
            target, time.monotonic(), answered=answered, refused=refused
        )
        if changed:
            state = "healthy" if answered else "unhealthy"
            self._log.write("target-health", target=target, state=state)


def translation(place: Place) -> str:
    """Stateless: to the marked target's address, and back to the frontend's."""
    to = ", ".join(f"{number} : {address}" for number, address in enumerate(place.private, 1))
    back = ", ".join(f"{address} : {place.frontend}" for address in place.private)
    return (
        "table ip balancer {\n"
        "    chain to_target {\n"
        "    type filter hook prerouting priority mangle + 10; policy accept;\n"
        f'    iifname "{place.entry}" ip daddr {place.frontend} '
        f"ip daddr set meta mark map {{ {to} }}\n"
        "    }\n"
        "    chain to_client {\n"
        "    type filter hook postrouting priority mangle + 10; policy accept;\n"
        f'    oifname "{place.entry}" ip saddr set ip saddr map {{ {back} }}\n'
        "    }\n"
        "}\n"
    )


def read(config: Mapping[str, Any]) -> tuple[Place, Policy]:
    """Place and policy as the configuration has them."""
    place = Place(
        config["entry"],
        IPv4Address(config["frontend"]),
        tuple(Target(**target) for target in config["targets"]),
        tuple(IPv4Address(address) for address in config["private"]),
    )
    settings = dict(config["policy"])
    return place, Policy(
        OnUnhealthy(settings.pop("on_unhealthy")), OnUnknown(settings.pop("on_unknown")), **settings
    )


def _run(argv: Sequence[str], stdin: str) -> None:
    subprocess.run(argv, input=stdin, text=True, check=True)
