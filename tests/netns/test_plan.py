"""The world as values and its construction as a plan."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network

from netns import worlds
from netns.onprem import onprem
from netns.plan import AddLink, AddNamespace, AddRoute, plan, route_step, table_number
from netns.topology import VIRTUAL_RANGE, cloud, picture

WORLD = cloud("x")


def test_no_subnet_spans_zones_and_no_address_is_used_twice() -> None:
    zones: dict[IPv4Network, set[str]] = {}
    for interface in WORLD.interfaces:
        zones.setdefault(interface.subnet.network, set()).add(interface.subnet.zone)
    assert all(len(z) == 1 for z in zones.values())
    addresses = [i.address for i in WORLD.interfaces]
    assert len(set(addresses)) == len(addresses)
    assert len({i.mac for i in WORLD.interfaces}) == len(addresses)


def test_in_one_zone_the_devices_share_their_subnets_and_nothing_else() -> None:
    """Two links, two addresses, two MACs in each; the rest of the world is as it was."""
    world = cloud("x", zones="one")
    for name in ("ext", "int", "ha"):
        a, b = (world.interface(device, name) for device in ("bigip-a", "bigip-b"))
        assert a.subnet == b.subnet
        assert a.address in a.subnet.network
        assert (a.address, a.mac, a.router_name) != (b.address, b.mac, b.router_name)
    assert len({i.address for i in world.interfaces}) == len(world.interfaces)
    assert len({i.subnet.name for i in world.interfaces}) == len(world.interfaces) - 3
    others = [i for i in WORLD.interfaces if not i.node.startswith("bigip-")]
    assert [i for i in world.interfaces if not i.node.startswith("bigip-")] == others
    assert world.interface("bigip-a", "ext").address == WORLD.interface("bigip-a", "ext").address


def test_a_subnets_addresses_are_delivered_one_by_one_and_a_secondary_one_as_well() -> None:
    """No route of the fabric leads to a subnet as a whole: two interfaces are in it."""
    secondary = IPv4Address("10.0.10.100")
    world = replace(cloud("x", zones="one"), secondary={secondary: "eni-bigip-b-ext"})
    table = table_number(world, "rtb-client")
    routes = [s for s in plan(world) if isinstance(s, AddRoute) and s.table == table]
    subnet = IPv4Network("10.0.10.0/24")
    inside = {str(r.destination): r.name for r in routes if r.destination.subnet_of(subnet)}
    assert inside == {"10.0.10.11/32": "a-ext", "10.0.10.12/32": "b-ext", "10.0.10.100/32": "b-ext"}
    assert "secondary  10.0.10.100 -> eni-bigip-b-ext" in picture(world)


def test_alien_ranges_lie_outside_every_subnet() -> None:
    """Else the VPC's local route would win and no route could move them."""
    for (_, destination), _target in WORLD.routes.items():
        assert not any(destination.overlaps(i.subnet.network) for i in WORLD.interfaces)


def test_every_link_joins_two_namespaces_of_the_lab_and_none_the_host() -> None:
    steps = plan(WORLD)
    made = {s.namespace for s in steps if isinstance(s, AddNamespace)}
    assert made == {WORLD.namespace(n) for n in WORLD.nodes}
    for step in steps:
        assert step.namespace in made
        if isinstance(step, AddLink):
            assert step.peer_namespace in made


def test_congestion_control_is_not_left_to_the_host() -> None:
    """With BBR, which may be a host's default, a restored connection crawls for minutes."""
    for world in (WORLD, onprem("y")):
        set_ = {s.namespace for s in worlds.plan(world) if str(s).endswith("=reno")}
        assert set_ == {world.namespace(n) for n in world.nodes}


def test_interface_names_fit_the_kernels_limit() -> None:
    for interface in WORLD.interfaces:
        assert len(interface.name) <= 15
        assert len(interface.router_name) <= 15


def test_each_route_table_ends_in_silence() -> None:
    """What no route of a VPC's table covers is dropped, not forwarded by some other table."""
    blackholes = {s.table for s in plan(WORLD) if isinstance(s, AddRoute) and not s.name}
    assert blackholes == {table_number(WORLD, t) for t in WORLD.route_tables}


def test_a_whole_subnet_can_be_routed_to_a_middlebox() -> None:
    """snat none: then no host route of that subnet may stay in the table."""
    subnet = IPv4Network("10.0.1.0/24")
    world = cloud("x", {("rtb-backend", subnet): "eni-bigip-a-int"})
    table = table_number(world, "rtb-backend")
    routes = [s for s in plan(world) if isinstance(s, AddRoute) and s.table == table]
    inside = [r for r in routes if r.destination.subnet_of(subnet)]
    assert inside == [route_step(world, "rtb-backend", subnet, "eni-bigip-a-int")]


def test_steps_print_as_commands() -> None:
    step = route_step(WORLD, "rtb-client", VIRTUAL_RANGE, "eni-bigip-b-ext")
    assert str(step) == (
        "ip -n ml-x-router route replace 10.99.0.0/24 via 10.0.20.11 onlink dev b-ext table 100"
    )


def test_a_route_to_nothing_is_a_blackhole() -> None:
    step = route_step(WORLD, "rtb-client", VIRTUAL_RANGE, "eni-deleted")
    assert "blackhole 10.99.0.0/24" in str(step)


def test_the_picture_names_every_interface_and_route() -> None:
    text = picture(WORLD)
    for interface in WORLD.interfaces:
        assert f"router:{interface.router_name}" in text
    assert "rtb-client: 10.99.0.0/24 -> eni-bigip-a-ext" in text
