"""Contests under load: throughput, round trips, new connections, many connections at work."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from bench.harness import Contenders, Contest, Figure, Reading, Settings
from bench.worlds import BenchLab, BestProxy, BigBufferProxy, SplicingProxy, lab
from emulator.lab.deployment import DEVICES
from emulator.lab.wait import wait_until
from netns.build import build
from netns.execute import run, spawn
from netns.plan import SetOffload

SCAPY = Path(__file__).parent / "peers" / "scapy_nat.py"
ABREAST = 32
INTERACTIVE = 500
STANDARD: dict[str, object] = {"type": "standard"}
FAST: dict[str, object] = {"type": "fastL4"}
ACCELERATED = {**FAST, "pva_acceleration": "full"}

Opener = Callable[[], contextlib.AbstractContextManager[BenchLab]]


@contextlib.contextmanager
def together(openers: dict[str, Opener]) -> Iterator[dict[str, BenchLab]]:
    """All labs up, started side by side."""
    with contextlib.ExitStack() as stack, ThreadPoolExecutor(2) as pool:
        managers = {name: opener() for name, opener in openers.items()}
        begun = {name: pool.submit(manager.__enter__) for name, manager in managers.items()}
        labs, errors = {}, []
        for name, future in begun.items():
            try:
                labs[name] = future.result()
                stack.push(managers[name].__exit__)
            except Exception as error:
                errors.append(error)
        if errors:
            raise errors[0]
        yield labs


def loads(labs: dict[str, BenchLab], what: str, *numbers: float) -> Contenders:
    """The same load for each."""

    def one(made: BenchLab) -> Callable[[], Reading]:
        def measure() -> Reading:
            reading = made.mirrored(lambda: made.load(what, *numbers))
            made.check_queues()
            return reading

        return measure

    return {name: one(made) for name, made in labs.items()}


NAT: Opener = lambda: lab(FAST, data_plane="conntrackd")  # noqa: E731
PROXIES: dict[str, Opener] = {
    "HAProxy": lambda: lab(STANDARD, BestProxy, data_plane="haproxy"),
    "HAProxy, splice": lambda: lab(STANDARD, SplicingProxy, data_plane="haproxy"),
    "HAProxy, 64 KiB buffers": lambda: lab(STANDARD, BigBufferProxy, data_plane="haproxy"),
}
SEEN_OR_NOT: dict[str, Opener] = {
    "seen": lambda: lab(FAST),
    "accelerated": lambda: lab(ACCELERATED),
    "kernel NAT": NAT,
}


def _mirrored(commit: str) -> dict[str, object]:
    return {**STANDARD, "mirroring": True, "commit": commit}


STANDARDS: dict[str, Opener] = {
    "unmirrored": lambda: lab(STANDARD),
    "async": lambda: lab(_mirrored("async")),
    "sync": lambda: lab(_mirrored("sync")),
}


def _simple(openers: dict[str, Opener], what: str, *numbers: float) -> Callable[
    [Settings], contextlib.AbstractContextManager[Contenders]
]:  # fmt: skip
    @contextlib.contextmanager
    def opened(settings: Settings) -> Iterator[Contenders]:
        with together(openers) as labs:
            yield loads(labs, what, settings.seconds, *numbers)

    return opened


@contextlib.contextmanager
def _scapy() -> Iterator[BenchLab]:
    """A lab of the kernel's NAT, with scapy in the kernel's place in its active device."""
    with NAT() as made:
        namespace = made.world.namespace(DEVICES[0])
        server = made.scenario.virtual_server
        member = str(made.world.interface(server.pool[0], "eth0").address)
        run(namespace, ["nft", "delete table ip peer"])
        # What it rewrites comes from addresses of this device's, before it is routed.
        run(namespace, ["sysctl", "-qw", "net.ipv4.conf.all.accept_local=1"])
        # scapy writes segments of its own: none may be larger than a link carries.
        for interface in made.world.interfaces:
            near, far = (made.world.namespace(n) for n in (interface.node, interface.uplink))
            ends = ((near, interface.name), (far, interface.router_name))
            build([SetOffload(namespace, name, False) for namespace, name in ends])
        queue = ["-p", "tcp", "-j", "NFQUEUE", "--queue-num", "7"]
        for name in ("ext", "int"):
            run(namespace, ["iptables", "-t", "mangle", "-A", "PREROUTING", "-i", name, *queue])
        addresses = [str(server.destination), member, str(server.snat_pool[0])]
        process = spawn(namespace, [sys.executable, SCAPY, *addresses], log=2)
        try:
            wait_until("scapy's queue", lambda: _bound(namespace), timeout_s=60)
            yield made
        finally:
            process.kill()
            process.wait()


def _bound(namespace: str) -> bool:
    queues = run(namespace, ["cat", "/proc/self/net/netfilter/nfnetlink_queue"]).splitlines()
    return any(line.split()[0] == "7" for line in queues)


CONNECTIONS: dict[str, Opener] = {
    "mirrored": lambda: lab({**FAST, "mirroring": True}),
    "accelerated": lambda: lab({**ACCELERATED, "mirroring": True}),
    "NAT and conntrackd": lambda: lab({**FAST, "mirroring": True}, data_plane="conntrackd"),
}
SCAPY_OR_NOT: dict[str, Opener] = {"mirrored": CONNECTIONS["mirrored"], "scapy": _scapy}


CONTESTS = (
    Contest(
        "fastl4-bulk",
        (
            Figure(
                "fastL4 bulk, every header seen by Python", "seen", "mbit_s", ("kernel NAT",),
                0.75, at_least=True, unit="Mbit/s",
            ),
            Figure(
                "fastL4 bulk, pva-acceleration full", "accelerated", "mbit_s", ("kernel NAT",),
                0.95, at_least=True, unit="Mbit/s",
            ),
        ),
        _simple(SEEN_OR_NOT, "bulk"),
        lambda settings: 2 * settings.rounds,
    ),
    Contest(
        "fastl4-round-trip",
        (
            Figure(
                "fastL4 round trip, seen, p50", "seen", "p50_us", ("kernel NAT",), 1.6, unit="us"
            ),
            Figure("fastL4 round trip, seen, p99", "seen", "p99_us", ("kernel NAT",), unit="us"),
            Figure(
                "fastL4 round trip, accelerated, p50", "accelerated", "p50_us", ("kernel NAT",),
                1.05, unit="us",
            ),
            Figure(
                "fastL4 round trip, accelerated, p99", "accelerated", "p99_us", ("kernel NAT",),
                unit="us",
            ),
        ),
        _simple(SEEN_OR_NOT, "pingpong"),
        lambda settings: 2 * settings.rounds,
    ),
    Contest(
        "fastl4-connections",
        (
            Figure(
                "fastL4 new mirrored connections", "mirrored", "per_s", ("NAT and conntrackd",),
                0.8, at_least=True, unit="/s",
            ),
            Figure(
                "the same, pva-acceleration full", "accelerated", "per_s", ("NAT and conntrackd",),
                at_least=True, unit="/s",
            ),
        ),
        _simple(CONNECTIONS, "connect", ABREAST),
    ),
    Contest(
        "fastl4-scapy",
        (
            Figure(
                "the same, against scapy on NFQUEUE", "mirrored", "per_s", ("scapy",), 5,
                at_least=True, unit="/s",
            ),
        ),
        _simple(SCAPY_OR_NOT, "connect", ABREAST),
    ),
    Contest(
        "standard-bulk",
        tuple(
            Figure(
                f"standard bulk, {ours}", ours, "mbit_s", tuple(PROXIES), goal, at_least=True,
                unit="Mbit/s",
            )
            for ours, goal in (("unmirrored", 1.3), ("async", 0.7), ("sync", 0.6))
        ),
        _simple(STANDARDS | PROXIES, "bulk"),
    ),
    Contest(
        "standard-interactive",
        tuple(
            Figure(
                f"standard, {INTERACTIVE} interactive connections, {ours}", ours, "requests_s",
                ("HAProxy",), goal, at_least=True, unit="/s",
            )
            for ours, goal in (("unmirrored", 0.7), ("async", None), ("sync", 0.4))
        ),
        _simple(
            STANDARDS | {"HAProxy": PROXIES["HAProxy"]}, "interactive", INTERACTIVE
        ),
    ),
)  # fmt: skip
