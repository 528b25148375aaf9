"""Another program serves the packets: it follows the role, before anybody sends it any."""

from __future__ import annotations

from dataclasses import replace

from emulator.core.commands import (
    CancelRoutes,
    FollowRole,
    Listen,
    RequestRoutes,
    SendArp,
    SendHeartbeat,
)
from emulator.core.config import FloatingAddress, Port
from emulator.core.device import Device
from emulator.core.events import HeartbeatHeard, OperatorStandby, Tick
from emulator.wire.heartbeat import Heartbeat
from tests.support.pair import A, B, config
from tests.support.segments import VIRTUAL

FOLLOWING = replace(config(A), virtual_servers=(), data_plane=("follow",))


def kinds(commands: list[object]) -> list[type]:
    return [type(command) for command in commands]


def test_it_has_taken_over_before_routes_are_asked_for_and_addresses_announced() -> None:
    floating = (FloatingAddress("ext", VIRTUAL.address),)
    told = replace(FOLLOWING, floating=floating, ports=(Port("ext", "02:00:00:00:00:01"),))
    device = Device(told, 0.0)
    commands = device.handle(HeartbeatHeard(Heartbeat(B, False, True, 1, 1)), 0.1)
    order = kinds(commands)
    assert commands[order.index(FollowRole)] == FollowRole(True)
    assert order.index(FollowRole) < order.index(SendArp)
    assert order.index(FollowRole) < order.index(RequestRoutes)


def test_it_stands_by_before_the_peer_is_told() -> None:
    device = Device(FOLLOWING, 0.0)
    device.handle(HeartbeatHeard(Heartbeat(B, False, True, 1, 1)), 0.1)
    commands = device.handle(OperatorStandby(), 0.2)
    order = kinds(commands)
    assert commands[order.index(FollowRole)] == FollowRole(False)
    assert order.index(FollowRole) < order.index(SendHeartbeat)
    assert CancelRoutes in order


def test_a_device_that_serves_packets_itself_calls_nobody() -> None:
    device = Device(config(A), 0.0)
    commands = device.handle(HeartbeatHeard(Heartbeat(B, False, True, 1, 1)), 0.1)
    assert device.active
    assert FollowRole not in kinds(commands)


def test_without_a_virtual_server_no_address_is_its_own() -> None:
    device = Device(FOLLOWING, 0.0)
    commands = device.handle(HeartbeatHeard(Heartbeat(B, False, True, 1, 1)), 0.1)
    commands += device.handle(Tick(), 5.0)
    assert Listen not in kinds(commands)
