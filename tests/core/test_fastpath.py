"""The fast path passes what needs no decision, notes what it saw, and survives any bytes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulator.core.fastpath import established
from emulator.core.flow import Flow, FlowState, FlowTable
from emulator.wire.segment import ACK, FIN, PSH, RST, SYN, URG, Segment
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
)

TO_VIRTUAL = data(payload=b"abc").emit()
TO_SNAT = data(MEMBER, SNAT_A, ack=0x01020304).emit()


def open_flow(state: FlowState = FlowState.OPEN) -> tuple[FlowTable, Flow]:
    table, flow = FlowTable(), Flow(record(), state, 0.0, 0.0)
    table.add(flow)
    return table, flow


def with_ip_options(packet: bytes, words: int) -> bytes:
    """The packet with an IP header `words` longer, all no-operation options."""
    length = (len(packet) + 4 * words).to_bytes(2, "big")
    head = bytes([packet[0] + words]) + packet[1:2] + length + packet[4:20]
    return head + b"\x01" * 4 * words + packet[20:]


def test_a_segment_of_an_open_flow_passes_in_either_direction():
    table, flow = open_flow()
    assert established(table.sides, TO_VIRTUAL, 7.0)
    assert established(table.sides, TO_SNAT, 8.0)
    assert (flow.packets, flow.seen) == (2, 8.0)


def test_each_sides_acknowledgement_is_noted():
    """What a reset at idle expiry will need: the number that end expects next."""
    table, flow = open_flow()
    established(table.sides, data(ack=0xFFFFFFFF).emit(), 1.0)
    established(table.sides, TO_SNAT, 2.0)
    assert flow.client_side.ack == b"\xff\xff\xff\xff"
    assert flow.server_side.ack == b"\x01\x02\x03\x04"


@pytest.mark.parametrize("flags", [SYN, SYN | ACK, FIN | ACK, RST, RST | ACK])
def test_what_moves_a_flows_state_goes_the_long_way(flags):
    table, flow = open_flow()
    assert not established(table.sides, segment(flags).emit(), 7.0)
    assert (flow.packets, flow.seen, flow.client_side.ack) == (0, 0.0, b"")


@pytest.mark.parametrize("flags", [ACK, PSH | ACK, URG | ACK, 0xF8])
def test_other_flags_need_no_decision(flags):
    table, _ = open_flow()
    assert established(table.sides, segment(flags).emit(), 7.0)


@pytest.mark.parametrize("state", [FlowState.PENDING, FlowState.CLOSING])
def test_only_an_open_flow_takes_the_fast_path(state):
    """Pending: its first packet is not mirrored yet. Closing: a SYN may reopen it."""
    table, flow = open_flow(state)
    assert not established(table.sides, TO_VIRTUAL, 7.0)
    assert flow.packets == 0


@pytest.mark.parametrize(
    "packet",
    [
        data(VIRTUAL, CLIENT).emit(),
        data(SNAT_A, MEMBER).emit(),
        data(CLIENT, MEMBER).emit(),
        TO_VIRTUAL[:9] + b"\x11" + TO_VIRTUAL[10:],
    ],
    ids=["client side reversed", "server side reversed", "sides mixed", "UDP"],
)
def test_a_packet_of_no_flow_does_not_pass(packet):
    table, _ = open_flow()
    assert not established(table.sides, packet, 7.0)


@pytest.mark.parametrize("words", [1, 5, 10])
def test_ip_options_move_the_tcp_header(words):
    table, flow = open_flow()
    assert established(table.sides, with_ip_options(TO_SNAT, words), 7.0)
    assert flow.server_side.ack == b"\x01\x02\x03\x04"
    closing = with_ip_options(segment(FIN | ACK).emit(), words)
    assert not established(table.sides, closing, 8.0)


def test_no_bytes_are_no_established_segment():
    table, _ = open_flow()
    assert not established(table.sides, b"", 7.0)


@pytest.mark.parametrize("length", range(1, 40))
def test_a_packet_cut_in_its_headers_does_not_pass(length):
    table, flow = open_flow()
    assert not established(table.sides, TO_VIRTUAL[:length], 7.0)
    assert flow.packets == 0


@pytest.mark.parametrize("first", [0x40, 0x41, 0x44, 0x4F, 0x55, 0x65, 0x05])
def test_a_header_that_is_not_ipv4_does_not_pass(first):
    """The key of such a "packet" is in the table, so only its first byte gives it away."""
    ihl = (first & 15) * 4
    packet = bytearray(TO_VIRTUAL.ljust(60, b"\0"))
    packet[ihl : ihl + 4] = TO_VIRTUAL[20:24]
    packet[0] = first
    table = FlowTable()
    flow = Flow(record(), FlowState.OPEN, 0.0, 0.0)
    table.add(flow)
    table.sides[bytes(packet[12:20] + packet[ihl : ihl + 4])] = flow.client_side
    assert not established(table.sides, bytes(packet), 7.0)


ip_headers = st.one_of(
    st.binary(max_size=100),
    mutated(st.sampled_from((TO_VIRTUAL, TO_SNAT, with_ip_options(TO_VIRTUAL, 3)))),
)


@given(ip_headers)
@examples(500)
def test_any_bytes_are_answered_and_true_means_the_key_is_there(packet):
    """Never an exception: an exception would end the device. Never a yes without a flow."""
    table, flow = open_flow()
    if established(table.sides, packet, 7.0):
        ihl = (packet[0] & 15) * 4
        assert packet[12:20] + packet[ihl : ihl + 4] in table.sides
        assert packet[9] == 6
        assert (packet[0] >> 4, len(packet) >= ihl + 20) == (4, True)
        assert not packet[ihl + 13] & (FIN | SYN | RST)
        assert flow.packets == 1


@given(
    st.sampled_from(((CLIENT, VIRTUAL), (MEMBER, SNAT_A), (VIRTUAL, CLIENT))),
    st.integers(0, 0xFF),
    st.integers(0, 10),
    st.binary(max_size=10),
)
@examples(150)
def test_it_agrees_with_the_parser(ends, flags, words, payload):
    """The same answer as by way of a Segment, for every well-formed packet."""
    table, _ = open_flow()
    packet = with_ip_options(segment(flags, *ends, payload=payload).emit(), words)
    seen = Segment.parse(packet)
    known = table.get(seen.source, seen.destination) is not None
    decides = bool(seen.flags & (SYN | FIN | RST))
    assert established(table.sides, packet, 7.0) == (known and not decides)
