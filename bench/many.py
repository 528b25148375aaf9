"""Many connections, mirrored, one power-off: `python -m bench.many [--fastL4 N] [--standard N]`.

Each connection sends a message of its own before the failover and another after it, and gets
it back byte by byte from an echo server: see bench/README.md.
"""

from __future__ import annotations

import argparse
import os
import random
import resource
import selectors
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from bench.takeover import ECHO, PORT, effective, held, resident_kib, restore_s, scenario
from emulator.lab.deployment import DEVICES
from emulator.lab.faults import trigger
from emulator.lab.instance import Lab
from emulator.lab.interrupts import unwind_on_signals
from emulator.lab.settings.scenario import How, Scenario
from emulator.lab.wait import LabFault, wait_until
from emulator.lab.workload.services import listening
from netns.build import BuildError
from netns.execute import NamespaceError, call_in, spawn

AT_A_TIME = 64
OCTETS = 512  # of a message
PATIENCE_S = 120.0  # a connection that has said nothing for so long is lost
MIRROR_S = 120.0


def message(number: int, when: str) -> bytes:
    """What connection `number` says; no two are alike."""
    return random.Random(f"{when} {number}").randbytes(OCTETS)


def patient(kind: str) -> Scenario:
    """A pair with the heartbeat timeout a BIG-IP has, 3 s."""
    quick = scenario(kind)
    devices = quick.devices.model_copy(update={"failover_timeout_s": 3.0})
    return quick.model_copy(update={"devices": devices})


class Load:
    """One world with `count` connections in it."""

    def __init__(self, kind: str, count: int, folder: Path) -> None:
        self._kind, self._count, self._folder = kind, count, folder
        self._lab = Lab(f"l{random.SystemRandom().randrange(1 << 24):06x}", patient(kind), folder)
        self._connections: list[socket.socket] = []
        self.found: Counter[str] = Counter()

    def run(self) -> str:
        """The row of the table; raises LabFault, BuildError, NamespaceError, OSError."""
        lab = self._lab
        echo: subprocess.Popen[bytes] | None = None
        try:
            lab.create()
            lab.start()
            lab.wait_control_plane()
            backend = lab.world.namespace("backend-1")
            address = str(lab.world.interface("backend-1", "eth0").address)
            argv = [sys.executable, "-c", ECHO, address, str(PORT)]
            echo = spawn(backend, argv, log=subprocess.DEVNULL)
            wait_until(
                "the server", lambda: call_in(backend, lambda: listening({PORT})), timeout_s=30
            )
            return self._measure()
        finally:
            for connection in self._connections:
                connection.close()
            lab.destroy()
            if echo is not None:
                echo.wait()

    def _measure(self) -> str:
        lab, count = self._lab, self._count
        empty_kib = resident_kib(lab, DEVICES[1])
        began = time.monotonic()
        call_in(lab.world.namespace("client"), self._open)
        self._talk("before")
        open_s = time.monotonic() - began
        try:
            wait_until("the standby's flows", lambda: held(lab) >= count, timeout_s=MIRROR_S)
        except LabFault:
            text = f"the standby holds {held(lab)} flows of {count}"
            raise LabFault(f"{text}, {self.found['lost']} connections are lost") from None
        full_kib = resident_kib(lab, DEVICES[1])
        trigger(lab, DEVICES[0], How.POWER_OFF)
        wait_until("the routes to move", lambda: effective(lab) is not None, timeout_s=MIRROR_S)
        self._talk("after")
        back_s = time.time() - float(effective(lab) or 0)
        each_kib = (full_kib - empty_kib) / count
        return (
            f"{self._kind:<9} {count:>11} {open_s:>7.1f} s {restore_s(self._folder):>8.2f} s "
            f"{back_s:>8.2f} s {full_kib / 1024:>7.1f} MiB {each_kib:>6.1f} KiB "
            f"{self.found['octets']:>11} {self.found['wrong octets']:>6} {self.found['lost']:>5}"
        )

    def _open(self) -> None:
        """Some at a time: each waits for the device, which waits for the standby."""
        address = (str(self._lab.scenario.virtual_server.destination), PORT)
        with selectors.DefaultSelector() as opening:
            while len(self._connections) < self._count or opening.get_map():
                while len(opening.get_map()) < AT_A_TIME and len(self._connections) < self._count:
                    connection = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
                    connection.setblocking(False)
                    connection.connect_ex(address)
                    self._connections.append(connection)
                    opening.register(connection, selectors.EVENT_WRITE)
                events = opening.select(PATIENCE_S)
                if not events:
                    raise LabFault(f"{len(opening.get_map())} connections do not open")
                for key, _ in events:
                    opening.unregister(key.fileobj)
                    connection = key.fileobj  # type: ignore[assignment]
                    if error := connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                        raise OSError(error, os.strerror(error))
                    connection.settimeout(PATIENCE_S)

    def _talk(self, when: str) -> None:
        """Every connection says its message; what comes back is compared byte by byte."""
        got: dict[int, bytearray] = {}
        with selectors.DefaultSelector() as ready:
            for number, connection in enumerate(self._connections):
                try:
                    connection.sendall(message(number, when))
                except OSError:
                    self.found["lost"] += 1
                    continue
                got[number] = bytearray()
                ready.register(connection, selectors.EVENT_READ, number)
            while ready.get_map():
                events = ready.select(PATIENCE_S)
                if not events:
                    break
                for key, _ in events:
                    if not self._read(key.fileobj, got[key.data]):  # type: ignore[arg-type]
                        ready.unregister(key.fileobj)
        for number, data in got.items():
            due = message(number, when)
            self.found["octets"] += len(data)
            self.found["lost"] += len(data) < len(due)
            self.found["wrong octets"] += sum(a != b for a, b in zip(data, due, strict=False))

    @staticmethod
    def _read(connection: socket.socket, into: bytearray) -> bool:
        """Whether more is due."""
        try:
            data = connection.recv(OCTETS)
        except OSError:
            return False
        into += data
        return bool(data) and len(into) < OCTETS


def main() -> int:
    """Exit 1 when a connection was lost or a byte wrong, 4 on a lab fault."""
    parser = argparse.ArgumentParser(description="many connections, one failover")
    parser.add_argument("--fastL4", type=int, default=10_000, metavar="N")
    parser.add_argument("--standard", type=int, default=2_000, metavar="N")
    options = parser.parse_args()
    unwind_on_signals()
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    print(
        "kind      connections     opened    restore   all back  standby mem      each"
        "  bytes back  wrong  lost"
    )
    bad = 0
    for kind, count in (("fastL4", options.fastL4), ("standard", options.standard)):
        if not count:
            continue
        with tempfile.TemporaryDirectory(prefix="mirrorlab-bench-") as folder:
            load = Load(kind, count, Path(folder))
            try:
                print(load.run(), flush=True)
            except (LabFault, BuildError, NamespaceError, OSError) as error:
                print(f"lab fault: {error}", file=sys.stderr)
                return 4
            bad += load.found["wrong octets"] + load.found["lost"]
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
