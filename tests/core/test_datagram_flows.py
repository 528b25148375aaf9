"""UDP flows and forwarding servers on a device, and on a pair."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulator.core import fastpath
from emulator.core.config import Protocol, ServerType, Snat
from emulator.core.flow import Flow, FlowState, FlowTable, key
from emulator.wire.datagram import Datagram
from emulator.wire.segment import ACK, PROTO_UDP, Endpoint
from tests.support.pair import A, B, Pair, server
from tests.support.segments import CLIENT, MEMBER, VIRTUAL, data, examples, mutated, record, syn

UDP = server(mirroring=True, protocol=Protocol.UDP)
BOTH = replace(UDP, protocol=Protocol.ANY)
ASKS = Datagram(CLIENT, VIRTUAL, b"who", 3)


def running(vs=UDP, **changes) -> Pair:
    pair = Pair(vs, **changes).power_on(A, B)
    pair.run(5)
    assert pair.active == [A]
    return pair


def sent(pair: Pair, datagram: Datagram = ASKS) -> str:
    number = pair.datagram(datagram)
    pair.run(0.05)
    return pair.verdict(number)


def test_the_first_datagram_makes_a_flow_and_the_next_ones_pass() -> None:
    pair = running()
    assert [sent(pair) for _ in range(3)] == ["released", "passed", "passed"]
    [flow] = pair.a.flows
    assert (flow.client, flow.virtual, flow.member) == (CLIENT, VIRTUAL, MEMBER)
    assert (flow.protocol, flow.idle_timeout_s) == (PROTO_UDP, 60)
    answer = Datagram(flow.member, flow.snat, b"me", 2)
    assert sent(pair, answer) == "passed"


def test_a_mirrored_flow_is_at_the_standby_before_the_datagram_is_released() -> None:
    pair = running()
    number = pair.datagram(ASKS)
    assert pair.verdict(number) == "held"
    assert pair.verdict(pair.datagram(ASKS)) == "discarded"
    pair.run(0.05)
    assert pair.verdict(number) == "released"
    assert pair.b.flows == pair.a.flows
    pair.power_off(A)
    pair.run(10)
    assert pair.b.notes("flow-restored")
    assert sent(pair) == "passed"


def test_without_mirroring_the_next_datagram_makes_a_new_flow() -> None:
    pair = running(replace(UDP, mirroring=False))
    sent(pair)
    pair.power_off(A)
    pair.run(10)
    assert not pair.b.flows
    assert [sent(pair), sent(pair)] == ["released", "passed"]


def test_an_idle_flow_ends_at_both_devices_without_a_word_to_the_ends() -> None:
    pair = running()
    sent(pair)
    pair.run(50)
    sent(pair)
    pair.run(50)
    assert pair.a.flows
    pair.run(20)
    assert not pair.a.flows
    assert not pair.b.flows
    assert pair.a.sent == []
    assert pair.a.device.traffic.reset_causes == {}  # of resets that were sent
    assert pair.a.kernel == {}


def test_a_takeover_kick_is_for_tcp() -> None:
    pair = running(takeover_kick=True)
    sent(pair)
    pair.power_off(A)
    pair.run(20)
    assert pair.b.notes("flow-restored")
    assert pair.b.sent == pair.b.unreachable == []
    assert sent(pair) == "passed"


def test_a_standby_serves_no_datagram() -> None:
    pair = running()
    assert pair.verdict(pair.datagram(ASKS, at=B)) == "discarded"


@pytest.mark.parametrize("to", ["10.99.0.11:22", "10.0.1.11:22"])
def test_what_is_for_no_virtual_server_is_dropped(to: str) -> None:
    assert sent(running(), Datagram(CLIENT, Endpoint.of(to))) == "discarded"


def test_protocols_are_told_apart() -> None:
    """The same four numbers as TCP and as UDP: two flows."""
    pair = running(BOTH)
    sent(pair)
    assert len(pair.a.flows) == 1
    table = pair.a.device.traffic.table
    assert table.get(CLIENT, VIRTUAL) is None
    assert table.get(CLIENT, VIRTUAL, PROTO_UDP) is not None
    pair = running(UDP)
    assert pair.client_connects() == "discarded"  # TCP: no listener
    pair = running(server())
    assert sent(pair) == "discarded"


def test_a_table_holds_both_and_removes_one() -> None:
    table = FlowTable()
    tcp = Flow(record(), FlowState.OPEN, 0.0, 0.0)
    udp = Flow(replace(record(), protocol=PROTO_UDP), FlowState.OPEN, 0.0, 0.0)
    assert table.add(tcp) is table.add(udp) is None
    assert len(table) == 2
    table.remove(tcp)
    assert table.flows() == [udp]
    assert table.taken(udp.record.member, udp.record.snat, PROTO_UDP)
    assert not table.taken(udp.record.member, udp.record.snat)


# The fast path.


def sides() -> dict:
    table = FlowTable()
    table.add(Flow(replace(record(), protocol=PROTO_UDP), FlowState.OPEN, 0.0, 0.0))
    table.add(Flow(record(), FlowState.OPEN, 0.0, 0.0))
    return table.sides


def test_the_fast_path_takes_each_protocols_own() -> None:
    flows = sides()
    assert fastpath.datagram(flows, ASKS.emit(), 9.0)
    assert flows[key(CLIENT, VIRTUAL, PROTO_UDP)].flow.seen == 9.0
    assert flows[key(CLIENT, VIRTUAL)].flow.seen == 0.0
    assert not fastpath.established(flows, ASKS.emit(), 9.0)
    assert not fastpath.datagram(flows, data(payload=b"x").emit(), 9.0)


def test_fragments_and_closed_flows_go_the_long_way() -> None:
    flows = sides()
    fragment = bytearray(ASKS.emit())
    fragment[6] |= 0x20
    assert not fastpath.datagram(flows, bytes(fragment), 9.0)
    flows[key(CLIENT, VIRTUAL, PROTO_UDP)].flow.state = FlowState.PENDING
    assert not fastpath.datagram(flows, ASKS.emit(), 9.0)


@given(st.one_of(st.binary(max_size=60), mutated(st.just(ASKS.emit()))))
@examples(300)
def test_the_fast_path_never_raises(packet: bytes) -> None:
    if fastpath.datagram(sides(), packet, 1.0):
        ihl = (packet[0] & 15) * 4
        parsed = packet[12:20] + packet[ihl : ihl + 4]
        assert parsed in (key(CLIENT, VIRTUAL), key(record().member, record().snat))


# Forwarding.

WILDCARD = server(
    destination=Endpoint.of("0.0.0.0:0"),
    snat=Snat.NONE,
    type=ServerType.FORWARDING,
    network=IPv4Network("0.0.0.0/0"),
    pool=(),
)


def test_a_wildcard_forwards_to_where_a_segment_is_addressed() -> None:
    pair = running(WILDCARD)
    assert pair.client_connects(CLIENT, MEMBER) == "released"
    [flow] = pair.a.flows
    assert (flow.client, flow.virtual) == (flow.snat, flow.member) == (CLIENT, MEMBER)
    answer = data(MEMBER, CLIENT, payload=b"hello")
    assert pair.verdict(pair.packet(answer)) == "passed"
    pair.power_off(A)
    pair.run(10)
    assert pair.verdict(pair.packet(answer)) == "passed"


@pytest.mark.parametrize(("loose", "verdict"), [(True, "released"), (False, "discarded")])
@pytest.mark.parametrize("first", ["client", "server"])
def test_a_flow_in_the_middle_needs_loose_initiation(loose, verdict, first) -> None:
    """Whoever speaks first: nothing is translated, so both ways are alike."""
    pair = running(replace(WILDCARD, mirroring=False, loose_initiation=loose))
    ends = (CLIENT, MEMBER) if first == "client" else (MEMBER, CLIENT)
    number = pair.packet(data(*ends, payload=b"x"))
    assert pair.verdict(number) == verdict
    assert bool(pair.a.sent) is not loose
    if loose:
        assert pair.verdict(pair.packet(data(*reversed(ends), payload=b"y"))) == "passed"


def test_the_devices_own_addresses_are_in_no_wildcard() -> None:
    pair = running(replace(WILDCARD, loose_initiation=True))
    assert pair.verdict(pair.packet(syn(CLIENT, Endpoint.of("10.0.1.11:22")))) == "discarded"
    assert [s.flags & ACK for s in pair.a.sent] == [ACK]  # port lockdown: refused
    assert not pair.a.flows


def test_the_longer_prefix_decides() -> None:
    pair = Pair(WILDCARD)
    inner = replace(WILDCARD, name="vs_inner", network=IPv4Network("10.0.30.0/24"))
    exact = replace(server(), name="vs_exact")
    for name, told in pair.configs.items():
        pair.configs[name] = replace(told, virtual_servers=(WILDCARD, exact, inner))
    pair.power_on(A, B)
    pair.run(5)
    for target in (MEMBER, VIRTUAL, Endpoint.of("8.8.8.8:53")):
        pair.client_connects(CLIENT, target)
    assert {f.virtual: f.virtual_server for f in pair.a.flows} == {
        MEMBER: "vs_inner", VIRTUAL: "vs_exact", Endpoint.of("8.8.8.8:53"): WILDCARD.name,
    }  # fmt: skip
