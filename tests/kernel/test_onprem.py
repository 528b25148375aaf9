"""The on-premises world as the kernel has it: ARP caches, the switch's table, silence."""

from __future__ import annotations

import json
import secrets
import socket
from collections.abc import Iterator
from ipaddress import IPv4Address

import pytest

from emulator.kernel.arp import ArpSocket, set_mac
from emulator.lab.faults import silence, silence_ends
from emulator.lab.instance import Lab
from emulator.lab.settings.scenario import Scenario
from emulator.lab.wait import wait_until
from emulator.wire.arp import NOBODY, REPLY, REQUEST, Arp, announcement, answer
from netns.build import build, destroy
from netns.execute import call_in, run
from netns.onprem import FLOATING, GATEWAY, MASQUERADE_MAC, plan
from netns.topology import World

pytestmark = pytest.mark.root
VIP = IPv4Address("10.99.0.10")
FOREVER_S = 14400.0


@pytest.fixture
def lab() -> Iterator[Lab]:
    """A world without devices: the test speaks for them. Addresses float on lo, as there."""
    scenario = Scenario.model_validate({"title": "kernel facts", "world": "onprem"})
    made = Lab(f"o{secrets.token_hex(3)}", scenario)
    try:
        build(plan(made.world, {"router": FOREVER_S}))
        for node in ("bigip-a", "bigip-b"):
            for address in (VIP, *FLOATING.values()):
                argv = ["ip", "address", "add", f"{address}/32", "dev", "lo"]
                run(made.world.namespace(node), argv)
        yield made
    finally:
        destroy([made.world.namespace(node) for node in made.world.nodes])


class Speaker:
    """Answers for the device of one node, as its process would."""

    def __init__(self, world: World, node: str, interface: str = "ext") -> None:
        self.namespace = world.namespace(node)
        self.mac = world.interface(node, interface).mac
        self.arp = call_in(self.namespace, lambda: ArpSocket(interface))

    def announce(self, address: IPv4Address = VIP, mac: str = "") -> None:
        self.arp.send(announcement(mac or self.mac, address))

    def answers(self, address: IPv4Address = VIP) -> bool:
        while (packet := self.arp.receive()) is not None:
            if packet.opcode == REQUEST and packet.target == address and not packet.gratuitous:
                self.arp.send(answer(packet, self.mac))
                return True
        return False


@pytest.fixture
def speakers(lab: Lab) -> Iterator[tuple[Speaker, Speaker]]:
    both = (Speaker(lab.world, "bigip-a"), Speaker(lab.world, "bigip-b"))
    yield both
    for speaker in both:
        speaker.arp.close()


def cache(world: World, node: str, address: IPv4Address) -> tuple[str, str]:
    """(MAC, state) of a node's ARP cache."""
    found = json.loads(run(world.namespace(node), ["ip", "-j", "neigh", "show", str(address)]))
    return (found[0].get("lladdr", ""), found[0]["state"][0]) if found else ("", "NONE")


def ask(world: World, node: str, address: IPv4Address) -> None:
    """Make the node resolve an address: a datagram nobody waits for."""

    def send() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.sendto(b"?", (str(address), 9))

    call_in(world.namespace(node), send)


def learn(lab: Lab, speaker: Speaker) -> None:
    """The router asks for the virtual address, and `speaker` has it."""
    ask(lab.world, "router", VIP)
    wait_until("the router's request", speaker.answers, timeout_s=5)
    wait_until(
        "the router to know", lambda: cache(lab.world, "router", VIP)[0] == speaker.mac, timeout_s=5
    )


def test_gratuitous_arp_moves_a_neighbours_entry_and_without_it_none_moves(
    lab: Lab, speakers: tuple[Speaker, Speaker]
) -> None:
    a, b = speakers
    learn(lab, a)
    assert cache(lab.world, "router", VIP) == (a.mac, "REACHABLE")
    ask(lab.world, "router", VIP)
    assert cache(lab.world, "router", VIP) == (a.mac, "REACHABLE")  # believed, not asked again
    b.announce()
    wait_until(
        "the entry to move", lambda: cache(lab.world, "router", VIP)[0] == b.mac, timeout_s=5
    )


def test_an_announcement_makes_no_entry_where_nobody_had_asked(
    lab: Lab, speakers: tuple[Speaker, Speaker]
) -> None:
    speakers[0].announce()
    learn(lab, speakers[1])


def test_the_kernel_of_a_device_answers_for_its_self_ip_and_for_nothing_that_floats(
    lab: Lab, speakers: tuple[Speaker, Speaker]
) -> None:
    """A standby, or a device whose process died: its addresses are on lo still."""
    own = lab.world.interface("bigip-b", "ext")
    ask(lab.world, "router", own.address)
    wait_until(
        "the self IP's answer",
        lambda: cache(lab.world, "router", own.address) == (own.mac, "REACHABLE"),
        timeout_s=5,
    )
    ask(lab.world, "router", VIP)
    wait_until(
        "the router to give up",
        lambda: cache(lab.world, "router", VIP)[1] == "FAILED",
        timeout_s=15,
    )


def test_a_silenced_device_lets_no_arp_out_whoever_sends_it(
    lab: Lab, speakers: tuple[Speaker, Speaker]
) -> None:
    """Neither its process nor its kernel; and it is heard again afterwards."""
    a, b = speakers
    own = lab.world.interface("bigip-b", "ext")
    learn(lab, a)
    silence(lab, "bigip-b")
    b.announce()
    ask(lab.world, "router", own.address)
    wait_until(
        "the router to give up on the self IP",
        lambda: cache(lab.world, "router", own.address)[1] == "FAILED",
        timeout_s=15,
    )
    assert cache(lab.world, "router", VIP)[0] == a.mac
    silence_ends(lab, "bigip-b")
    b.announce()
    wait_until("b to be heard", lambda: cache(lab.world, "router", VIP)[0] == b.mac, timeout_s=5)


def port_of(world: World, mac: str) -> str:
    """The port at which the switch has learned a MAC in the external segment."""
    argv = ["bridge", "-j", "fdb", "show", "br", "external", "dynamic"]
    found = json.loads(run(world.namespace("switch"), argv))
    return next((e["ifname"] for e in found if e["mac"] == mac), "")


def test_a_masquerade_mac_moves_to_another_port_and_no_cache_changes(
    lab: Lab, speakers: tuple[Speaker, Speaker]
) -> None:
    """An interface takes the MAC while it is up; the switch learns from the announcement."""
    a, b = speakers
    for speaker in (a, b):
        speaker.mac = MASQUERADE_MAC
    call_in(a.namespace, lambda: set_mac("ext", MASQUERADE_MAC))
    learn(lab, a)
    assert port_of(lab.world, MASQUERADE_MAC) == "a-ext"
    call_in(b.namespace, lambda: set_mac("ext", MASQUERADE_MAC))
    b.announce()
    wait_until(
        "the switch to learn",
        lambda: port_of(lab.world, MASQUERADE_MAC) == "b-ext",
        timeout_s=5,
    )
    assert cache(lab.world, "router", VIP)[0] == MASQUERADE_MAC


def test_a_sender_does_not_hear_itself(lab: Lab, speakers: tuple[Speaker, Speaker]) -> None:
    a, b = speakers
    probe = Arp(REPLY, a.mac, VIP, NOBODY, GATEWAY)
    a.arp.send(probe)
    wait_until("b to hear it", lambda: b.arp.receive() == probe, timeout_s=5)
    assert a.arp.receive() is None


def test_every_namespace_is_sealed(lab: Lab) -> None:
    """Nothing but the lab's own links, and no way out."""
    world = lab.world
    for node in world.nodes:
        names = call_in(world.namespace(node), lambda: {n for _, n in socket.if_nameindex()})
        near = {i.name for i in world.of(node)}
        far = {i.router_name for i in world.interfaces if i.uplink == node}
        bridges = {"external", "internal", "ha"} if node == "switch" else set()
        assert names == {"lo"} | near | far | bridges
