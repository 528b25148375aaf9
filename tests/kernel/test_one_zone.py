"""Two devices in one subnet of the cloud, as the kernel has it: the fabric is between them."""

from __future__ import annotations

import json
import secrets
import socket
from collections.abc import Iterator
from dataclasses import replace
from ipaddress import IPv4Address

import pytest

from emulator.wire.arp import NOBODY, REQUEST, Arp
from netns.build import build, destroy
from netns.cloud.fabric import AssignPrivateAddress, SetSourceDestCheck, UnassignPrivateAddress
from netns.execute import call_in, run
from netns.plan import plan, router_mac
from netns.topology import World, cloud
from tests.kernel.test_fabric import Hand, arrives, listen, send

pytestmark = pytest.mark.root
SECONDARY = IPv4Address("10.0.10.100")
DEVICES = ("bigip-a", "bigip-b")
_ETH_ARP = 0x0806


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    """Both devices would take packets for the secondary address; bigip-a has it."""
    built = replace(
        cloud(f"z{secrets.token_hex(3)}", zones="one"), secondary={SECONDARY: "eni-bigip-a-ext"}
    )
    try:
        build(plan(built))
        for node in DEVICES:
            run(built.namespace(node), ["ip", "address", "add", f"{SECONDARY}/32", "dev", "lo"])
        yield built
    finally:
        destroy([built.namespace(node) for node in built.nodes])


@pytest.fixture
def apply(world: World) -> Iterator[Hand]:
    hand = Hand(world)
    yield hand
    hand.close()


def neighbour(world: World, node: str, address: IPv4Address) -> str:
    """The MAC a node has for an address; empty: none."""
    argv = ["ip", "-json", "neigh", "show", "to", str(address)]
    rows = json.loads(run(world.namespace(node), argv) or "[]")
    return str(next((row.get("lladdr", "") for row in rows), ""))


@pytest.mark.parametrize("name", ["ext", "int", "ha"])
def test_neighbours_of_one_subnet_meet_through_the_fabric_alone(world: World, name: str) -> None:
    """The fabric answers for the other device's address with a MAC of its own."""
    a, b = (world.interface(node, name) for node in DEVICES)
    for here, there in ((a, b), (b, a)):
        with listen(world, there.node, str(there.address)) as receiver:
            send(world, here.node, str(there.address))
            assert arrives(receiver)
        assert neighbour(world, here.node, there.address) == router_mac(here)


def announce(world: World, node: str, address: IPv4Address) -> None:
    """Gratuitous ARP, as a device on a shared segment sends it."""
    interface = world.interface(node, "ext")
    frame = Arp(REQUEST, interface.mac, address, NOBODY, address).emit()

    def go() -> None:
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ETH_ARP)) as raw:
            raw.bind(("ext", 0))
            raw.send(frame)

    call_in(world.namespace(node), go)


def test_a_gratuitous_arp_moves_nothing(world: World) -> None:
    """As in a VPC, where the API alone says whose an address is."""
    a = world.interface("bigip-a", "ext")
    with (
        listen(world, "bigip-a", str(SECONDARY)) as at_a,
        listen(world, "bigip-b", str(SECONDARY)) as at_b,
    ):
        announce(world, "bigip-b", SECONDARY)
        announce(world, "bigip-b", a.address)
        send(world, "client", str(SECONDARY))
        assert arrives(at_a)
        assert not arrives(at_b)
    with listen(world, "bigip-a", str(a.address)) as at_a:
        send(world, "client", str(a.address))
        assert arrives(at_a)


def test_a_secondary_address_is_its_interfaces_own_and_goes_from_neighbour_to_neighbour(
    world: World, apply: Hand
) -> None:
    """Even with the source/destination check on, who has it may send from it and receive for it,
    and nobody else."""
    a, b = (world.interface(node, "ext") for node in DEVICES)
    apply(SetSourceDestCheck(a, True), SetSourceDestCheck(b, True))
    for holder, other in ((a, b), (b, a)):
        with (
            listen(world, holder.node, str(SECONDARY)) as receiver,
            listen(world, other.node, str(SECONDARY)) as nobody,
            listen(world, "client", "10.0.1.10") as client,
        ):
            send(world, "client", str(SECONDARY))
            assert arrives(receiver)
            assert not arrives(nobody)
            send(world, holder.node, "10.0.1.10", source=str(SECONDARY))
            assert arrives(client)
            send(world, other.node, "10.0.1.10", source=str(SECONDARY))
            assert not arrives(client)
            apply(UnassignPrivateAddress(holder, SECONDARY))
            send(world, "client", str(SECONDARY))
            assert not arrives(receiver)
            apply(AssignPrivateAddress(other, SECONDARY))
    apply(SetSourceDestCheck(a, False), SetSourceDestCheck(b, False))
