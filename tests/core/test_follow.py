"""The raw-byte paths of mirrored segments do what the ones with objects do."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulator.core.fastpath import mirrored
from emulator.core.flow import Flow, FlowState, FlowTable
from emulator.core.tracker import NotRestorable
from emulator.wire.mirror import Decoder, Message, Mirrored, mirrored_header
from emulator.wire.segment import ACK, FIN, PSH, RST, SYN, Segment
from emulator.wire.seqnum import SeqNum
from tests.core.test_tracker import CLIENT, MEMBER, SNAT, VIP, Talk, stamps
from tests.support.segments import record

CASES = st.lists(
    st.tuples(
        st.booleans(),  # from the client
        st.integers(-20, 60),  # where its bytes begin
        st.binary(max_size=30),
        st.integers(0, 40),  # what it has of ours
        st.integers(0, 2000),  # window
        st.sampled_from((b"", stamps(5, 600), stamps(5, 0), bytes.fromhex("01010402"))),
        st.sampled_from((ACK, ACK | PSH, ACK | FIN, RST, 0)),
    ),
    max_size=12,
)


@given(CASES, st.sampled_from((100, (1 << 32) - 20)))
def test_following_raw_bytes_leads_to_the_same_plan(cases, start):
    """Whatever comes: gaps, repetitions, the sequence space's wrap."""
    raw, plain = (Talk(c=start, v=start, s=start, m=start).open() for _ in range(2))
    for from_client, at, payload, acked, window, options, flags in cases:
        ends = (CLIENT, VIP) if from_client else (MEMBER, SNAT)
        theirs, ours = (plain.c, plain.v) if from_client else (plain.m, plain.s)
        segment = Segment(
            *ends, theirs + (1 + at), ours + (1 + acked), flags, window, payload, options
        )
        packet = segment.emit()
        plain.tracker.take(Segment.parse(packet), 0.0)
        if raw.tracker.follow(packet, from_client=from_client) is None:
            raw.tracker.take(Segment.parse(packet), 0.0)
    for one, other in ((raw.tracker.client, plain.tracker.client),
                       (raw.tracker.server, plain.tracker.server)):  # fmt: skip
        assert (one.received.start, one.received.end) == (other.received.start, other.received.end)
        assert (one.snd_una, one.fin_at, one.reset) == (other.snd_una, other.fin_at, other.reset)
    assert planned(raw) == planned(plain)


def planned(talk: Talk) -> object:
    """What would be restored, or why not."""
    try:
        return talk.plan()
    except NotRestorable as why:
        return str(why)


def test_a_plain_segment_is_followed_and_others_are_not():
    """Or the test above would compare one path with itself."""
    talk = Talk().open()
    seen = Segment(CLIENT, VIP, talk.c + 1, talk.v + 1, ACK, 100, b"hallo", stamps(5, 700))
    assert talk.tracker.follow(seen.emit(), from_client=True)
    for other in (
        replace(seen, flags=ACK | FIN), replace(seen, flags=RST), replace(seen, flags=SYN),
        replace(seen, options=bytes.fromhex("01010402")),
    ):  # fmt: skip
        assert talk.tracker.follow(other.emit(), from_client=True) is None
    assert talk.tracker.follow(seen.emit()[:-1], from_client=True) is None
    assert Talk().tracker.follow(seen.emit(), from_client=True) is None


FLOW = record()


def table(**about: object) -> tuple[FlowTable, Flow]:
    flows = FlowTable()
    flow = Flow(FLOW, FlowState.OPEN, 0.0, 0.0, standard=True, copied=True)
    for name, value in about.items():
        setattr(flow, name, value)
    flows.add(flow)
    return flows, flow


def of_client(flags: int = ACK, payload: bytes = b"hallo", seq: int = 1001) -> bytes:
    return Segment(FLOW.client, FLOW.virtual, SeqNum(seq), SeqNum(1), flags, 9, payload).emit()


def test_a_mirrored_segment_is_noted_and_its_content_measured():
    flows, flow = table()
    packet = of_client()
    assert mirrored(flows.sides, packet[:40], len(packet), 7.0) == (flow, 5)
    assert (flow.seen, flow.client_side.packets, flow.client_side.octets) == (7.0, 1, 45)
    assert flow.client_side.edge == SeqNum(1006)
    packet = of_client(payload=b"", seq=900)
    assert mirrored(flows.sides, packet, len(packet), 8.0) == (flow, 0)
    assert flow.client_side.edge == SeqNum(1006)


@pytest.mark.parametrize(
    ("about", "packet"),
    [
        ({}, of_client(ACK | FIN)),
        ({}, of_client(RST)),
        ({}, of_client(SYN)),
        ({}, of_client()[:-1]),
        ({}, b"\x46" + of_client()[1:]),
        ({"copied": False}, of_client()),
        ({"state": FlowState.CLOSING}, of_client()),
    ],
)
def test_what_is_to_be_decided_is_not_the_fast_paths(about, packet):
    flows, flow = table(**about)
    assert mirrored(flows.sides, packet, len(packet), 7.0) is None
    assert flow.packets == 0


def test_its_header_and_the_packet_are_the_message():
    packet = of_client()
    whole = mirrored_header(9, packet) + packet
    assert whole == Message(9, Mirrored(packet)).emit()
    assert Decoder().feed(whole) == [Message(9, Mirrored(packet))]
