"""What a change that takes effect does to the router: the data plane's side of the fabric.

One function per kind of change; the router's namespace is the caller's own.
"""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from ipaddress import IPv4Address

from netns.build import BuildError, Routes
from netns.cloud.fabric import (
    AssignPrivateAddress,
    AssociateAddress,
    Change,
    DisassociateAddress,
    ReplaceRoute,
    SetSourceDestCheck,
    UnassignPrivateAddress,
)
from netns.plan import address_steps, route_step
from netns.topology import ROUTER, NetworkInterface, World


class Effects:
    """The provider's hold on the router."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._routes = Routes(world.namespace(ROUTER))
        self._elastic = {public: private for public, (_, private) in world.elastic_ips.items()}
        self._checked = {i.router_name for i in world.interfaces if i.source_dest_check}
        self._secondary = dict(world.secondary)

    def apply(self, change: Change) -> None:
        """Carry one change out, at once or not at all; raises BuildError, naming it."""
        match change:
            case ReplaceRoute(table, destination, target):
                self._routes.apply(route_step(self._world, table, destination, target))
            case SetSourceDestCheck(interface, enabled):
                self._check(interface, enabled)
            case AssociateAddress(public, _, private):
                self._translate(public, private)
            case DisassociateAddress(public):
                self._translate(public, None)
            case AssignPrivateAddress(interface, address):
                self._deliver(address, interface)
            case UnassignPrivateAddress(interface, address):
                if self._secondary.get(address) == interface.id:
                    self._deliver(address, None)

    def close(self) -> None:
        self._routes.close()

    def _check(self, interface: NetworkInterface, enabled: bool) -> None:
        name = interface.router_name
        if enabled == (name in self._checked):
            return
        _nft([f'{"add" if enabled else "delete"} element ip fabric checked {{ "{name}" }}'])
        (self._checked.add if enabled else self._checked.discard)(name)

    def _translate(self, public: IPv4Address, private: IPv4Address | None) -> None:
        """One transaction: no packet sees half of it. A private address has one public one, and
        the other way round."""
        stale = {
            (p, a) for p, a in self._elastic.items() if public == p or (private and private == a)
        }
        lines = [line for pair in stale for line in _elements("delete", *pair)]
        if private is not None:
            lines += _elements("add", public, private)
        if lines:
            _nft(lines)
        for old, _ in stale:
            del self._elastic[old]
        if private is not None:
            self._elastic[public] = private

    def _deliver(self, address: IPv4Address, interface: NetworkInterface | None) -> None:
        """A secondary private address moves to `interface`, or is nobody's."""
        names = {i.id: i.router_name for i in self._world.interfaces}
        before = self._secondary.pop(address, None)
        lines = []
        if before is not None:
            lines.append(f'delete element ip fabric owned {{ "{names[before]}" . {address} }}')
        if interface is not None:
            lines.append(f'add element ip fabric owned {{ "{interface.router_name}" . {address} }}')
            self._secondary[address] = interface.id
        _nft(lines)
        for step in address_steps(self._world, address, interface.id if interface else ""):
            self._routes.apply(step)


def _elements(verb: str, public: IPv4Address, private: IPv4Address) -> list[str]:
    """Deleting wants the key alone, whatever it leads to."""
    if verb == "delete":
        return [
            f"delete element ip fabric elastic_in {{ {public} }}",
            f"delete element ip fabric elastic_out {{ {private} }}",
        ]
    return [
        f"add element ip fabric elastic_in {{ {public} : {private} }}",
        f"add element ip fabric elastic_out {{ {private} : {public} }}",
    ]


def _nft(lines: Sequence[str]) -> None:
    done = subprocess.run(
        ["nft", "-f", "-"], input="\n".join(lines) + "\n", capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    if done.returncode:
        raise BuildError(f"{'; '.join(lines)}: {done.stderr.strip()}")
