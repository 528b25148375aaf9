"""A standby whose peer is broken, or somebody else: what it takes, what it refuses, and what
then is as it was."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulator.core.commands import CloseChannel, Command, Note, SendToPeer
from emulator.core.config import MirrorLimits, ServerType
from emulator.core.device import Device
from emulator.core.events import (
    ChannelDown,
    ChannelUp,
    HeartbeatHeard,
    PeerMessages,
    PeerRefused,
    Tick,
)
from emulator.core.heartbeatguard import HeartbeatGuard
from emulator.core.reassembly import LIMIT, MAX_PIECES, Reassembly
from emulator.core.refusals import QUIET_S, REASONS, Refusals, Refused
from emulator.device.account import flows as flows_of
from emulator.wire.heartbeat import SEALED_HEAD, TAG_OCTETS, Heartbeat, unsealed
from emulator.wire.mirror import (
    MAX_LEG_BYTES,
    Ack,
    Body,
    FlowAcks,
    FlowDown,
    FlowRecord,
    FlowUp,
    Hello,
    LegBytes,
    LegState,
    Message,
    Mirrored,
    ResyncEnd,
    ResyncStart,
    SnatKind,
)
from emulator.wire.mirrorparts import PersistDown, PersistRecord, PersistUp
from emulator.wire.segment import ACK, SYN, Endpoint, Segment
from tests.support.pair import SSH, A, B, active_device, client, config
from tests.support.segments import (
    CLIENT,
    MEMBER,
    SNAT_A,
    VIRTUAL,
    data,
    examples,
    mutated,
    record,
    segment,
    seqnums,
)

HELLO = Hello(A, "traffic-group-1", True)
STANDARD = replace(SSH, type=ServerType.STANDARD)


def standby(*, limits: MirrorLimits | None = None, standard: bool = False) -> Device:
    """bigip-b with a channel and its hello behind it."""
    server = STANDARD if standard else SSH
    device = Device(config(B, server, mirror_limits=limits or MirrorLimits()), 0.0)
    device.handle(HeartbeatHeard(Heartbeat(A, True, False, 0, 1)), 0.0)
    device.handle(ChannelUp(), 0.0)
    tell(device, HELLO)
    return device


def tell(device: Device, *bodies: Body, first: int = 1, now: float = 0.0) -> list[Command]:
    messages = tuple(Message(number, body) for number, body in enumerate(bodies, start=first))
    return device.handle(PeerMessages(messages), now)


def state(device: Device) -> Any:
    """All that mirroring has made."""
    flows = [
        (flow.record, flow.tracker and flow.tracker.held) for flow in device.traffic.table.flows()
    ]
    return flows, set(device.traffic.table.sides), device.traffic.persistence.keys()


def reasons(commands: list[Command]) -> list[object]:
    return [
        c.details["reason"] for c in commands if isinstance(c, Note) and c.what == "peer-refused"
    ]


# Order.


@pytest.mark.parametrize(
    ("bodies", "first"),
    [
        ([FlowUp(record())], 1),  # said once already
        ([FlowUp(record())], 3),  # one is missing
        ([FlowUp(record())], 0),
        ([HELLO], 2),
    ],
    ids=["again", "a gap", "before", "a second hello"],
)
def test_out_of_order_is_refused_and_changes_nothing(bodies: list[Body], first: int) -> None:
    device = standby()
    before = state(device)
    commands = tell(device, *bodies, first=first)
    assert reasons(commands) == ["sequence"]
    assert CloseChannel() in commands
    assert not any(isinstance(c, SendToPeer) for c in commands)  # not acknowledged
    assert state(device) == before
    assert not device.channel_up
    assert device.refusals.counts == {"sequence": 1}


def test_without_a_hello_nothing_is_taken() -> None:
    device = Device(config(B), 0.0)
    device.handle(ChannelUp(), 0.0)
    assert reasons(tell(device, FlowUp(record()))) == ["sequence"]
    assert state(device) == ([], set(), [])


def test_a_channel_begins_anew() -> None:
    device = standby()
    device.handle(ChannelDown("closed by the peer"), 1.0)
    device.handle(ChannelUp(), 1.0)
    assert reasons(tell(device, HELLO, FlowUp(record()))) == []
    assert len(device.traffic.table) == 1


def test_what_was_never_sent_cannot_be_acknowledged() -> None:
    device = active_device(config())
    sent = device.sender.last_sent
    commands = device.handle(PeerMessages((Message(0, Ack(sent + 1)),)), 1.0)
    assert reasons(commands) == ["sequence"]
    assert CloseChannel() in commands
    assert not device.channel_up


def test_a_resync_that_breaks_off_forgets_nothing() -> None:
    """Neither flows nor persistence records; the next one begins from there."""
    device = standby()
    kept = PersistRecord("vs_ssh", IPv4Address("10.0.0.1"), MEMBER, 180)
    tell(device, FlowUp(record()), PersistUp(kept), first=2)
    before = state(device)
    tell(device, ResyncStart(), Mirrored(b"nonsense"), first=4)
    assert device.refusals.counts == {"malformed": 1}
    assert state(device) == before
    device.handle(ChannelUp(), 1.0)
    tell(device, HELLO, ResyncStart(), ResyncEnd())
    assert state(device) == ([], set(), [])


# Amounts: what is too much costs the flow it is about, and is named.


def test_one_flow_more_than_allowed_is_not_entered() -> None:
    device = standby(limits=MirrorLimits(flows=3))
    flows = [FlowUp(record(client(n), Endpoint(SNAT_A.address, 2000 + n))) for n in range(5)]
    commands = tell(device, *flows, first=2)
    assert [flow.record.client for flow in device.traffic.table.flows()] == [
        client(n) for n in range(3)
    ]
    assert reasons(commands) == ["limit-flows"]
    assert device.refusals.counts == {"limit-flows": 2}
    assert device.channel_up
    tell(device, flows[0], FlowDown(client(1), VIRTUAL), flows[3], first=7)
    assert len(device.traffic.table) == 3  # one is told anew, one goes, one comes


def test_a_flow_that_takes_anothers_packets_takes_its_place() -> None:
    """Two flows with one server side cannot both be served; one with one side is none."""
    device = standby()
    tell(device, FlowUp(record()), FlowUp(record(client(1))), first=2)
    table = device.traffic.table
    assert [flow.record.client for flow in table.flows()] == [client(1)]
    assert len(table.sides) == 2
    one = FlowUp(record(MEMBER, VIRTUAL, member=MEMBER, virtual=VIRTUAL))
    assert reasons(tell(device, one, first=4)) == ["malformed"]
    assert len(table.sides) == 2


def test_one_persistence_record_more_than_allowed_is_not_entered() -> None:
    device = standby(limits=MirrorLimits(persistence_records=2))
    ups = [PersistUp(PersistRecord("vs_ssh", IPv4Address(n), MEMBER, 180)) for n in (1, 2, 3)]
    assert reasons(tell(device, *ups, first=2)) == ["limit-persistence"]
    assert len(device.traffic.persistence) == 2


def test_a_flow_with_more_bytes_than_there_is_room_for_is_given_up_alone() -> None:
    device = standby(limits=MirrorLimits(held_octets=100_000), standard=True)
    other = Endpoint(SNAT_A.address, 2000)
    piece = bytes(60_000)
    commands = tell(
        device, FlowUp(record()), FlowUp(record(client(1), other)),
        LegBytes(client(1), VIRTUAL, False, piece[:5000]),
        LegBytes(CLIENT, VIRTUAL, False, piece), LegBytes(CLIENT, VIRTUAL, False, piece),
        LegBytes(CLIENT, VIRTUAL, False, piece), first=2,
    )  # fmt: skip
    assert reasons(commands) == ["limit-memory"]
    table = device.traffic.table
    assert table.held_octets == 5000
    assert [flow.tracker.held for flow in table.flows()] == [0, 5000]  # type: ignore[union-attr]
    assert device.channel_up
    assert "no room" in str(flows_of(device, 1.0)[0]["unusable"])
    taken = take_over(device)
    assert any(isinstance(c, Note) and c.what == "restore-failed" for c in taken)


def test_of_one_flow_only_so_much_is_kept() -> None:
    device = standby(standard=True)
    pieces = [LegBytes(CLIENT, VIRTUAL, True, bytes(MAX_LEG_BYTES))] * (LIMIT // MAX_LEG_BYTES + 1)
    commands = tell(device, FlowUp(record()), *pieces, first=2)
    assert reasons(commands) == ["limit-reassembly"]
    assert device.traffic.table.held_octets == 0  # given up


def test_a_clients_segment_far_ahead_is_counted_and_costs_nothing() -> None:
    """It reaches the standby before the active device's TCP has thrown it away."""
    device = standby(standard=True)
    opening = [
        segment(SYN, seq=1000), segment(SYN | ACK, VIRTUAL, CLIENT, seq=5000, ack=1001),
        data(seq=1001, payload=b"hello"), data(seq=1001 + LIMIT + 5, payload=b"far"),
        data(seq=1006, payload=b" again"),
    ]  # fmt: skip
    commands = tell(device, FlowUp(record()), *(Mirrored(s.emit()) for s in opening), first=2)
    assert reasons(commands) == ["limit-reassembly"]
    assert device.channel_up
    (flow,) = device.traffic.table.flows()
    assert flow.tracker is not None
    assert flow.tracker.client.received.read(0, 11) == b"hello again"


def test_pieces_beyond_a_gap_are_bounded_in_number() -> None:
    """And put together in a time that grows with their number, not with its square."""
    stream = Reassembly()
    taken = [stream.insert(2 * n + 1, b"x") for n in range(MAX_PIECES + 10)]
    assert taken == [True] * MAX_PIECES + [False] * 10
    for n in range(100):
        stream.insert(2 * n, b"y")
    assert stream.end == 200


def test_the_table_counts_what_its_flows_hold() -> None:
    device = standby(standard=True)
    tell(device, FlowUp(record()), LegBytes(CLIENT, VIRTUAL, False, bytes(1000)), first=2)
    assert device.traffic.table.held_octets == 1000
    tell(device, FlowUp(record()), first=4)  # told anew: empty
    assert device.traffic.table.held_octets == 0
    tell(device, LegBytes(CLIENT, VIRTUAL, True, bytes(10)), FlowDown(CLIENT, VIRTUAL), first=5)
    assert device.traffic.table.held_octets == 0


# Anything.

few_clients = st.integers(0, 2).map(client)
few_ends = st.sampled_from([SNAT_A, MEMBER, VIRTUAL, CLIENT, Endpoint(IPv4Address(0), 0)])
few_records = st.builds(
    FlowRecord, st.sampled_from(["vs_ssh", "", "other"]), few_clients, st.just(VIRTUAL), few_ends,
    few_ends, st.sampled_from(SnatKind), st.integers(0, 0xFFFFFFFF),
)  # fmt: skip
few_segments = st.builds(
    Segment, st.one_of(few_clients, few_ends), st.one_of(few_ends, few_clients), seqnums, seqnums,
    st.integers(0, 0xFF), st.integers(0, 0xFFFF), st.binary(max_size=30),
    st.sampled_from([b"", bytes.fromhex("020405b4"), bytes.fromhex("01030307"), b"\xff" * 8]),
)  # fmt: skip
scales = st.one_of(st.none(), st.integers(0, 14))
persistence = st.builds(
    PersistRecord, st.just("vs_ssh"), st.ip_addresses(v=4), few_ends, st.integers(0, 9)
)
bodies = st.one_of(
    st.builds(FlowUp, few_records),
    st.builds(FlowDown, few_clients, st.just(VIRTUAL)),
    st.builds(Mirrored, few_segments.map(Segment.emit)),
    st.builds(Mirrored, mutated(few_segments.map(Segment.emit))),
    st.builds(LegBytes, few_clients, st.just(VIRTUAL), st.booleans(), st.binary(max_size=50)),
    st.builds(
        LegState, few_clients, st.just(VIRTUAL), st.booleans(), seqnums, seqnums, seqnums, seqnums,
        st.integers(0, 0xFFFF), scales, scales, st.booleans(),
        st.one_of(st.none(), st.integers(1, 0xFFFFFFFF)), st.booleans(),
    ),
    st.builds(FlowAcks, few_clients, st.just(VIRTUAL), seqnums, seqnums),
    st.builds(PersistUp, persistence),
    st.builds(PersistDown, st.just("vs_ssh"), st.ip_addresses(v=4)),
    st.just(ResyncStart()),
    st.just(ResyncEnd()),
    st.just(HELLO),
    st.builds(Ack, st.integers(0, 9)),
)  # fmt: skip


def take_over(device: Device) -> list[Command]:
    """The peer falls silent."""
    commands = device.handle(Tick(), 100.0)
    assert device.active
    return commands


@given(st.lists(bodies, max_size=30), st.booleans(), st.integers(1, 12))
@examples(150)
def test_whatever_the_peer_says_the_standby_lives_and_takes_over(
    story: list[Body], standard: bool, most: int
) -> None:
    """One refusal at most ends the channel; nothing said raises, then or at the takeover."""
    limits = MirrorLimits(flows=most, persistence_records=most, held_octets=200)
    device = standby(limits=limits, standard=standard)
    number = 1
    for body in story:
        number += not isinstance(body, Ack)
        before = state(device)
        commands = device.handle(PeerMessages((Message(number, body),)), 1.0)
        table = device.traffic.table
        assert len(table.flows()) == len(table) <= most
        assert len(device.traffic.persistence) <= most
        held = [flow.tracker.held for flow in table.flows() if flow.tracker is not None]
        assert table.held_octets == sum(held) <= 200
        if CloseChannel() in commands:
            assert state(device) == before
            break
    take_over(device)


# Heartbeats.

KEYS = (b"one's key", b"the other's")
BEAT = Heartbeat(A, True, False, 0, 7)


def guards(wall_us: int = 1_000_000_000) -> tuple[HeartbeatGuard, HeartbeatGuard]:
    def one(own: bytes, peer: bytes) -> HeartbeatGuard:
        return HeartbeatGuard(own, peer, wall_us=wall_us, tolerance_s=3.0)

    return one(*KEYS), one(*reversed(KEYS))


def test_a_heartbeat_comes_through_and_a_capture_shows_it() -> None:
    one, two = guards()
    sealed = one.seal(BEAT.emit(), 1_000_000_000)
    assert len(sealed) == SEALED_HEAD + len(BEAT.emit()) + TAG_OCTETS
    assert Heartbeat.parse(unsealed(sealed)) == BEAT
    assert Heartbeat.parse(two.unseal(sealed)) == BEAT
    assert unsealed(BEAT.emit()) == BEAT.emit()


def test_counters_grow_whatever_the_clock_does() -> None:
    one, two = guards()
    for clock in (1_000_000_000, 1_000_000_000, 5, 2_000_000_000):
        assert two.unseal(one.seal(BEAT.emit(), clock)) == BEAT.emit()


@pytest.mark.parametrize(
    ("reason", "forge"),
    [
        ("heartbeat-foreign", lambda one, two: BEAT.emit()),
        ("heartbeat-foreign", lambda one, two: b""),
        ("heartbeat-foreign", lambda one, two: two.seal(BEAT.emit(), 2_000_000_000)),  # its own
        ("heartbeat-replayed", lambda one, two: one.seal(BEAT.emit(), 999_999_999 - 3_000_000)),
    ],
    ids=["in clear text", "empty", "sent back", "from before it started"],
)
def test_a_forged_heartbeat_is_refused(reason: str, forge: Any) -> None:
    one, two = guards()
    with pytest.raises(Refused) as caught:
        two.unseal(forge(one, two))
    assert caught.value.reason == reason


def test_a_replayed_heartbeat_is_refused_and_a_newer_one_is_not() -> None:
    one, two = guards()
    first, second = (one.seal(BEAT.emit(), 1_000_000_000) for _ in range(2))
    two.unseal(second)
    for old in (second, first):
        with pytest.raises(Refused, match="counter"):
            two.unseal(old)
    two.unseal(one.seal(BEAT.emit(), 0))


@given(mutated(st.just(guards()[0].seal(BEAT.emit(), 1_000_000_000))))
@examples(150)
def test_no_change_of_a_heartbeat_goes_unnoticed(datagram: bytes) -> None:
    genuine = guards()[0].seal(BEAT.emit(), 1_000_000_000)
    if datagram == genuine:
        assert guards()[1].unseal(datagram) == BEAT.emit()
        return
    with pytest.raises(Refused) as caught:
        guards()[1].unseal(datagram)
    assert caught.value.reason == "heartbeat-foreign"


# The account of it.


def test_every_refusal_counts_and_the_journal_is_not_flooded() -> None:
    refusals = Refusals()
    told = [refusals.add("no-tls", "x", at / 100) for at in range(250)]
    lines = [note.details["count"] for notes in told for note in notes]
    assert lines == [1, 101, 201]
    assert QUIET_S == 1.0
    assert (refusals.total, refusals.counts) == (250, {"no-tls": 250})


def test_what_the_shell_refuses_is_counted_by_the_device() -> None:
    device = Device(config(), 0.0)
    for reason in REASONS:
        (note,) = device.handle(PeerRefused(reason, "why"), 1.0)
        assert note == Note("peer-refused", {"reason": reason, "detail": "why", "count": 1})
    assert device.refusals.total == len(REASONS)
