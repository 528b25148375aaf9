"""The short way of a flow's SYN-ACKs, FINs and last acknowledgements is the long way's."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import example, given
from hypothesis import strategies as st

from emulator.core.commands import Decelerate, Release
from emulator.core.device import Device
from emulator.core.flow import FlowState
from emulator.wire.segment import ACK, FIN, PSH, RST, SYN, Endpoint, Segment
from tests.support.pair import active_device, config, server
from tests.support.segments import CLIENT, MEMBER, SNAT_A, VIRTUAL, queued, segment, syn

Step = tuple[int, bool, int, bytes]  # flags, from the client, acknowledgement, payload

steps = st.lists(
    st.tuples(
        st.integers(0, 255)
        | st.sampled_from([ACK, FIN | ACK, SYN | ACK, SYN, PSH | ACK, RST | ACK]),
        st.booleans(),
        st.integers(0, (1 << 32) - 1),
        st.binary(max_size=40),
    ),
    max_size=12,
)


def with_a_flow(*, accelerated: bool = False, loose_close: bool = False) -> Device:
    chosen = server(mirroring=False, accelerated=accelerated, loose_close=loose_close)
    device = active_device(config(server=chosen), channel=False)
    device.handle(queued(1, syn()), 0.0)
    return device


def made(step: Step) -> Segment:
    flags, from_client, ack, payload = step
    ends = (CLIENT, VIRTUAL) if from_client else (MEMBER, SNAT_A)
    return segment(flags, *ends, ack=ack, payload=payload)


def seen(device: Device) -> list[tuple[object, ...]]:
    """All that a decision may ever rest on."""
    return [
        (
            flow.record, flow.state, flow.seen,
            [(s.ack, s.fin, s.packets, s.octets) for s in (flow.client_side, flow.server_side)],
        )
        for flow in device.traffic.table.flows()
    ]  # fmt: skip


@given(steps, st.booleans(), st.booleans())
@example([(FIN | ACK, True, 9, b"x"), (FIN | ACK, False, 9, b"")], False, False)
@example([(FIN | ACK, True, 9, b"x"), (SYN, True, 0, b"")], False, True)
def test_either_way_the_flow_ends_up_the_same(
    script: list[Step], accelerated: bool, loose_close: bool
) -> None:
    short, long = (with_a_flow(accelerated=accelerated, loose_close=loose_close) for _ in "ab")
    for number, step in enumerate(script, 2):
        event = queued(number, made(step))
        told = long.handle(event, float(number))
        if short.traffic.passes(made(step).emit()[:128], float(number)):
            assert told == [Release(number)]
        else:
            assert short.handle(event, float(number)) == told
        assert seen(short) == seen(long)


def test_a_whole_close_takes_the_short_way():
    device = with_a_flow()
    for step in ((SYN | ACK, False), (FIN | ACK, True), (FIN | ACK, False), (ACK, True)):
        flags, from_client = step
        assert device.traffic.passes(made((flags, from_client, 7, b"")).emit(), 1.0), step
    (flow,) = device.traffic.table.flows()
    assert flow.state is FlowState.CLOSING


def test_an_accelerated_flow_comes_back_after_its_fin():
    device = with_a_flow(accelerated=True)
    (flow,) = device.traffic.table.flows()
    assert device.traffic.passes(made((FIN | ACK, True, 7, b"")).emit(), 1.0)
    assert device.traffic.sweep(1.0) == [Decelerate((flow.record,))]


def test_what_the_parser_would_refuse_is_left_to_it():
    device = with_a_flow()
    fragment = bytearray(made((FIN | ACK, True, 7, b"")).emit())
    fragment[6] |= 0x20
    for header in (0, 4, 15):
        short = bytearray(made((FIN | ACK, True, 7, b"")).emit())
        short[32] = header << 4
        assert not device.traffic.passes(bytes(short), 1.0)
    assert not device.traffic.passes(bytes(fragment), 1.0)
    assert not device.traffic.passes(b"\x45" + b"\0" * 38, 1.0)


def test_an_unknown_flows_fin_is_left_to_the_long_way():
    device = with_a_flow()
    other = replace(made((FIN | ACK, True, 7, b"")), source=Endpoint.of("198.51.100.99:1"))
    assert not device.traffic.passes(other.emit(), 1.0)
