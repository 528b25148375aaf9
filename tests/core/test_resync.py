"""A flow mirrored on from its middle: the standby ends up with what it would have had."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulator.core.commands import Note, SendToPeer, SnapshotRelay
from emulator.core.config import ServerType
from emulator.core.device import Device
from emulator.core.events import ChannelUp, LegSnapshot, PeerMessages, RelaySnapshot, Tick
from emulator.core.flow import Flow, FlowState, FlowTable
from emulator.core.mirroring import Receiver
from emulator.core.reassembly import LIMIT
from emulator.core.tracker import LegPlan, NotRestorable, RelayPlan, Tracker
from emulator.wire.mirror import Ack, FlowUp, LegBytes, LegState, Message
from emulator.wire.segment import ACK, FIN
from emulator.wire.seqnum import SeqNum
from tests.core.test_tracker import CLIENT, MEMBER, RECORD, SNAT, VIP, Talk
from tests.support.pair import active_device, config, server
from tests.support.segments import examples

WRAP = (1 << 32) - 3


def leg(plan: LegPlan, other: LegPlan | None = None) -> LegSnapshot:
    """The kernel's view of a connection restored from `plan`."""
    return LegSnapshot(
        rcv_nxt=plan.rcv_nxt + (plan.fin is not None),
        snd_una=plan.snd_una,
        unacknowledged=plan.sent + plan.unsent,
        unread=b"",
        snd_wnd=plan.snd_wnd,
        mss_clamp=plan.mss_clamp,
        snd_wscale=plan.snd_wscale,
        rcv_wscale=plan.rcv_wscale,
        sack=plan.sack,
        timestamp=plan.timestamp,
        fin_received=plan.fin is not None,
        fin_acknowledged=False,
    )


def snapshot(plan: RelayPlan, **changes: object) -> RelaySnapshot:
    assert plan.server is not None
    return RelaySnapshot(CLIENT, VIP, leg(plan.client), leg(plan.server), **changes)


class Active:
    """A device with one standard flow that is older than the channel."""

    def __init__(self, *, remirror: bool = True) -> None:
        vs = server(type=ServerType.STANDARD, remirror=remirror)
        self.device: Device = active_device(config(server=vs), channel=False)
        record = replace(RECORD, virtual_server=vs.name)
        self.flow = Flow(record, FlowState.OPEN, 0.0, 0.0, standard=True)
        self.device.traffic.table.add(self.flow)
        self.record = record

    def channel_up(self) -> list[object]:
        return self.device.handle(ChannelUp(), 0.0)

    def mirror(self, event: RelaySnapshot) -> list[Message]:
        commands = self.device.handle(event, 0.0)
        return [c.message for c in commands if isinstance(c, SendToPeer)]


def standby(messages: list[Message]) -> Tracker:
    """What a standby makes of the messages."""
    table = FlowTable()
    receiver = Receiver(table, "traffic-group-1", frozenset({"vs_ssh"}))
    for message in messages:
        assert receiver.apply(message, 0.0) == []
    (flow,) = table.flows()
    assert flow.tracker is not None
    return flow.tracker


def alike(one: LegPlan | None, two: LegPlan | None) -> None:
    assert one is not None
    assert two is not None
    later = replace(one, timestamp=None), replace(two, timestamp=None)
    if one.timestamp is not None and two.timestamp is not None:
        assert 0 <= two.timestamp - one.timestamp <= 1000  # never behind
    assert later[0] == later[1]


def test_it_is_asked_for_when_the_channel_comes_up() -> None:
    assert SnapshotRelay(CLIENT, VIP) in Active().channel_up()


def test_not_without_remirror() -> None:
    """What a BIG-IP does (K13478)."""
    active = Active(remirror=False)
    assert not [c for c in active.channel_up() if isinstance(c, SnapshotRelay)]


@given(
    st.lists(st.tuples(st.booleans(), st.binary(max_size=40), st.booleans()), max_size=8),
    st.lists(st.tuples(st.booleans(), st.binary(min_size=1, max_size=40)), max_size=5),
    st.sampled_from([100, WRAP]),
)
@examples(150)
def test_the_plan_is_the_same_as_if_followed_from_the_beginning(before, after, start) -> None:
    """Bytes each way, acknowledged or not, then a snapshot, then more bytes."""
    whole = Talk(start, start, start, start).open()
    sent = {True: 0, False: 0}  # by the client, by the member
    acked = {True: 0, False: 0}  # of the client's bytes by the member, and so on

    def say(by_client: bool, data: bytes, talk: Talk) -> None:
        speak = talk.client if by_client else talk.member
        speak(data, sent[by_client], acked[not by_client])

    for by_client, data, acknowledges in before:
        if acknowledges:
            acked[not by_client] = sent[not by_client]
        say(by_client, data, whole)
        sent[by_client] += len(data)
    active = Active()
    active.channel_up()
    part = Talk(start, start, start, start)
    part.tracker = standby(active.mirror(snapshot(whole.tracker.plan(RECORD, 0.0))))
    for by_client, data in after:
        for talk in (whole, part):
            say(by_client, data, talk)
        sent[by_client] += len(data)
    plans = whole.tracker.plan(RECORD, 0.0), part.tracker.plan(RECORD, 0.0)
    alike(plans[0].client, plans[1].client)
    alike(plans[0].server, plans[1].server)


def test_a_half_closed_connection_stays_half_closed() -> None:
    """The client's FIN is part of the state; our own, acknowledged by the member, is not sent
    to it as new bytes."""
    talk = Talk().open()
    talk.client(b"bye", flags=ACK | FIN)
    event = snapshot(talk.tracker.plan(RECORD, 0.0))
    done = replace(event.server_leg, unacknowledged=b"", snd_una=talk.s + 5, fin_acknowledged=True)
    active = Active()
    active.channel_up()
    tracker = standby(active.mirror(replace(event, server_leg=done)))
    assert tracker.client.fin_received
    assert tracker.server.acknowledged == 1  # the FIN, behind the end of the bytes
    plan = tracker.plan(RECORD, 0.0)
    assert plan.client.fin is not None
    assert plan.client.rcv_nxt == talk.c + 4  # behind "bye"; the FIN is told separately
    assert plan.server is not None
    assert plan.server.sent == plan.server.unsent == b""


def test_bytes_beyond_a_gap_put_it_off() -> None:
    """They are in the kernel, cannot be read, and will be acknowledged once the gap closes."""
    talk, active = Talk().open(), Active()
    active.channel_up()
    event = snapshot(talk.tracker.plan(RECORD, 0.0))
    active.flow.client_side.edge = event.client_leg.rcv_nxt + 100
    commands = active.device.handle(event, 0.0)
    assert [c.what for c in commands if isinstance(c, Note)] == ["resync-deferred"]
    assert not active.flow.copied
    assert active.device.handle(event, 0.0) == []  # said once
    assert SnapshotRelay(CLIENT, VIP) in active.device.handle(Tick(), 1.0)
    active.flow.client_side.edge = event.client_leg.rcv_nxt
    assert active.mirror(event)
    assert active.flow.copied


def test_more_than_a_standby_keeps_puts_it_off() -> None:
    talk, active = Talk().open(), Active()
    active.channel_up()
    event = snapshot(talk.tracker.plan(RECORD, 0.0))
    much = replace(event.client_leg, unread=bytes(LIMIT + 1))
    (note,) = active.device.handle(replace(event, client_leg=much), 0.0)
    assert isinstance(note, Note)
    assert f"{LIMIT + 1} bytes" in str(note.details["reason"])


@pytest.mark.parametrize("parts", [1, 2, 3, 4])
def test_a_resync_cut_short_is_not_restored(parts: int) -> None:
    """The channel may end behind any message."""
    talk, active = Talk().open(), Active()
    talk.client(b"question")
    active.channel_up()
    messages = active.mirror(snapshot(talk.tracker.plan(RECORD, 0.0)))
    kinds = [type(m.body) for m in messages]
    assert kinds == [FlowUp, LegBytes, LegState, LegState]
    tracker = standby(messages[:parts])
    if parts == 4:
        assert tracker.plan(RECORD, 0.0).server is not None
        return
    with pytest.raises(NotRestorable):
        tracker.plan(RECORD, 0.0)


def test_it_counts_as_mirrored_when_the_last_part_is_acknowledged() -> None:
    talk, active = Talk().open(), Active()
    active.channel_up()
    messages = active.mirror(snapshot(talk.tracker.plan(RECORD, 0.0)))
    active.device.handle(PeerMessages((Message(0, Ack(messages[-2].sequence)),)), 0.0)
    assert not active.flow.mirrored
    active.device.handle(PeerMessages((Message(0, Ack(messages[-1].sequence)),)), 0.0)
    assert active.flow.mirrored


def test_the_channel_gets_no_more_than_it_takes() -> None:
    """Another flow waits until the peer has most of the first one's bytes."""
    talk, active = Talk().open(), Active()
    other = replace(active.record, client=CLIENT._replace(port=7), snat=SNAT._replace(port=7))
    event = snapshot(talk.tracker.plan(RECORD, 0.0))
    large = replace(event.client_leg, unread=bytes(2 << 20))
    active.channel_up()
    messages = active.mirror(replace(event, client_leg=large))
    active.device.traffic.table.add(Flow(other, FlowState.OPEN, 0.0, 0.0, standard=True))
    asked = SnapshotRelay(other.client, other.virtual)
    assert asked not in active.device.handle(Tick(), 1.0)
    done = PeerMessages((Message(0, Ack(messages[-1].sequence)),))
    assert asked in active.device.handle(done, 1.1)


def test_sequence_numbers_move_up_across_the_wrap() -> None:
    talk, active = Talk(WRAP, WRAP, WRAP, WRAP).open(), Active()
    talk.client(b"0123456789")
    active.channel_up()
    plan = talk.tracker.plan(RECORD, 0.0)
    state = next(m.body for m in active.mirror(snapshot(plan)) if isinstance(m.body, LegState))
    assert state.irs + 11 == plan.client.rcv_nxt == SeqNum((WRAP + 11) % (1 << 32))
    assert RECORD.member == MEMBER
