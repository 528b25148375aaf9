"""A small world of its own for each kernel fact: client - device - server, all veth."""

from __future__ import annotations

import contextlib
import secrets
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Interface, IPv4Network

import pytest

from netns.build import build, destroy
from netns.execute import call_in
from netns.plan import AddAddress, AddLink, AddNamespace, AddRoute, SetOffload, Step


@dataclass
class Small:
    """client 10.1.0.2 - 10.1.0.1 ext [device] int 10.2.0.1 - 10.2.0.2 server."""

    client: str
    device: str
    server: str
    closing: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)

    def listen(self, port: int = 7) -> socket.socket:
        """A listening socket on the server."""
        listener = call_in(self.server, lambda: socket.create_server(("10.2.0.2", port)))
        listener.settimeout(5)
        return self.closing.enter_context(listener)

    def in_thread(self, function: Callable[[], object]) -> threading.Thread:
        """Run `function` in the device's namespace, beside the test."""
        thread = threading.Thread(target=lambda: call_in(self.device, function), daemon=True)
        thread.start()
        self.closing.callback(thread.join, 5)
        return thread


@pytest.fixture
def small() -> Iterator[Small]:
    lab = f"ml-k{secrets.token_hex(3)}"
    world = Small(f"{lab}-client", f"{lab}-device", f"{lab}-server")
    steps: list[Step] = [AddNamespace(n) for n in (world.client, world.device, world.server)]
    for near, name, subnet, far in (
        (world.client, "ext", "10.1.0", "eth0"),
        (world.server, "int", "10.2.0", "eth0"),
    ):
        mac = "02:00:00:00:00:" + ("01" if name == "ext" else "02")
        steps += [
            AddLink(world.device, name, mac, near, far, mac[:-2] + "1" + mac[-1]),
            SetOffload(near, far, True),
            AddAddress(world.device, name, IPv4Interface(f"{subnet}.1/24")),
            AddAddress(near, far, IPv4Interface(f"{subnet}.2/24")),
            AddRoute(near, IPv4Network("0.0.0.0/0"), far, IPv4Address(f"{subnet}.1")),
        ]
    # As on a device: what is not translated has a route, and is dropped all the same.
    any_ = IPv4Network("0.0.0.0/0")
    steps.append(AddRoute(world.device, any_, "ext", IPv4Address("10.1.0.2")))
    try:
        build(steps)
        yield world
    finally:
        world.closing.close()
        destroy([world.client, world.device, world.server])
