"""The takeover kick: who is probed, what an answer sets off, and when it is enough."""

from __future__ import annotations

from dataclasses import replace

import pytest

from emulator.core.commands import Command, Note, SendSegment, SendToPeer, SendUnreachable
from emulator.core.device import Device
from emulator.core.events import PacketQueued, PeerMessages, Tick
from emulator.core.fastpath import established
from emulator.core.flow import Flow, FlowState, FlowTable
from emulator.core.kick import CANARIES, GIVE_UP_S, KICKS, STEP_S, Kicks
from emulator.wire.mirror import Ack, FlowAcks, FlowRecord, Message, SnatKind
from emulator.wire.segment import ACK, FIN, Endpoint, Segment
from emulator.wire.seqnum import SeqNum
from tests.support.pair import SSH, Pair, active_device, config
from tests.support.segments import syn

CLIENT, VIRTUAL = Endpoint.of("10.0.1.10:40000"), Endpoint.of("10.99.0.10:22")
SNAT, MEMBER = Endpoint.of("10.88.0.10:40000"), Endpoint.of("10.0.31.100:22")
OURS_C, OURS_S = SeqNum(5000), SeqNum(0)  # what the client, the member has had of ours
THEIRS_C, THEIRS_S = SeqNum(700), SeqNum(90000)


def record(number: int = 0) -> FlowRecord:
    return FlowRecord(
        "vs", CLIENT._replace(port=40000 + number), VIRTUAL, SNAT._replace(port=40000 + number),
        MEMBER, SnatKind.POOL, 300,
    )  # fmt: skip


class Taken:
    """Some flows, taken over at second 0."""

    def __init__(
        self, *, standard: bool, flows: int = 1, hints: bool = True, enabled: bool = True
    ) -> None:
        self.table = FlowTable()
        self.kicks = Kicks(self.table, enabled=enabled)
        self.flows = []
        for number in range(flows):
            flow = Flow(record(number), FlowState.OPEN, 0.0, 0.0, standard=standard)
            self.table.add(flow)
            self.flows.append(flow)
            for from_client, ours, theirs in (
                (True, OURS_C, THEIRS_C), (False, OURS_S, THEIRS_S),
            ):  # fmt: skip
                self.kicks.add(
                    flow, from_client=from_client, ours=ours if hints else None,
                    theirs=theirs if standard else None,
                )  # fmt: skip
        self.kicks.start(0.0)

    def run(self, start: float, end: float) -> list[Command]:
        """Every timer that falls due in (start, end]."""
        commands = []
        while (due := self.kicks.next_timer()) is not None and due <= end:
            commands += self.kicks.tick(max(due, start))
        return commands

    def client(self, ack: int, now: float, payload: bytes = b"") -> list[Command]:
        segment = Segment(CLIENT, VIRTUAL, SeqNum(800), SeqNum(ack), ACK, payload=payload)
        return self.kicks.arrived(self.flows[0], segment, from_client=True, now=now)

    def server(self, ack: int, now: float, payload: bytes = b"") -> list[Command]:
        segment = Segment(MEMBER, SNAT, SeqNum(91000), SeqNum(ack), ACK, payload=payload)
        return self.kicks.arrived(self.flows[0], segment, from_client=False, now=now)


def probes(commands: list[Command]) -> list[Segment]:
    return [c.segment for c in commands if isinstance(c, SendSegment) and c.segment.payload]


def told(commands: list[Command]) -> list[Segment]:
    return [c.segment for c in commands if isinstance(c, SendSegment) and not c.segment.payload]


def quoted(commands: list[Command]) -> list[tuple[Endpoint, int]]:
    """To whom, and which sequence number."""
    found = [c.quoted for c in commands if isinstance(c, SendUnreachable)]
    return [(segment.source, segment.seq.value) for segment in found]


def notes(commands: list[Command]) -> list[str]:
    return [c.what for c in commands if isinstance(c, Note)]


def test_a_probe_is_one_byte_each_end_has_had() -> None:
    to_client, to_member = probes(Taken(standard=True).run(0.0, 0.0))
    assert (to_client.source, to_client.destination) == (VIRTUAL, CLIENT)
    assert (to_member.source, to_member.destination) == (SNAT, MEMBER)
    assert to_client.end == OURS_C
    assert to_member.end == OURS_S  # across the wrap
    assert {len(p.payload) for p in (to_client, to_member)} == {1}


def test_it_is_repeated_until_a_side_is_heard() -> None:
    taken = Taken(standard=True)
    assert len(probes(taken.run(0.0, 10.0))) == 2 * (round(10.0 / STEP_S) + 1)


def test_only_some_ends_are_probed_before_their_side_is_heard() -> None:
    """Ten thousand flows must not be probed fifty times a second for minutes; in turns."""
    taken = Taken(standard=True, flows=20)
    first, second = probes(taken.run(0.0, 0.0)), probes(taken.run(STEP_S, STEP_S))
    assert len(first) == len(second) == 2 * CANARIES
    assert not {p.destination for p in first if p.source == VIRTUAL} & {
        p.destination for p in second if p.source == VIRTUAL
    }


def test_once_a_side_is_heard_all_its_ends_are_probed() -> None:
    taken = Taken(standard=True, flows=20)
    taken.run(0.0, 1.0)
    assert "path-back" in notes(taken.client(5000, 1.0))
    asked = {p.destination for p in probes(taken.run(1.0, 1.0 + STEP_S)) if p.source == VIRTUAL}
    assert asked == {f.record.client for f in taken.flows[1:]}


def test_a_proxied_end_is_told_and_kicked_when_it_answers() -> None:
    """The acknowledgement first: `theirs` is only then the end's oldest unacknowledged byte."""
    taken = Taken(standard=True)
    commands = taken.client(5100, 1.0)
    (ack,) = told(commands)
    assert (ack.source, ack.destination) == (VIRTUAL, CLIENT)
    assert (ack.seq.value, ack.ack) == (5100, THEIRS_C)
    order = [type(c) for c in commands if not isinstance(c, Note)]
    assert order == [SendSegment, SendUnreachable, SendUnreachable]
    assert quoted(commands) == [(CLIENT, 700), (VIRTUAL, 5100)]  # the end, and our own timer


def test_an_end_gets_as_many_kicks_as_its_timer_may_have_doubled() -> None:
    taken = Taken(standard=True)
    commands = [*taken.client(5100, 1.0), *taken.run(1.0, 5.0)]
    assert [to for to, _ in quoted(commands)].count(CLIENT) == KICKS
    assert notes(commands).count("kick") == 1


def test_an_end_that_moves_gets_no_more_of_them() -> None:
    taken = Taken(standard=True)
    first = taken.client(5100, 1.0)
    taken.client(5100, 1.01, payload=b"again")
    assert [to for to, _ in quoted([*first, *taken.run(1.0, 5.0)])].count(CLIENT) == 1


def test_a_fastl4_end_is_kicked_where_the_other_end_s_answer_says() -> None:
    """The server's acknowledgement is the client's `snd_una`, and the other way round."""
    taken = Taken(standard=False)
    assert quoted(taken.server(4321, 1.0)) == []  # the client's path is not known to be back
    commands = taken.client(8765, 2.0)
    assert quoted(commands) == [(CLIENT, 4321), (MEMBER, 8765)]
    assert told(commands) == []  # a device that passes segments on acknowledges nothing


def test_a_fastl4_flow_goes_the_long_way_until_it_is_over() -> None:
    taken = Taken(standard=False)
    (flow,) = taken.flows
    segment = Segment(CLIENT, VIRTUAL, SeqNum(800), SeqNum(1), ACK).emit()
    assert not established(taken.table.sides, segment, 0.0)
    taken.server(4321, 1.0)
    taken.client(8765, 1.0)
    taken.run(1.0, 1.0 + (KICKS + 1) * STEP_S)
    assert flow.state is FlowState.OPEN
    assert established(taken.table.sides, segment, 2.0)
    assert not taken.kicks.under_way


def test_without_a_known_number_no_byte_is_made_up() -> None:
    """A flow too young to have been told of: no probe, but what passes is made use of."""
    taken = Taken(standard=False, hints=False)
    assert probes(taken.run(0.0, 3.0)) == []
    taken.server(4321, 3.0)
    assert quoted(taken.client(8765, 3.1)) == [(CLIENT, 4321), (MEMBER, 8765)]


def test_it_gives_up() -> None:
    taken = Taken(standard=False)
    taken.run(0.0, GIVE_UP_S + 1)
    assert taken.kicks.next_timer() is None
    assert taken.flows[0].state is FlowState.OPEN


def test_a_flow_that_is_gone_is_left_alone() -> None:
    taken = Taken(standard=True)
    taken.client(5100, 1.0)
    taken.table.remove(taken.flows[0])
    later = taken.run(1.0, 5.0)
    assert CLIENT not in [to for to, _ in quoted(later)]
    assert probes(later) == []


@pytest.mark.parametrize("standard", [True, False])
def test_off_by_default(standard: bool) -> None:
    taken = Taken(standard=standard, enabled=False)
    assert taken.kicks.next_timer() is None
    assert taken.client(1, 1.0) == []
    assert taken.flows[0].state is FlowState.OPEN
    assert not config().takeover_kick


def flow_on(device: Device) -> FlowRecord:
    device.handle(PacketQueued(1, "ext", syn()), 0.0)
    device.handle(PeerMessages((Message(0, Ack(4)),)), 0.0)
    (flow,) = device.traffic.table.flows()
    return flow.record


def test_the_peer_is_told_of_the_ends_acknowledgements() -> None:
    """Once a second, where they have changed; only for the kick: a BIG-IP sends nothing."""
    device = active_device(config(server=replace(SSH), takeover_kick=True))
    made = flow_on(device)
    for source, target, ack in ((made.client, made.virtual, 11), (made.member, made.snat, 22)):
        data = Segment(source, target, SeqNum(1), SeqNum(ack), ACK).emit()
        assert established(device.traffic.table.sides, data, 0.5)
    sent = [c.message.body for c in device.handle(Tick(), 1.0) if isinstance(c, SendToPeer)]
    assert sent == [FlowAcks(made.client, made.virtual, SeqNum(11), SeqNum(22))]
    again = [c for c in device.handle(Tick(), 2.0) if isinstance(c, SendToPeer)]
    assert again == []


def test_nothing_is_told_without_it() -> None:
    device = active_device(config())
    made = flow_on(device)
    for source, target in ((made.client, made.virtual), (made.member, made.snat)):
        data = Segment(source, target, SeqNum(1), SeqNum(9), ACK).emit()
        assert established(device.traffic.table.sides, data, 0.5)
    assert [c for c in device.handle(Tick(), 1.0) if isinstance(c, SendToPeer)] == []


def test_a_pair_kicks_after_its_takeover() -> None:
    """From the first device's traffic to the second one's probe, over the fake link."""
    pair = Pair(takeover_kick=True).power_on()
    pair.run(2.0)
    assert pair.client_connects() == "released"
    (made,) = pair.a.flows
    for source, target, ack in ((made.client, made.virtual, 111), (made.member, made.snat, 222)):
        pair.packet(Segment(source, target, SeqNum(1), SeqNum(ack), ACK))
    pair.run(2.0)
    pair.power_off("bigip-a")
    pair.run(6.0)
    assert pair.active == ["bigip-b"]
    ends = {(s.destination, s.end.value) for s in pair.b.sent if s.payload}
    (taken,) = pair.b.flows
    assert ends == {(taken.client, 111), (taken.member, 222)}


def test_a_close_while_it_is_under_way_is_a_close() -> None:
    taken = Taken(standard=False)
    (flow,) = taken.flows
    taken.server(4321, 1.0)
    flow.state = FlowState.CLOSING  # as a FIN makes it
    segment = Segment(CLIENT, VIRTUAL, SeqNum(800), SeqNum(1), ACK | FIN)
    taken.kicks.arrived(flow, segment, from_client=True, now=1.1)
    taken.run(1.1, GIVE_UP_S + 2)
    assert flow.state is FlowState.CLOSING
