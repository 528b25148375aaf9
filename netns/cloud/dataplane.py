"""The fabric's data plane where routes are not enough.

`python -m netns.cloud.dataplane CONFIG LOG` runs in the router's namespace, only where a
scenario has something for it to do. Every packet that crosses a filtered interface is queued
here and judged by `cloud.filters`; what a load balancer is in front of goes through
`cloud.spreader`. The kernel's own connection tracking would not do: it
gives a packet one entry, and in a cloud a packet meets two tables, its sender's and its
receiver's.

LOG gets JSON lines, beside the control plane's: "dataplane-started", and for each packet
that is taken "dropped" with the counter's name and the packet's addresses.
"""

from __future__ import annotations

import json
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
from netns.cloud.packets import Packet, parse
from netns.cloud.queue import Queue
from netns.cloud.spreader import Spreader, read
from netns.cloud.writing import Log, describe

FILTER_QUEUE = 20
_POLL_S = 0.5


class Filters:
    """The filters of every interface, fed by one queue in FORWARD."""

    def __init__(self, filters: Mapping[str, Sequence[Filter]], log: Log) -> None:
        """`filters`: those of each of the router's interfaces, by its name."""
        self._filters, self._log = filters, log
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
        taken = self._judge(packet, *names)
        if taken is None:
            queued.accept()
            return
        queued.drop()
        self._log.write("dropped", **taken, packets=1, **describe(packet))

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
    queues = [Filters(filters, log).queue]
    rules = Filters.rules(sorted(filters))
    tick: Callable[[], float] = lambda: _POLL_S  # noqa: E731
    if config["balancer"] is not None:
        spreader = Spreader(*read(config["balancer"]), log)
        queues.append(spreader.queue)
        rules += spreader.rules()
        tick = spreader.tick
    install(rules)
    log.write("dataplane-started")
    serve(queues, tick, lambda: bool(stop))
    return 0


if __name__ == "__main__":
    sys.exit(main())
