"""The cloud world as the kernel has it: routing by subnet, checks, silence."""

from __future__ import annotations

import secrets
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network

import pytest

from emulator.lab.faults import _SILENCE
from netns.build import BuildError, Routes, build, destroy
from netns.cloud.effects import Effects
from netns.cloud.fabric import (
    AssignPrivateAddress,
    AssociateAddress,
    Change,
    DisassociateAddress,
    UnassignPrivateAddress,
)
from netns.cloud.server import counters
from netns.execute import _enter, call_in, run
from netns.plan import AddAddress, plan, route_step
from netns.topology import World, cloud

pytestmark = pytest.mark.root
VIRTUAL = IPv4Network("10.99.0.0/24")
PUBLIC = IPv4Address("198.51.100.10")
AT_A, AT_B = IPv4Address("10.0.10.100"), IPv4Address("10.0.20.100")


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    built = replace(
        cloud(f"f{secrets.token_hex(3)}"),
        elastic_ips={PUBLIC: ("eni-bigip-a-ext", AT_A)},
        secondary={AT_A: "eni-bigip-a-ext", AT_B: "eni-bigip-b-ext"},
    )
    try:
        build(plan(built))
        for node, address in (("bigip-a", AT_A), ("bigip-a", AT_B), ("bigip-b", AT_B)):
            run(built.namespace(node), ["ip", "address", "add", f"{address}/32", "dev", "lo"])
        yield built
    finally:
        destroy([built.namespace(node) for node in built.nodes])


def listen(world: World, node: str, address: str) -> socket.socket:
    """UDP, so that a test sees single packets."""

    def open_() -> socket.socket:
        receiver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        receiver.setsockopt(socket.SOL_IP, socket.IP_TRANSPARENT, 1)
        receiver.bind((address, 9))
        receiver.settimeout(1.0)
        return receiver

    return call_in(world.namespace(node), open_)


def send(world: World, node: str, target: str, source: str = "") -> None:
    def go() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            if source:
                sender.setsockopt(socket.SOL_IP, socket.IP_TRANSPARENT, 1)
                sender.bind((source, 0))
            sender.sendto(b"probe", (target, 9))

    call_in(world.namespace(node), go)


def arrives(receiver: socket.socket) -> bool:
    try:
        return receiver.recv(100) == b"probe"
    except TimeoutError:
        return False


def test_the_route_table_of_the_subnet_a_packet_comes_from_decides(world: World) -> None:
    """The client's table knows the alien range, the devices' inner table does not."""
    for node in ("bigip-a", "bigip-b"):
        run(world.namespace(node), ["ip", "address", "add", "10.99.0.10/32", "dev", "lo"])
    with (
        listen(world, "bigip-a", "10.99.0.10") as at_a,
        listen(world, "bigip-b", "10.99.0.10") as at_b,
    ):
        send(world, "client", "10.99.0.10")
        assert arrives(at_a)
        send(world, "backend-1", "10.99.0.10")
        assert not arrives(at_a)
        routes = Routes(world.namespace("router"))
        routes.apply(route_step(world, "rtb-client", VIRTUAL, "eni-bigip-b-ext"))
        send(world, "client", "10.99.0.10")
        assert arrives(at_b)
        routes.apply(route_step(world, "rtb-client", VIRTUAL, "eni-deleted"))
        send(world, "client", "10.99.0.10")
        assert not arrives(at_b)
        routes.apply(route_step(world, "rtb-client", VIRTUAL, "eni-bigip-a-ext"))
        routes.close()


def test_source_dest_check_drops_foreign_sources_and_counts_them(world: World) -> None:
    name = "source-dest-check/client-eth0"
    before = call_in(world.namespace("router"), counters)[name]
    run(world.namespace("client"), ["ip", "address", "add", "10.0.1.77/32", "dev", "lo"])
    with listen(world, "backend-1", "10.0.31.100") as receiver:
        send(world, "client", "10.0.31.100")
        assert arrives(receiver)
        send(world, "client", "10.0.31.100", source="10.0.1.77")
        assert not arrives(receiver)
        send(world, "bigip-a", "10.0.31.100", source="10.99.0.10")  # its check is off
        assert arrives(receiver)
    assert call_in(world.namespace("router"), counters)[name] == before + 1


def test_every_namespace_is_sealed(world: World) -> None:
    """Nothing but the lab's own links: no interface of the host, no route out."""
    for node in world.nodes:
        names = call_in(world.namespace(node), lambda: {n for _, n in socket.if_nameindex()})
        expected = {i.name for i in world.of(node)} or {i.router_name for i in world.interfaces}
        assert names == {"lo", *expected}
    with pytest.raises(OSError, match=r"unreachable|timed out"):
        call_in(
            world.namespace("router"),
            lambda: socket.create_connection(("192.0.2.1", 80), timeout=1),
        )


def test_a_silenced_device_says_nothing_at_all(world: World) -> None:
    """Not even a reset or an ICMP error for a port nobody listens on."""
    namespace = world.namespace("bigip-b")

    def refused() -> str:
        try:
            socket.create_connection(("10.0.22.11", 9), timeout=1).close()
        except TimeoutError:
            return "silence"
        except ConnectionRefusedError:
            return "reset"
        return "connected"

    assert call_in(world.namespace("api"), refused) == "reset"
    run(namespace, ["nft", "-f", "-"], stdin=_SILENCE)
    assert call_in(world.namespace("api"), refused) == "silence"
    run(namespace, ["nft", "delete", "table", "ip", "silence"])


def test_building_twice_is_refused_and_destroying_twice_is_not(world: World) -> None:
    with pytest.raises(BuildError, match="exists already"):
        build(plan(world)[:1])
    destroy(["ml-nosuch-node"])


def test_a_failed_step_names_itself(world: World) -> None:
    with pytest.raises(BuildError, match="no interface nosuch"):
        build(
            [
                AddAddress(
                    world.namespace("client"), "nosuch", next(iter(world.interfaces)).with_prefix
                )
            ]
        )


class Hand:
    """The provider's hold on the router, in one thread of its own, as its process has it."""

    def __init__(self, world: World) -> None:
        self._pool = ThreadPoolExecutor(
            1, initializer=_enter, initargs=(world.namespace("router"),)
        )
        self._effects = self._pool.submit(Effects, world).result()

    def __call__(self, *changes: Change) -> None:
        for change in changes:
            self._pool.submit(self._effects.apply, change).result()

    def close(self) -> None:
        self._pool.submit(self._effects.close).result()
        self._pool.shutdown()


@pytest.fixture
def apply(world: World) -> Iterator[Hand]:
    """Changes to the router, undone after the test."""
    hand = Hand(world)
    yield hand
    a, b = (world.interface(node, "ext") for node in ("bigip-a", "bigip-b"))
    hand(
        AssociateAddress(PUBLIC, a, AT_A),
        UnassignPrivateAddress(a, AT_B),
        AssignPrivateAddress(b, AT_B),
    )
    hand.close()


def test_the_gateway_translates_one_to_one_and_follows_a_change_at_once(
    world: World, apply: Hand
) -> None:
    """One flow, the same ports before and after: its next packet goes to the new address."""
    b = world.interface("bigip-b", "ext")
    with (
        listen(world, "bigip-a", str(AT_A)) as at_a,
        listen(world, "bigip-b", str(AT_B)) as at_b,
        listen(world, "client", "10.0.1.10") as client,
    ):
        client.sendto(b"probe", (str(PUBLIC), 9))
        assert at_a.recvfrom(100) == (b"probe", ("10.0.1.10", 9))
        at_a.sendto(b"probe", ("10.0.1.10", 9))
        assert client.recvfrom(100) == (b"probe", (str(PUBLIC), 9))
        apply(DisassociateAddress(PUBLIC))
        client.sendto(b"probe", (str(PUBLIC), 9))
        assert not arrives(at_a)
        apply(AssociateAddress(PUBLIC, b, AT_B))
        client.sendto(b"probe", (str(PUBLIC), 9))
        assert at_b.recvfrom(100) == (b"probe", ("10.0.1.10", 9))
        at_b.sendto(b"probe", ("10.0.1.10", 9))
        assert client.recvfrom(100) == (b"probe", (str(PUBLIC), 9))
        assert not arrives(at_a)


def test_associating_again_needs_no_disassociation(world: World, apply: Hand) -> None:
    b = world.interface("bigip-b", "ext")
    with listen(world, "bigip-a", str(AT_A)) as at_a, listen(world, "bigip-b", str(AT_B)) as at_b:
        apply(AssociateAddress(PUBLIC, b, AT_B))
        apply(AssociateAddress(PUBLIC, b, AT_B))
        send(world, "client", str(PUBLIC))
        assert arrives(at_b)
        assert not arrives(at_a)


def test_a_secondary_address_is_delivered_to_who_has_it(world: World, apply: Hand) -> None:
    a, b = (world.interface(node, "ext") for node in ("bigip-a", "bigip-b"))
    with listen(world, "bigip-a", str(AT_B)) as at_a, listen(world, "bigip-b", str(AT_B)) as at_b:
        send(world, "client", str(AT_B))
        assert arrives(at_b)
        apply(UnassignPrivateAddress(b, AT_B))
        send(world, "client", str(AT_B))
        assert not arrives(at_b)
        apply(AssignPrivateAddress(a, AT_B))
        send(world, "client", str(AT_B))
        assert arrives(at_a)


def test_an_unassignment_that_comes_late_takes_nothing_from_the_new_owner(
    world: World, apply: Hand
) -> None:
    a, b = (world.interface(node, "ext") for node in ("bigip-a", "bigip-b"))
    with listen(world, "bigip-a", str(AT_B)) as at_a:
        apply(AssignPrivateAddress(a, AT_B), UnassignPrivateAddress(b, AT_B))
        send(world, "client", str(AT_B))
        assert arrives(at_a)
