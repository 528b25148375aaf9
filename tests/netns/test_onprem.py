"""The on-premises world as values and its construction as a plan."""

from __future__ import annotations

import pytest

from netns import worlds
from netns.onprem import (
    FLOATING,
    GATEWAY,
    SEGMENTS,
    addresses_in_use,
    onprem,
    picture,
    plan,
    segment_of,
)
from netns.plan import (
    AddAddress,
    AddBridge,
    AddLink,
    AddNamespace,
    AddNeighbour,
    AddRoute,
    JoinBridge,
    SetSysctl,
)
from netns.topology import SNAT_RANGE, SWITCH, VIRTUAL_RANGE, cloud

WORLD = onprem("x")
STEPS = plan(WORLD, {"router": 14400.0})


def test_both_devices_stand_in_the_same_segments() -> None:
    """What no cloud offers across zones."""
    for name in ("ext", "int", "ha"):
        one, other = (WORLD.interface(node, name) for node in ("bigip-a", "bigip-b"))
        assert one.subnet == other.subnet
        assert one.address != other.address


def test_no_address_and_no_mac_is_used_twice_and_none_that_floats() -> None:
    addresses = [s.address.ip for s in STEPS if isinstance(s, AddAddress)]
    assert len(set(addresses)) == len(addresses)
    assert not set(addresses) & set(FLOATING.values())
    macs = [mac for s in STEPS if isinstance(s, AddLink) for mac in (s.mac, s.peer_mac)]
    shared = {i.shared_mac for i in WORLD.interfaces if i.shared_mac}
    assert len(set(macs)) == len(macs)
    assert not shared & set(macs)


def test_every_link_joins_two_namespaces_of_the_lab_and_none_the_host() -> None:
    made = {s.namespace for s in STEPS if isinstance(s, AddNamespace)}
    assert made == {WORLD.namespace(n) for n in WORLD.nodes}
    for step in STEPS:
        assert step.namespace in made
        if isinstance(step, AddLink):
            assert step.peer_namespace in made


def test_every_port_of_the_switch_is_in_the_bridge_of_its_segment() -> None:
    bridges = {s.name for s in STEPS if isinstance(s, AddBridge)}
    assert bridges == set(SEGMENTS)
    joined = {(s.name, s.bridge) for s in STEPS if isinstance(s, JoinBridge)}
    expected = {(i.router_name, i.subnet.name) for i in WORLD.interfaces if i.uplink == SWITCH}
    assert joined == expected
    assert ("a-ext", "external") in joined
    assert ("be1-eth0", "internal") in joined


def test_nobody_is_told_a_mac_address() -> None:
    """Caches are filled by ARP, or the experiment shows nothing."""
    assert not [s for s in STEPS if isinstance(s, AddNeighbour)]


def test_the_backends_gateway_floats_and_the_devices_gateway_is_the_router() -> None:
    gateways = {
        s.namespace: s.via
        for s in STEPS
        if isinstance(s, AddRoute) and s.destination.prefixlen == 0
    }
    assert gateways[WORLD.namespace("backend-1")] == FLOATING["int"]
    assert gateways[WORLD.namespace("bigip-b")] == GATEWAY
    assert WORLD.interface("router", "ext").address == GATEWAY


def test_the_kernel_of_a_device_answers_for_no_floating_address() -> None:
    """They are on lo; arp_ignore 1 answers for the asked interface's own addresses only."""
    keys = {(s.namespace, s.key, s.value) for s in STEPS if isinstance(s, SetSysctl)}
    for node in ("bigip-a", "bigip-b"):
        assert (WORLD.namespace(node), "net.ipv4.conf.all.arp_ignore", "1") in keys
        assert (WORLD.namespace(node), "net.ipv4.conf.all.arp_announce", "2") in keys


def test_how_long_a_neighbour_believes_is_a_setting() -> None:
    found = [s for s in STEPS if isinstance(s, SetSysctl) and "base_reachable" in s.key]
    assert [(s.namespace, s.value) for s in found] == [(WORLD.namespace("router"), "14400000")]


def test_interface_names_fit_the_kernels_limit() -> None:
    for interface in WORLD.interfaces:
        assert len(interface.name) <= 15
        assert len(interface.router_name) <= 15


def test_a_scenarios_addresses_lie_in_both_worlds() -> None:
    """Routed ranges in a cloud are segments here."""
    assert segment_of(VIRTUAL_RANGE[10]) == "ext"
    assert segment_of(SNAT_RANGE[10]) == "int"
    assert segment_of(WORLD.interface("client", "eth0").address) is None
    assert not {VIRTUAL_RANGE[10], SNAT_RANGE[10]} & set(addresses_in_use())


@pytest.mark.parametrize("world", [WORLD, cloud("x")], ids=lambda w: w.kind)
def test_either_world_has_its_plan_and_picture(world) -> None:
    made = {s.namespace for s in worlds.plan(world) if isinstance(s, AddNamespace)}
    assert made == {world.namespace(n) for n in world.nodes}
    assert "bigip-b" in worlds.picture(world)


def test_the_picture_names_every_interface_and_what_floats() -> None:
    text = picture(WORLD)
    for interface in WORLD.interfaces:
        assert f"{interface.uplink}:{interface.router_name}" in text
    for address in FLOATING.values():
        assert str(address) in text


def test_steps_print_as_commands() -> None:
    assert str(AddBridge("ml-x-switch", "external")) == (
        "ip -n ml-x-switch link add external type bridge"
    )
    assert str(JoinBridge("ml-x-switch", "a-ext", "external")) == (
        "ip -n ml-x-switch link set a-ext master external"
    )
