"""Carries out a plan, and takes worlds down again.

Owns the namespaces named "ml-<lab>-<node>" and nothing else: whatever is found inside them
is the lab's, whatever is outside is not touched.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import re
import signal
import socket
import struct
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator
from fcntl import ioctl
from pathlib import Path

from pyroute2 import IPRoute, netns
from pyroute2.netlink.exceptions import NetlinkError

from netns.execute import RUN_NETNS, call_in, run
from netns.plan import (
    AddAddress,
    AddBridge,
    AddLink,
    AddNamespace,
    AddNeighbour,
    AddRoute,
    AddRule,
    ApplyNft,
    JoinBridge,
    SetOffload,
    SetSysctl,
    Step,
)
from netns.topology import NAMESPACE_PREFIX

_SIOCETHTOOL = 0x8946
_SET_TX_CHECKSUM, _SET_TSO, _SET_GSO, _SET_GRO = 0x17, 0x1F, 0x24, 0x2C
_OWNED = re.compile(rf"{NAMESPACE_PREFIX}-([a-z0-9][a-z0-9_]*)-(.+)")
_RULE_PRIORITY = 1000
KILL_DEADLINE_S = 10.0

NetlinkStep = AddLink | AddAddress | AddNeighbour | AddRoute | AddRule | AddBridge | JoinBridge


class BuildError(RuntimeError):
    """A step failed; the text names the step and the kernel's reason."""


class Routes:
    """A typed face on pyroute2 for one namespace. Not to be shared between threads."""

    def __init__(self, namespace: str) -> None:
        """Raises BuildError when the namespace does not exist."""
        try:
            # flags=0: the default would create a namespace from a mistyped name.
            self._ip = IPRoute(netns=namespace, flags=0)
        except OSError as error:
            raise BuildError(f"namespace {namespace}: {error.strerror}") from error
        self._index: dict[str, int] = {}

    def apply(self, step: NetlinkStep) -> None:
        """Carry out one step; raises BuildError."""
        try:
            self._apply(step)
        except (NetlinkError, OSError) as error:
            reason = error.args[-1] if error.args else error
            raise BuildError(f"{step}: {reason}") from error

    def _apply(self, step: NetlinkStep) -> None:
        match step:
            case AddLink():
                self._add_link(step)
            case AddAddress(_, name, address):
                self._ip.addr(
                    "add", index=self.index(name), address=str(address.ip),
                    prefixlen=address.network.prefixlen,
                )  # fmt: skip
            case AddNeighbour(_, name, address, mac):
                self._ip.neigh(
                    "replace", dst=str(address), lladdr=mac, ifindex=self.index(name),
                    state="permanent",
                )  # fmt: skip
            case AddRoute(_, destination, name, via, table):
                route = {"dst": str(destination), "table": table}
                if not name:
                    self._ip.route("replace", type="blackhole", **route)
                    return
                route["oif"] = self.index(name)
                if via is None:
                    self._ip.route("replace", scope="link", **route)
                else:
                    self._ip.route("replace", gateway=str(via), flags="onlink", **route)
            case AddRule(_, name, table):
                self._ip.rule("add", iifname=name, table=table, priority=_RULE_PRIORITY)
            case AddBridge(_, name):
                self._ip.link("add", ifname=name, kind="bridge")
                self.set_link(name, up=True)
            case JoinBridge(_, name, bridge):
                self._ip.link("set", index=self.index(name), master=self.index(bridge))

    def index(self, name: str) -> int:
        """The interface's index; raises BuildError."""
        if name not in self._index:
            found = self._ip.link_lookup(ifname=name)
            if not found:
                raise BuildError(f"no interface {name}")
            self._index[name] = found[0]
        return self._index[name]

    def set_link(self, name: str, *, up: bool) -> None:
        """Switch an interface on or off."""
        self._ip.link("set", index=self.index(name), state="up" if up else "down")

    def close(self) -> None:
        self._ip.close()

    def _add_link(self, step: AddLink) -> None:
        peer = {"ifname": step.peer_name, "net_ns_fd": step.peer_namespace}
        peer["address"] = step.peer_mac
        self._ip.link("add", ifname=step.name, kind="veth", address=step.mac, peer=peer)
        self.set_link(step.name, up=True)


def build(steps: Iterable[Step]) -> None:
    """Carry out a plan; raises BuildError, leaving what was built to the caller's `destroy`."""
    handles: dict[str, Routes] = {}
    try:
        for namespace, batch in _batches(steps):
            _run_batch(namespace, batch, handles)
    finally:
        for handle in handles.values():
            handle.close()


def _batches(steps: Iterable[Step]) -> Iterator[tuple[str, list[Step]]]:
    """Neighbouring steps of one namespace and kind together: entering it once is enough."""
    batch: list[Step] = []
    for step in steps:
        if batch and (step.namespace, type(step)) != (batch[-1].namespace, type(batch[-1])):
            yield batch[0].namespace, batch
            batch = []
        batch.append(step)
    if batch:
        yield batch[0].namespace, batch


def _run_batch(namespace: str, batch: list[Step], handles: dict[str, Routes]) -> None:
    match batch[0]:
        case AddNamespace():
            _create(namespace)
        case SetSysctl() | SetOffload():
            call_in(namespace, lambda: _set_all(batch))
        case ApplyNft():
            for step in batch:
                assert isinstance(step, ApplyNft)
                run(namespace, ["nft", "-f", "-"], stdin=step.ruleset)
        case _:
            if namespace not in handles:
                handles[namespace] = Routes(namespace)
            routes = handles[namespace]
            for step in batch:
                assert isinstance(step, NetlinkStep)
                routes.apply(step)
                if isinstance(step, AddLink):
                    call_in(step.peer_namespace, lambda s=step: _up(s.peer_name))  # type: ignore[misc]


def _create(namespace: str) -> None:
    try:
        netns.create(namespace)
    except OSError as error:
        if error.errno == errno.EEXIST:
            raise BuildError(f"namespace {namespace} exists already") from error
        raise BuildError(f"namespace {namespace}: {error.strerror}") from error
    call_in(namespace, lambda: _up("lo"))


def _up(name: str) -> None:
    """IFF_UP by ioctl, in the calling thread's namespace."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as handle:
        request = struct.pack("16sh14x", name.encode(), 0)
        flags = struct.unpack_from("h", ioctl(handle, 0x8913, request), 16)[0]
        ioctl(handle, 0x8914, struct.pack("16sh14x", name.encode(), flags | 1))


def _set_all(batch: list[Step]) -> None:
    for step in batch:
        _set(step)


def _set(step: Step) -> None:
    """A sysctl or an offload, in the calling thread's namespace."""
    if isinstance(step, SetSysctl):
        path = Path("/proc/sys") / step.key.replace(".", "/")
        try:
            path.write_text(step.value)
        except OSError as error:
            raise BuildError(f"{step}: {error.strerror}") from error
    elif isinstance(step, SetOffload):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as handle:
            for command in (_SET_TX_CHECKSUM, _SET_TSO, _SET_GSO, _SET_GRO):
                _ethtool(handle, step, command)


def _ethtool(handle: socket.socket, step: SetOffload, command: int) -> None:
    value = ctypes.create_string_buffer(struct.pack("II", command, int(step.on)), 8)
    request = struct.pack("16sP", step.name.encode(), ctypes.addressof(value))
    try:
        ioctl(handle, _SIOCETHTOOL, request)
    except OSError as error:
        raise BuildError(f"{step}: {error.strerror}") from error


def labs() -> dict[str, list[str]]:
    """Every lab on this host and its namespaces."""
    found: dict[str, list[str]] = defaultdict(list)
    if RUN_NETNS.is_dir():
        for path in sorted(RUN_NETNS.iterdir()):
            if match := _OWNED.fullmatch(path.name):
                found[match[1]].append(path.name)
    return dict(found)


def destroy(namespaces: Iterable[str]) -> None:
    """Kill everything inside the namespaces, then remove them. Idempotent.

    A process may be on its way into one while we look, so they are looked at once more when no
    name leads there any longer; held open till then, or a namespace of somebody else's could
    get the number of one of ours. Raises BuildError when a process outlives SIGKILL for
    KILL_DEADLINE_S.
    """
    names = [name for name in namespaces if (RUN_NETNS / name).exists()]
    with contextlib.ExitStack() as held:
        inside = set()
        for name in names:
            with contextlib.suppress(OSError):
                handle = held.enter_context((RUN_NETNS / name).open())
                inside.add(_identity(os.fstat(handle.fileno())))
        _kill_all(inside, names)
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                netns.remove(name)
        _kill_all(inside, names)


def _kill_all(inside: set[tuple[int, int]], names: list[str]) -> None:
    deadline = time.monotonic() + KILL_DEADLINE_S
    while pids := _processes(inside, names):
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if time.monotonic() > deadline:
            raise BuildError(f"processes {pids} of {names} do not die")
        time.sleep(0.01)


def processes(namespaces: Iterable[str]) -> list[int]:
    """The processes whose network namespace is one of these (zombies excepted), and those that
    `ip netns exec` is about to bring there."""
    names = list(namespaces)
    inside = set()
    for name in names:
        with contextlib.suppress(OSError):
            inside.add(_identity((RUN_NETNS / name).stat()))
    return _processes(inside, names)


def _processes(inside: set[tuple[int, int]], names: list[str]) -> list[int]:
    entering = {f"ip\0netns\0exec\0{name}\0".encode() for name in names}
    longest = max(map(len, entering), default=0)
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        with contextlib.suppress(OSError):
            if _identity((entry / "ns/net").stat()) in inside:
                found.append(int(entry.name))
                continue
            with (entry / "cmdline").open("rb") as words:
                start = words.read(longest)
            if start.startswith(b"ip\0") and any(map(start.startswith, entering)):
                found.append(int(entry.name))
    return found


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino
