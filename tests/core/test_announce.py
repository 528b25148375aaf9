"""Addresses that float on a shared segment: who answers for them, who announces them, when."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network

from emulator.core.addresses import Selector
from emulator.core.commands import Discard, InstallFlow, RequestRoutes, SendArp, SendSegment, SetMac
from emulator.core.config import Config, FloatingAddress, Port, SelfIp
from emulator.core.device import Device
from emulator.core.events import ArpHeard, HeartbeatHeard, OperatorStandby
from emulator.wire.arp import BROADCAST, NOBODY, REPLY, REQUEST, Arp
from emulator.wire.heartbeat import Heartbeat
from emulator.wire.segment import Endpoint
from tests.support.pair import A, B, Pair, active_device, config, server
from tests.support.segments import CLIENT, MEMBER, SNAT_A, VIRTUAL, data, queued

FLOATING = IPv4Address("10.0.2.100")
SHARED = (FloatingAddress("int", FLOATING), FloatingAddress("ext", VIRTUAL.address))
MACS = {
    A: ("02:00:00:00:0a:01", "02:00:00:00:0a:02"),
    B: ("02:00:00:00:0b:01", "02:00:00:00:0b:02"),
}
MASQUERADE = "02:00:00:00:0f:01"
ASKER = "02:00:00:00:00:01"


def shared(name: str = A, **changes: object) -> Config:
    """A device on segments it shares with its peer."""
    plain = config(name, server())
    floating = SelfIp("int", FLOATING, (IPv4Network("10.0.30.0/24"),), floating=True)
    ports = tuple(Port(i, mac) for i, mac in zip(("ext", "int"), MACS[name], strict=True))
    return replace(
        plain, self_ips=(*plain.self_ips, floating), floating=SHARED, ports=ports, **changes
    )  # type: ignore[arg-type]


def pair(**changes: object) -> Pair:
    both = Pair(server())
    both.configs = {name: shared(name, **changes) for name in (A, B)}
    return both.power_on()


def asks(target: IPv4Address, interface: str = "ext") -> ArpHeard:
    return ArpHeard(interface, Arp(REQUEST, ASKER, IPv4Address("10.0.0.1"), NOBODY, target))


def test_the_active_device_answers_for_what_floats_on_that_interface() -> None:
    device = active_device(shared())
    [reply] = device.handle(asks(VIRTUAL.address), 1.0)
    assert isinstance(reply, SendArp)
    assert reply.interface == "ext"
    assert reply.packet == Arp(
        REPLY, MACS[A][0], VIRTUAL.address, ASKER, IPv4Address("10.0.0.1"), ASKER
    )
    assert device.handle(asks(VIRTUAL.address, "int"), 1.0) == []
    assert device.handle(asks(IPv4Address("10.0.2.11")), 1.0) == []


def test_a_standby_answers_for_nothing() -> None:
    assert Device(shared(), 0.0).handle(asks(VIRTUAL.address), 1.0) == []


def test_neither_answers_nor_announcements_are_answered() -> None:
    device = active_device(shared())
    said = Arp(REQUEST, ASKER, VIRTUAL.address, NOBODY, VIRTUAL.address)
    assert device.handle(ArpHeard("ext", said), 1.0) == []
    assert device.handle(ArpHeard("ext", replace(said, opcode=REPLY)), 1.0) == []


def test_automap_takes_the_floating_self_ip_first() -> None:
    """K7336; and what was mirrored with it is served unchanged by the peer."""
    record = Selector(shared()).select(server(), CLIENT, VIRTUAL, lambda *_: False)
    assert record.snat == Endpoint(FLOATING, CLIENT.port)
    assert Selector(shared(B)).adopt(record, lambda *_: False) == record
    plain = Selector(config()).select(server(), CLIENT, VIRTUAL, lambda *_: False)
    assert plain.snat == SNAT_A


def test_only_the_active_device_answers_segments_to_the_floating_self_ip() -> None:
    """With a reset, as for any self IP; the standby is silent."""
    stray = data(MEMBER, Endpoint(FLOATING, 4444))
    kinds = [type(c) for c in active_device(shared()).handle(queued(1, stray), 1.0)]
    assert SendSegment in kinds
    standby = [type(c) for c in Device(shared(), 0.0).handle(queued(1, stray), 1.0)]
    assert Discard in standby
    assert SendSegment not in standby


def test_announced_after_everything_is_restored() -> None:
    """The contract: a packet that comes because of the announcement finds its flow."""
    two = pair()
    two.run(3)
    assert two.client_connects() == "released"
    device = two.b.device
    assert device is not None
    now = two.now
    device.handle(HeartbeatHeard(Heartbeat(A, True, False, 0, 50)), now)
    commands = device.handle(HeartbeatHeard(Heartbeat(A, False, True, 0, 51)), now)
    kinds = [type(c) for c in commands]
    last_restored = max(i for i, k in enumerate(kinds) if k is InstallFlow)
    assert last_restored < kinds.index(SendArp) < kinds.index(RequestRoutes)
    said = [c for c in commands if isinstance(c, SendArp)]
    assert [(c.interface, c.packet.sender) for c in said] == [
        (f.interface, f.address) for f in SHARED
    ]
    assert all(c.packet.gratuitous and c.packet.to == BROADCAST for c in said)
    assert {c.packet.sender_mac for c in said} == set(MACS[B])


def test_after_a_power_off_every_address_is_at_the_other_device() -> None:
    two = pair()
    two.run(3)
    assert two.neighbours == {f.address: MACS[A][f.interface == "int"] for f in SHARED}
    two.power_off(A)
    two.run(4)
    assert two.active == [B]
    assert two.neighbours == {f.address: MACS[B][f.interface == "int"] for f in SHARED}


def test_without_gratuitous_arp_the_neighbours_go_on_believing() -> None:
    two = pair(gratuitous_arp=False)
    two.run(3)
    two.power_off(A)
    two.run(4)
    assert two.active == [B]
    assert two.neighbours == {}
    assert two.b.notes("addresses-taken")


def test_the_device_that_remains_active_announces_again_after_a_split_brain() -> None:
    two = pair()
    two.run(3)
    two.cut_link()
    two.run(5)
    assert two.active == [A, B]
    assert set(two.neighbours.values()) == set(MACS[B])
    two.mend_link()
    two.run(2)
    assert two.active == [A]
    assert set(two.neighbours.values()) == set(MACS[A])


def test_the_masquerade_mac_is_at_one_device_at_a_time() -> None:
    two = pair(mac_masquerade=MASQUERADE)
    two.run(3)
    assert two.a.macs == {"ext": MASQUERADE, "int": MASQUERADE}
    assert two.b.macs == {}
    assert set(two.neighbours.values()) == {MASQUERADE}
    two.force_standby(A)
    two.run(1)
    assert two.active == [B]
    assert two.a.macs == dict(zip(("ext", "int"), MACS[A], strict=True))
    assert two.b.macs == {"ext": MASQUERADE, "int": MASQUERADE}
    assert set(two.neighbours.values()) == {MASQUERADE}


def test_the_masquerade_mac_is_taken_before_it_is_announced_and_given_back_at_once() -> None:
    device = active_device(shared(mac_masquerade=MASQUERADE))
    commands = device.handle(OperatorStandby(), 1.0)
    assert [c for c in commands if isinstance(c, SetMac)] == [
        SetMac(i, mac) for i, mac in zip(("ext", "int"), MACS[A], strict=True)
    ]
    fresh = Device(shared(mac_masquerade=MASQUERADE), 0.0)
    commands = fresh.handle(HeartbeatHeard(Heartbeat(B, False, False, 1, 1)), 0.0)
    kinds = [type(c) for c in commands]
    assert max(i for i, k in enumerate(kinds) if k is SetMac) < kinds.index(SendArp)


def test_where_nothing_floats_nothing_is_announced() -> None:
    """A cloud's device: no ARP, no MAC."""
    device = Device(config(), 0.0)
    commands = device.handle(HeartbeatHeard(Heartbeat(B, False, False, 1, 1)), 0.0)
    assert not [c for c in commands if isinstance(c, SendArp | SetMac)]
