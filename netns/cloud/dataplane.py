"""The fabric's data plane where routes are not enough.

`python -m netns.cloud.dataplane CONFIG LOG` runs in the router's namespace, only where a
scenario has something for it to do. Every packet that crosses an interface with a filter or a
link of its own is queued here, judged by `cloud.filters`, and held for as long as its links
take; what a load balancer is in front of goes through `cloud.spreader`. The kernel's own
connection tracking would not do: it gives a packet one entry, and in a cloud a packet meets
two tables, its sender's and its receiver's.

LOG gets JSON lines, beside the control plane's: "dataplane-started", and for each packet
that is taken "dropped" with the counter's name and the packet's addresses.
"""

from __future__ import annotations

import heapq
import json
import random
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

from netfilterqueue import Packet as Queued

from netns.cloud.filters import Filter, LostState, Policy, Rule, Way
from netns.cloud.links import Line, Quality
from netns.cloud.packets import Packet, parse
from netns.cloud.queue import Queue
from netns.cloud.spreader import Spreader, read
from netns.cloud.writing import Log, describe

FILTER_QUEUE = 20
SEED = 1  # of what links lose and by how much they jitter: a run can be repeated
_POLL_S = 0.5


class Crossing:
    """What happens to packets on their way through the router, fed by one queue in FORWARD: the
    filters of both interfaces, then the links'."""

    def __init__(
        self, filters: Mapping[str, Sequence[Filter]], links: Mapping[str, Quality], log: Log
    ) -> None:
        """`filters`, `links`: by the names of the router's interfaces."""
        self._filters, self._log = filters, log
        self._lines = {(name, way): Line(q) for name, q in links.items() for way in Way}
        self._chance = random.Random(SEED)
        self._held: list[tuple[float, int, Queued]] = []
        self._count = 0
        self._names = dict(socket.if_nameindex())
        self.queue = Queue(FILTER_QUEUE, self._on_packet)

    @staticmethod
    def rules(interfaces: Sequence[str]) -> list[str]:
        """As iptables-restore reads them, for the mangle table."""
        return [
            f"-A FORWARD {option} {name} -j NFQUEUE --queue-num {FILTER_QUEUE}"
            for name in interfaces
            for option in ("-i", "-o")
        ]

    def _on_packet(self, queued: Queued) -> None:
        try:
            packet = parse(queued.get_payload())
        except ValueError as error:
            self._log.write("malformed", reason=str(error))
            queued.drop()
            return
        names = (self._names.get(queued.indev, ""), self._names.get(queued.outdev, ""))
        taken, now = self._judge(packet, *names), time.monotonic()
        due = now
        if taken is None and self._lines:
            taken, due = self._carry(now, *names)
        if taken is not None:
            queued.drop()
            self._log.write("dropped", **taken, packets=1, **describe(packet))
        elif due <= now:
            queued.accept()
        else:
            queued.retain()
            self._count += 1
            heapq.heappush(self._held, (due, self._count, queued))

    def tick(self) -> float:
        """Let go what is due; returns in how many seconds to call again."""
        while self._held and self._held[0][0] <= time.monotonic():
            heapq.heappop(self._held)[2].accept()
        return self._held[0][0] - time.monotonic() if self._held else _POLL_S

    def _carry(
        self, now: float, entered: str, leaves: str
    ) -> tuple[dict[str, object] | None, float]:
        """When the packet is through both links, or by which counter it is lost."""
        due = now
        for place in ((entered, Way.EGRESS), (leaves, Way.INGRESS)):
            if (line := self._lines.get(place)) is not None:
                through = line.carry(due, self._chance.random(), self._chance.random())
                if through is None:
                    return {"counter": f"link-loss/{place[0]}"}, due
                due = through
        return None, due

    def _judge(self, packet: Packet, entered: str, leaves: str) -> dict[str, object] | None:
        """What leaves a node is its egress, what is on its way to one that node's ingress. None:
        it passes; else by which counter, and whose interface it is."""
        now = time.monotonic()
        for interface, way in ((entered, Way.EGRESS), (leaves, Way.INGRESS)):
            for filter_ in self._filters.get(interface, ()):
                kind = filter_.judge(packet, way, now)
                if kind is not None:
                    return {"counter": f"{kind}/{interface}", "owner": filter_.owner}
        return None


def read_filters(settings: Sequence[Mapping[str, Any]]) -> dict[str, list[Filter]]:
    """The filters as the configuration has them."""
    found: dict[str, list[Filter]] = {}
    for one in settings:
        policy = Policy(
            one["kind"],
            tuple(_rule(r) for r in one["ingress"]),
            tuple(_rule(r) for r in one["egress"]),
            one["idle_timeout_s"],
            LostState(one["lost_state"]),
            one.get("always_track", False),
        )
        found.setdefault(one["interface"], []).append(Filter(policy, one["owner"]))
    return found


def _rule(plain: Mapping[str, Any]) -> Rule:
    first, last = plain["ports"]
    return Rule(plain["protocol"], IPv4Network(plain["network"]), (first, last))


def install(rules: Sequence[str]) -> None:
    """The queue rules, in the mangle table; raises CalledProcessError."""
    text = "\n".join(["*mangle", *rules, "COMMIT", ""])
    subprocess.run(["iptables-restore", "--noflush"], input=text, text=True, check=True)


def serve(queues: Sequence[Queue], tick: Callable[[], float], stopping: Callable[[], bool]) -> None:
    """Until told to stop. `tick` does what is due and says in how many seconds to call again."""
    with selectors.DefaultSelector() as selector:
        for queue in queues:
            selector.register(queue, selectors.EVENT_READ, queue.process)
        while not stopping():
            for key, _ in selector.select(min(_POLL_S, max(0.0, tick()))):
                key.data()


def main() -> int:
    """Exit 0 after SIGTERM."""
    if len(sys.argv) != 3:
        print(__doc__, file=sys.stderr)
        return 2
    config = json.loads(Path(sys.argv[1]).read_text())
    log = Log(Path(sys.argv[2]))
    stop: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: stop.append(number))
    filters = read_filters(config["filters"])
    links = {name: Quality(**quality) for name, quality in config["links"].items()}
    crossing = Crossing(filters, links, log)
    queues = [crossing.queue]
    rules = Crossing.rules(sorted({*filters, *links}))
    ticks = [crossing.tick]
    if config["balancer"] is not None:
        spreader = Spreader(*read(config["balancer"]), log)
        queues.append(spreader.queue)
        rules += spreader.rules()
        ticks.append(spreader.tick)
    install(rules)
    log.write("dataplane-started")
    serve(queues, lambda: min(tick() for tick in ticks), lambda: bool(stop))
    return 0


if __name__ == "__main__":
    sys.exit(main())
