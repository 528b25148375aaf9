"""What an operator changes on a running device counts from then on, and no earlier."""

from __future__ import annotations

import pytest

from emulator.core import operate
from emulator.core.commands import (
    AbortRelay,
    CloseChannel,
    ConnectChannel,
    Discard,
    Note,
    RemoveFlow,
    SendSegment,
    SendToPeer,
)
from emulator.core.config import ServerType
from emulator.core.events import Tick
from emulator.wire.mirror import FlowDown
from emulator.wire.segment import ACK, RST
from tests.support.pair import Pair, client, server
from tests.support.segments import CLIENT, VIRTUAL, syn


def modify(pair: Pair, name: str, enabled: bool) -> None:
    node = pair.nodes[name]
    for command in operate.set_mirroring(node.device, "vs_ssh", enabled, pair.now):
        pair._execute(node, command)


def test_mirroring_switched_on_is_for_connections_made_after() -> None:
    """As on a BIG-IP; also when the channel is made anew."""
    pair = Pair(server(mirroring=False)).power_on()
    pair.run(2)
    pair.client_connects(client(1))
    modify(pair, "bigip-a", True)
    pair.run(3)
    assert pair.a.device.channel_up
    assert pair.b.flows == set()
    pair.client_connects(client(2))
    assert {r.client for r in pair.b.flows} == {client(2)}
    pair.lose_channel()
    pair.run(3)
    assert pair.a.device.channel_up
    assert {r.client for r in pair.b.flows} == {client(2)}


def test_mirroring_switched_off_leaves_what_is_mirrored() -> None:
    """Its close is mirrored, too: no entry is left behind."""
    pair = Pair().power_on()
    pair.run(2)
    pair.client_connects(client(1))
    modify(pair, "bigip-a", False)
    pair.client_connects(client(2))
    assert {r.client for r in pair.b.flows} == {client(1)}
    reset = syn(client(1))
    pair.packet(type(reset)(reset.source, reset.destination, reset.seq, reset.ack, RST | ACK))
    pair.run(0.1)
    assert pair.b.flows == set()


def test_a_deleted_connection_is_gone_at_both_and_reset() -> None:
    pair = Pair().power_on()
    pair.run(2)
    pair.client_connects()
    [flow] = pair.a.table()
    flow.client_side.ack = flow.server_side.ack = b"\0\0\0\7"
    commands = operate.delete_connections(pair.a.device, [flow], pair.now)
    kinds = [type(command) for command in commands]
    assert kinds == [Note, RemoveFlow, SendToPeer, SendSegment, SendSegment]
    assert isinstance(commands[2].message.body, FlowDown)
    assert {c.segment.flags for c in commands if isinstance(c, SendSegment)} == {RST}
    assert {c.segment.destination for c in commands[3:]} == {CLIENT, flow.record.member}
    assert pair.a.flows == set()


def test_a_connection_that_still_waits_for_the_peer_is_dropped_silently() -> None:
    pair = Pair().power_on()
    pair.run(2)
    number = pair.packet(syn())
    [flow] = pair.a.table()
    note, discard = operate.delete_connections(pair.a.device, [flow], pair.now)
    assert isinstance(note, Note)
    assert discard == Discard(number)
    assert pair.a.flows == set()


def test_a_standard_one_is_aborted() -> None:
    pair = Pair(server(type=ServerType.STANDARD, mirroring=False)).power_on()
    pair.run(2)
    device = pair.a.device
    record = device.traffic._selector.select(device.config.virtual_servers[0], CLIENT, VIRTUAL,
                                             device.traffic.table.taken)  # fmt: skip
    from emulator.core.flow import Flow, FlowState

    device.traffic.table.add(Flow(record, FlowState.OPEN, 0, 0, standard=True))
    commands = operate.delete_connections(device, pair.a.table(), pair.now)
    assert commands[-1] == AbortRelay(CLIENT, VIRTUAL)


def test_on_the_standby_the_entry_alone_goes() -> None:
    """Nothing is in its kernel, and nobody is told."""
    pair = Pair().power_on()
    pair.run(2)
    pair.client_connects()
    commands = operate.delete_connections(pair.b.device, pair.b.table(), pair.now)
    assert [type(command) for command in commands] == [Note]
    assert pair.b.flows == set()
    assert len(pair.a.flows) == 1


def test_reject_unmatched_off_makes_it_silent() -> None:
    """The next segment without a flow is dropped, not reset."""
    pair = Pair().power_on()
    pair.run(2)
    stray = syn()
    stray = type(stray)(stray.source, stray.destination, stray.seq, stray.ack, ACK)
    pair.packet(stray)
    assert len(pair.a.sent) == 1
    operate.set_variable(pair.a.device, "tm.rejectunmatched", "false", pair.now)
    pair.packet(stray)
    assert len(pair.a.sent) == 1
    operate.set_variable(pair.a.device, "tm.rejectunmatched", "true", pair.now)
    pair.packet(stray)
    assert len(pair.a.sent) == 2


def test_securing_the_channel_ends_it_and_it_is_made_anew() -> None:
    """At both devices; a value it has already changes nothing."""
    pair = Pair().power_on()
    pair.run(5)
    for node in (pair.a, pair.b):
        assert node.device.channel_up
        commands = operate.set_variable(node.device, "statemirror.secure", "enable", pair.now)
        assert CloseChannel() in commands
        assert not node.device.channel_up
        assert node.device.config.statemirror_secure
        again = operate.set_variable(node.device, "statemirror.secure", "enable", pair.now)
        assert [c for c in again if not isinstance(c, Note)] == []
    assert ConnectChannel() in pair.a.device.handle(Tick(), pair.now)
    operate.set_variable(pair.b.device, "failover.secure", "enable", pair.now)
    assert pair.b.device.config.failover_secure


def test_what_is_refused_changes_nothing() -> None:
    pair = Pair().power_on()
    pair.run(2)
    before = pair.a.device.config
    for bad in (
        lambda: operate.set_mirroring(pair.a.device, "nosuch", True, 0.0),
        lambda: operate.set_variable(pair.a.device, "statemirror.state", "disable", 0.0),
        lambda: operate.set_variable(pair.a.device, "tm.rejectunmatched", "no", 0.0),
        lambda: operate.stand_by(pair.b.device, 0.0),
    ):
        with pytest.raises(operate.Refused):
            bad()
    assert pair.a.device.config is before
