"""Connections that outlive one failover after the other: the device that comes back is told of
those that were there before it (`remirror`), in whatever state they are.

One world, standard virtual server, `commit: sync`; the devices take turns in losing power.
"""

from __future__ import annotations

import secrets
import socket
import threading
from collections.abc import Iterator

import pytest

from emulator.lab.deployment import DEVICES
from emulator.lab.instance import Lab
from emulator.lab.settings.scenario import Scenario
from emulator.lab.wait import wait_until
from tests.e2e.test_states import BULK, Pair, receive

pytestmark = pytest.mark.e2e
ROUNDS = 3


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    scenario = Scenario.model_validate(
        {
            "title": "again", "sessions": ["echo"], "cloud": {"propagation_delay_s": 0.05},
            "virtual_server": {"type": "standard", "commit": "sync", "snat": "pool"},
            "devices": {"failover_timeout_s": 1.2},
        }
    )  # fmt: skip
    lab = Lab(f"r{secrets.token_hex(3)}", scenario, tmp_path_factory.mktemp("again"))
    try:
        lab.create()
        lab.start()
        made = Pair(lab)
        with made.listener, made.closing:
            yield made
    finally:
        lab.destroy()


def held(lab: Lab, flows: int) -> None:
    """Until the standby holds that many flows."""

    def enough() -> bool:
        return all(int(str(lab.status(d).get("mirrored_flows", 0))) >= flows for d in DEVICES)

    wait_until("the standby to hold every flow", enough, timeout_s=20)


class Flood:
    """One direction, as full as it gets, for as long as the test lasts."""

    def __init__(self, source: socket.socket, target: socket.socket) -> None:
        self.got = bytearray()
        self._writer = threading.Thread(target=lambda: source.sendall(BULK), daemon=True)
        self._target = target
        self._writer.start()

    def finish(self) -> None:
        while len(self.got) < len(BULK):
            self.got += receive(self._target, min(1 << 16, len(BULK) - len(self.got)))
        self._writer.join(20)


def test_every_connection_outlives_every_failover(pair: Pair) -> None:
    """Idle, half-closed, and full both ways with nobody reading, three power-offs long."""
    idle = pair.both()
    half = pair.both()
    half[0].shutdown(socket.SHUT_WR)
    assert half[1].recv(10) == b""
    full = pair.both()
    floods = [Flood(full[0], full[1]), Flood(full[1], full[0])]
    for number in range(ROUNDS):
        line = b"round %d" % number
        pair.power_off()
        idle[0].sendall(line)
        assert receive(idle[1], len(line)) == line
        half[1].sendall(line)
        assert receive(half[0], len(line)) == line
        for flood in floods:
            flood.got += receive(flood._target, 100_000)
        pair.revive()
        held(pair.lab, 3)
    pair.power_off()
    for flood in floods:
        flood.finish()
        assert flood.got == BULK
    half[1].shutdown(socket.SHUT_WR)
    assert half[0].recv(10) == b""
    idle[1].sendall(b"last words")
    assert receive(idle[0], 10) == b"last words"
