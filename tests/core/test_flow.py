"""The connection table: two keys a flow, and every flow found by both or by none."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from emulator.core.flow import Flow, FlowState, FlowTable, key
from emulator.wire.segment import Endpoint
from tests.support.pair import client
from tests.support.segments import (
    CLIENT,
    MEMBER,
    SNAT_A,
    SNAT_B,
    VIRTUAL,
    data,
    endpoints,
    examples,
    record,
)


def flow(number: int = 0, **changes: object) -> Flow:
    """The flow of client `number`, SNATed to the same port on bigip-a."""
    snat = Endpoint(SNAT_A.address, client(number).port)
    return Flow(record(client(number), snat, **changes), FlowState.OPEN, 0.0, 0.0)


def test_both_sides_lead_to_the_flow():
    table, one = FlowTable(), flow()
    table.add(one)
    assert table.get(CLIENT, VIRTUAL) is one
    assert table.get(MEMBER, SNAT_A) is one
    assert table.sides[key(CLIENT, VIRTUAL)] is one.client_side
    assert table.sides[key(MEMBER, SNAT_A)] is one.server_side
    assert (one.client_side.from_client, one.server_side.from_client) == (True, False)


def test_a_side_is_found_by_what_its_sender_sends_only():
    table = FlowTable()
    table.add(flow())
    assert table.get(VIRTUAL, CLIENT) is None
    assert table.get(SNAT_A, MEMBER) is None


@given(endpoints, endpoints)
@examples(50)
def test_the_key_is_the_headers_own_bytes(source, destination):
    """What the fast path cuts out of a packet is what the table is keyed by."""
    packet = data(source, destination).emit()
    assert key(source, destination) == packet[12:20] + packet[20:24]


def test_a_removed_flow_is_gone_from_both_sides():
    table, one, other = FlowTable(), flow(), flow(1)
    table.add(one)
    table.add(other)
    table.remove(one)
    assert (table.get(CLIENT, VIRTUAL), table.get(MEMBER, SNAT_A)) == (None, None)
    assert table.flows() == [other]
    assert len(table) == 1


def test_removing_twice_does_nothing_more():
    table, one = FlowTable(), flow()
    table.add(one)
    table.remove(one)
    table.remove(one)
    assert table.sides == {}


def test_a_newer_flow_of_the_same_client_replaces_the_older_whole():
    """As at resync: the record has another SNAT address now; the old one is free again."""
    table, old = FlowTable(), flow()
    new = Flow(record(CLIENT, SNAT_B), FlowState.OPEN, 1.0, 1.0)
    assert table.add(old) is None
    assert table.add(new) is old
    assert table.flows() == [new]
    assert table.get(MEMBER, SNAT_A) is None
    assert table.get(MEMBER, SNAT_B) is new


def test_a_late_removal_spares_the_flow_that_took_the_place():
    table, old, new = FlowTable(), flow(), flow()
    table.add(old)
    table.add(new)
    table.remove(old)
    assert table.get(CLIENT, VIRTUAL) is new
    assert table.get(MEMBER, SNAT_A) is new


def test_a_server_side_tuple_is_taken_while_its_flow_lives():
    table, one = FlowTable(), flow()
    table.add(one)
    assert table.taken(MEMBER, SNAT_A)
    assert not table.taken(MEMBER, SNAT_B)
    table.remove(one)
    assert not table.taken(MEMBER, SNAT_A)


def test_flows_come_oldest_first():
    table = FlowTable()
    added = [flow(number) for number in (3, 1, 2)]
    for one in added:
        table.add(one)
    assert table.flows() == added


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 3)), max_size=30))
@examples(100)
def test_the_table_behaves_as_a_dictionary_of_clients(steps):
    """Any order of adding and removing, against the plainest model."""
    table, model = FlowTable(), {}
    for adding, number in steps:
        if adding:
            one = flow(number)
            assert table.add(one) is model.pop(number, None)
            model[number] = one
        elif number in model:
            table.remove(model.pop(number))
    assert table.flows() == list(model.values())
    assert len(table) == len(model)
    assert len(table.sides) == 2 * len(model)
