"""Both halves of the mirroring session, without a channel between them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from emulator.core.flow import Flow, FlowState, FlowTable
from emulator.core.mirroring import Lag, Receiver, Sender
from emulator.core.refusals import Refused
from emulator.wire.mirror import (
    Body,
    FlowDown,
    FlowRecord,
    FlowUp,
    Hello,
    Message,
    ResyncEnd,
    ResyncStart,
)
from emulator.wire.segment import Endpoint
from tests.support.pair import client
from tests.support.segments import CLIENT, SNAT_A, SNAT_B, VIRTUAL, examples, record

GROUP = "traffic-group-1"


def of(number: int) -> FlowRecord:
    """Client `number`, its port preserved."""
    return record(client(number), Endpoint(SNAT_A.address, client(number).port))


def flow(number: int = 0) -> Flow:
    return Flow(of(number), FlowState.OPEN, 0.0, 0.0)


def started(*flows: Flow, now: float = 0.0) -> Sender:
    sender = Sender("bigip-a", GROUP)
    sender.start(flows, now)
    return sender


class Standby:
    """A receiver and its table; takes bodies in order."""

    def __init__(self, *holds: Flow) -> None:
        self.table = FlowTable()
        for one in holds:
            self.table.add(one)
        self._receiver = Receiver(self.table, GROUP)

    def take(self, *bodies: Body, now: float = 0.0) -> list[str]:
        """What speaks against each of them."""
        found = []
        for number, body in enumerate(bodies, start=1):
            try:
                self._receiver.apply(Message(number, body), now)
                found.append("")
            except Refused as why:
                found.append(why.detail)
        return found

    @property
    def clients(self) -> list:
        return [one.record.client for one in self.table.flows()]


def test_a_channel_begins_with_hello_and_a_full_resync():
    sender = Sender("bigip-a", GROUP)
    one, two = flow(1), flow(2)
    assert sender.start([one, two], 0.0) == [
        Message(1, Hello("bigip-a", GROUP, active=True)),
        Message(2, ResyncStart()),
        Message(3, FlowUp(one.record)),
        Message(4, FlowUp(two.record)),
        Message(5, ResyncEnd()),
    ]
    assert sender.connected


def test_numbering_begins_again_on_a_new_channel():
    sender = started(flow())
    sender.stop()
    assert [message.sequence for message in sender.start([], 9.0)] == [1, 2, 3]


def test_acknowledgement_is_cumulative_and_tells_each_flow_once():
    one, two = flow(1), flow(2)
    sender = started()
    sender.send(FlowUp(one.record), 0.0, one)
    sender.send(FlowUp(two.record), 0.0, two)
    assert sender.acknowledged(3) == []
    assert sender.acknowledged(5) == [one, two]
    assert sender.acknowledged(5) == []


def test_an_old_acknowledgement_acknowledges_nothing_new():
    one = flow(1)
    sender = started(one)
    assert sender.acknowledged(2) == []
    assert sender.acknowledged(3) == [one]


def test_on_a_lost_channel_nothing_is_waited_for():
    sender = started(flow(1), flow(2))
    sender.acknowledged(3)
    sender.stop()
    assert not sender.connected
    assert sender.lag(9.0) == Lag(0, 0, 0.0)
    assert sender.acknowledged(9) == []


def test_lag_is_what_the_peer_has_not_acknowledged():
    sender = started(now=10.0)
    sender.acknowledged(3)
    assert sender.lag(11.0) == Lag(0, 0, 0.0)
    first = sender.send(FlowUp(record()), 12.0)
    second = sender.send(FlowDown(CLIENT, VIRTUAL), 12.5)
    assert sender.lag(13.0) == Lag(2, len(first.emit()) + len(second.emit()), 1.0)
    sender.acknowledged(4)
    assert sender.lag(13.0) == Lag(1, len(second.emit()), 0.5)


def test_a_flow_up_is_a_flow_in_the_standbys_table():
    standby = Standby()
    assert standby.take(FlowUp(record()), now=7.0) == [""]
    (held,) = standby.table.flows()
    assert held.record == record()
    assert (held.state, held.mirrored, held.seen) == (FlowState.OPEN, True, 7.0)


def test_a_flow_down_takes_it_out_again():
    standby = Standby()
    standby.take(FlowUp(record()), FlowDown(CLIENT, VIRTUAL))
    assert standby.table.sides == {}


def test_a_flow_down_for_a_flow_never_heard_of_is_no_fault():
    assert Standby().take(FlowDown(CLIENT, VIRTUAL)) == [""]


def test_a_resync_ends_with_what_the_active_device_holds():
    """Kept, new and changed flows stay; what was not sent again is gone, but not before."""
    standby = Standby(flow(1), flow(2))
    changed = record(client(2), SNAT_B)
    standby.take(ResyncStart(), FlowUp(of(3)), FlowUp(changed))
    assert len(standby.table) == 3
    standby.take(ResyncEnd())
    assert standby.clients == [client(3), client(2)]
    assert standby.table.flows()[1].record == changed


def test_a_flow_closed_during_a_resync_stays_closed():
    standby = Standby()
    standby.take(ResyncStart(), FlowUp(record()), FlowDown(CLIENT, VIRTUAL), ResyncEnd())
    assert standby.clients == []


def test_a_resync_cut_short_removes_nothing():
    """The next channel's resync decides anew what is stale."""
    standby = Standby(flow(1), flow(2))
    standby.take(ResyncStart(), FlowUp(of(1)))
    standby.take(ResyncStart(), FlowUp(of(2)), ResyncEnd())
    assert standby.clients == [client(2)]


def test_after_a_resync_single_flows_come_and_go():
    standby = Standby()
    standby.take(ResyncStart(), ResyncEnd(), FlowUp(of(1)), ResyncEnd())
    assert standby.clients == [client(1)]


def test_another_traffic_groups_channel_is_refused():
    (why,) = Standby().take(Hello("bigip-a", "traffic-group-2", True))
    assert why == "the peer mirrors traffic-group-2, this channel is traffic-group-1"


def test_a_peer_that_is_not_active_has_nothing_to_mirror():
    (why,) = Standby().take(Hello("bigip-a", GROUP, False))
    assert why == "the peer does not claim to be active"


changes = st.lists(
    st.tuples(st.sampled_from(("up", "down", "channel lost", "channel back")), st.integers(0, 4)),
    max_size=30,
)


@given(changes)
@examples(150)
def test_after_a_resync_the_standby_holds_what_the_active_holds(story):
    """Flows come and go, some while there is no channel; whole or cut, one resync mends it."""
    active, standby = {}, Standby()
    sender = Sender("bigip-a", GROUP)

    def tell(message: Message) -> None:
        assert standby._receiver.apply(message, 0.0) == []

    for what, number in story:
        if what == "up" and number not in active:
            active[number] = flow(number)
            body: Body = FlowUp(active[number].record)
        elif what == "down" and number in active:
            body = FlowDown(active.pop(number).record.client, VIRTUAL)
        else:
            if what == "channel lost":
                sender.stop()
            elif what == "channel back":
                for message in sender.start(active.values(), 0.0)[: number + 2]:  # perhaps cut
                    tell(message)
                sender.stop()
            continue
        if sender.connected:
            tell(sender.send(body, 0.0))
    for message in sender.start(active.values(), 0.0):
        tell(message)
    assert sorted(standby.clients) == sorted(one.record.client for one in active.values())
