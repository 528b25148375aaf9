"""Proxied connections on a secured channel: filled anew after each failover, byte by byte."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable

import pytest

from emulator.lab.deployment import DEVICES
from emulator.lab.wait import wait_until
from emulator.lab.workload.applications import PORTS
from emulator.pytest_plugin import RunningLab

pytestmark = [pytest.mark.e2e, pytest.mark.long]
PIECE, MOST, PATIENCE_S = b"mirrored" * 8192, 8 << 20, 3.0
SCENARIO = {
    "world": "onprem",
    "sessions": ["echo"],
    "virtual_server": {
        "type": "standard", "commit": "sync", "snat": "pool", "snat_pool": ["10.88.0.10"],
    },
    # A busy host may keep a device from its processor for seconds: that shall not be a failover.
    "devices": {"statemirror_secure": True, "takeover_kick": True, "failover_timeout_s": 60},
}  # fmt: skip


@pytest.mark.timeout(600)
def test_full_queues_outlive_one_failover_after_the_other(
    lab: Callable[..., RunningLab], failover: Callable[..., str]
) -> None:
    pair = lab(SCENARIO)
    with (
        pair.connect(PORTS["echo"], timeout_s=60) as talk,
        pair.connect(PORTS["bulk"], timeout_s=60) as full,
    ):
        sent = fill(full)
        for _ in range(3):
            now = failover(pair)
            wait_until("the other one to hold both", lambda: held(pair, 2), timeout_s=60)
            talk.sendall(b"again")
            assert talk.recv(5) == b"again"
            assert str(pair.lab.status(now)["protection"]).startswith("TLSv1.3")
        assert refused(pair) == []
        full.settimeout(150)  # an end whose window was shut probes ever more rarely (RFC 9293)
        got = bytearray()
        while len(got) < len(sent):
            got += full.recv(1 << 18)
        assert got == sent


def fill(there: socket.socket) -> bytes:
    """Say as much as goes, to an echo that nobody reads; what was said."""
    there.settimeout(PATIENCE_S)
    said, deadline = bytearray(), time.monotonic() + 30
    while len(said) < MOST and time.monotonic() < deadline:
        try:
            said += PIECE[len(said) % len(PIECE) :][: there.send(PIECE[len(said) % len(PIECE) :])]
        except TimeoutError:
            break
    return bytes(said)


def held(pair: RunningLab, flows: int) -> bool:
    return all(int(str(pair.lab.status(d).get("mirrored_flows", 0))) >= flows for d in DEVICES)


def refused(pair: RunningLab) -> list[object]:
    journals = (line for device in DEVICES for line in pair.lab.journal(device))
    return [line for line in journals if line["what"] == "peer-refused"]
