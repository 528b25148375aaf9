"""The data plane's log: JSON lines on the wall clock."""

from __future__ import annotations

import json
import time
from pathlib import Path

from netns.cloud.packets import TCP, Packet


class Log:
    """Appends to one file; every line names the fabric as its node."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("a", buffering=1)

    def write(self, what: str, **details: object) -> None:
        line = {"time": round(time.time(), 6), "node": "fabric", "what": what, **details}
        self._file.write(json.dumps(line) + "\n")


def describe(packet: Packet) -> dict[str, object]:
    """The packet's addresses, as the log has them."""
    found: dict[str, object] = {
        "source": f"{packet.source}:{packet.source_port}",
        "destination": f"{packet.destination}:{packet.destination_port}",
    }
    if packet.protocol == TCP:
        found |= {"seq": packet.seq, "ack": packet.ack}
    return found
