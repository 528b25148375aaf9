"""Capturing in a running lab: frames of several interfaces as one pcapng stream, as they pass.

The stream goes to a file descriptor, block by block, so that a reader at the other end of a pipe
sees it live and a cut leaves whole blocks. Frames are held back for a moment and put in order of
time: they come from several sockets.
"""

from __future__ import annotations

import os
import re
import select
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from operator import itemgetter

from emulator import __version__
from emulator.kernel.sniffer import Sniffer, compile_filter
from emulator.lab.annotate import names_in
from emulator.lab.capture import Point, points_of
from emulator.lab.instance import Lab
from emulator.wire import pcapng
from netns.execute import RUN_NETNS, call_in
from netns.topology import ROUTER, World

_HOLD_NS = 20_000_000
_LOOK_S = 0.5  # how often to see whether the lab is still there
_BATCH = 512  # frames of one socket at a time
_WORD = re.compile(r"[A-Za-z][\w.-]*")


class UnknownPoint(ValueError):
    """There is no such node or interface; the text says which there are."""


@dataclass(frozen=True, slots=True)
class Ended:
    """How a capture came to its end: "asked", "reader" (gone), or "lab" (down)."""

    why: str
    frames: int
    lost: int


def choose(world: World, wanted: Sequence[str]) -> list[Point]:
    """The capture points of NODE or NODE:IF words, each once; raises UnknownPoint."""
    chosen: dict[Point, None] = {}
    for word in wanted:
        node, _, interface = word.partition(":")
        if node not in world.nodes:
            raise UnknownPoint(f"no node {node!r}; there are: {', '.join(world.nodes)}")
        there = points_of(world, node)
        found = [p for p in there if p.interface == interface or interface == ""]
        if not found or word.endswith(":"):
            have = ", ".join(p.interface for p in there)
            raise UnknownPoint(f"{node} has no interface {interface!r}; it has: {have}")
        chosen |= dict.fromkeys(found)
    return list(chosen)


def filter_program(lab: Lab, expression: str) -> bytes:
    """A capture filter, in which the lab's own names ("vip", "bigip-a-ext") stand for their
    addresses; raises FilterError. Other names are looked up in the sealed world: not found."""
    known = {n: str(a) for a, called in names_in(lab.world, lab.scenario).items() for n in called}
    text = _WORD.sub(lambda word: known.get(word[0], word[0]), expression)
    return call_in(lab.world.namespace(ROUTER), lambda: compile_filter(text))


def stream(
    lab: Lab,
    points: Sequence[Point],
    out: int,
    *,
    program: bytes | None = None,
    ready: Callable[[], None] = lambda: None,
    stop: Callable[[], bool] = lambda: False,
) -> Ended:
    """Write frames to `out` until `stop` says so, the reader goes or the lab does.

    `ready` is called once nothing that passes is missed any more. Raises OSError when `out`
    cannot be written to, NamespaceError when the lab is not there.
    """
    with ExitStack() as stack:
        since = {n: _identity(n) for n in (lab.world.namespace(p.node) for p in points)}
        sniffers = []
        for point in points:
            made = call_in(
                lab.world.namespace(point.node), partial(Sniffer, point.interface, program)
            )
            stack.callback(made.close)
            sniffers.append(made)
        ready()
        alive = partial(_are_there, since)
        return _Stream(sniffers, out, alive).run(_head(lab, points), stop)


def _head(lab: Lab, points: Sequence[Point]) -> bytes:
    what = f"mirrorlab {__version__}, live capture of lab {lab.id}, scenario {lab.scenario.name}"
    blocks = [pcapng.section("mirrorlab", what), pcapng.names(names_in(lab.world, lab.scenario))]
    blocks += [pcapng.interface(p.name, p.description) for p in points]
    return b"".join(blocks)


class _Stream:
    """The sockets, and what of their frames is still held back."""

    def __init__(self, sniffers: Sequence[Sniffer], out: int, alive: Callable[[], bool]) -> None:
        self._sniffers, self._out, self._alive = sniffers, out, alive
        self._held: list[tuple[int, bytes]] = []  # time, block
        self._frames = self._lost = 0

    def run(self, head: bytes, stop: Callable[[], bool]) -> Ended:
        try:
            self._write(head)
            why = self._follow(stop)
            self._emit(until_ns=None)
        except BrokenPipeError:
            why = "reader"
        self._lost += sum(sniffer.lost() for sniffer in self._sniffers)
        return Ended(why, self._frames, self._lost)

    def _follow(self, stop: Callable[[], bool]) -> str:
        poller = select.poll()
        for sniffer in self._sniffers:
            poller.register(sniffer, select.POLLIN)
        poller.register(self._out, 0)  # only tells that the reader has gone
        looked = time.monotonic()
        while not stop():
            wait_ms = _HOLD_NS // 1_000_000 if self._held else int(_LOOK_S * 1000)
            ready = dict(poller.poll(wait_ms))
            if ready.get(self._out, 0) & (select.POLLERR | select.POLLHUP):
                return "reader"
            self._take(ready)
            self._emit(until_ns=time.time_ns() - _HOLD_NS)
            if time.monotonic() - looked >= _LOOK_S:
                looked = time.monotonic()
                if not self._alive():
                    return "lab"
        self._take({sniffer.fileno(): 0 for sniffer in self._sniffers})
        return "asked"

    def _take(self, ready: dict[int, int]) -> None:
        for index, sniffer in enumerate(self._sniffers):
            if sniffer.fileno() not in ready:
                continue
            for _ in range(_BATCH):
                frame = sniffer.read()
                if frame is None:
                    break
                block = pcapng.packet(
                    index, frame.time_ns, frame.data, len(frame.data), outgoing=frame.outgoing
                )
                self._held.append((frame.time_ns, block))

    def _emit(self, *, until_ns: int | None) -> None:
        if not self._held:
            return
        self._held.sort(key=itemgetter(0))
        count = len(self._held)
        if until_ns is not None:
            count = sum(1 for at, _ in self._held if at <= until_ns)
        self._write(b"".join(block for _, block in self._held[:count]))
        del self._held[:count]
        self._frames += count

    def _write(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[os.write(self._out, view) :]


def _are_there(since: Mapping[str, int]) -> bool:
    return all(_identity(namespace) == inode for namespace, inode in since.items())


def _identity(namespace: str) -> int:
    """What tells this namespace from a later one of the same name; 0 when there is none. Ours
    is not used again: the sockets keep it alive."""
    try:
        return (RUN_NETNS / namespace).stat().st_ino
    except OSError:
        return 0
