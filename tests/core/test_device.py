"""One device as its shell drives it, then a pair of them, as scripts."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulator.core.commands import (
    CancelRoutes,
    CloseChannel,
    ConnectChannel,
    Discard,
    Hold,
    InstallFlow,
    Note,
    RemoveFlow,
    RequestRoutes,
    SendHeartbeat,
    SendToPeer,
)
from emulator.core.config import Snat
from emulator.core.device import RECONNECT_DELAY_S, Device
from emulator.core.events import (
    ChannelDown,
    ChannelUp,
    HeartbeatHeard,
    OperatorStandby,
    PeerMessages,
    RouteAnswer,
    Tick,
)
from emulator.wire.heartbeat import Heartbeat
from emulator.wire.mirror import (
    Ack,
    FlowDown,
    FlowUp,
    Hello,
    Message,
    ResyncEnd,
    ResyncStart,
    SnatKind,
)
from emulator.wire.segment import RST, Endpoint
from tests.support.pair import A, B, Pair, active_device, client, config, server
from tests.support.playbook import At, Noted, Playbook
from tests.support.segments import (
    CLIENT,
    MEMBER,
    SNAT_A,
    SNAT_B,
    VIRTUAL,
    data,
    examples,
    fin,
    queued,
    record,
    rst,
    syn,
)

UNMIRRORED = server(mirroring=False)
GROUP = "traffic-group-1"


def beat(
    name: str, sequence: int, *, active: bool, resigned: bool = False, heir: bool = False
) -> SendHeartbeat:
    """Of a device that is active for the first time, or was (`heir`), or never has been."""
    order, takeovers = (A, B).index(name), int(active or heir)
    return SendHeartbeat(Heartbeat(name, active, resigned, order, sequence, heir, takeovers))


def heard(name: str, *, active: bool, resigned: bool = False) -> HeartbeatHeard:
    return HeartbeatHeard(beat(name, 1, active=active, resigned=resigned).heartbeat)


def messages(*bodies: object, first: int = 1) -> PeerMessages:
    return PeerMessages(tuple(Message(n, body) for n, body in enumerate(bodies, start=first)))


def standby_b(*records, **changes: object) -> Device:
    """bigip-b, standing by for bigip-a since second 0, with these flows mirrored to it."""
    device = Device(config(B, **changes), 0.0)
    device.handle(heard(A, active=True), 0.0)
    device.handle(ChannelUp(), 0.0)
    ups = [FlowUp(one) for one in records]
    device.handle(messages(Hello(A, GROUP, True), ResyncStart(), *ups, ResyncEnd()), 0.0)
    return device


ELSEWHERE = Endpoint.of("192.0.2.1:9")


class TestAlone:
    def test_a_device_that_starts_speaks_at_once_and_every_half_second(self):
        assert (
            Playbook(Device(config(), 0.0))
            >> Tick()
            << beat(A, 1, active=False)
            >> At(0.4)
            >> Tick()
            >> At(0.5)
            >> Tick()
            << beat(A, 2, active=False)
        )

    def test_the_next_timer_is_the_earliest_of_all(self):
        device = Device(config(), 10.0)
        assert device.next_timer() == 10.0  # the first heartbeat
        device.handle(Tick(), 10.0)
        assert device.next_timer() == 10.5  # the next one
        device.handle(Tick(), 10.8)
        assert device.next_timer() == 11.0  # the sweep
        device.handle(Tick(), 11.0)
        device.handle(heard(B, active=True), 11.1)
        for second in (11.5, 12.0, 12.5, 13.0, 13.5, 14.0):
            device.handle(Tick(), second)
        assert device.next_timer() == pytest.approx(14.1)  # three seconds of silence

    def test_first_in_the_ha_order_it_takes_the_group_when_it_hears_a_standby(self):
        assert (
            Playbook(Device(config(), 0.0))
            >> heard(B, active=False)
            << Noted("active", flows=0)
            << CloseChannel()
            << Noted("restored", flows=0)
            << beat(A, 1, active=True)
            << RequestRoutes()
        )

    def test_the_clouds_answers_are_journalled(self):
        accepted = RouteAnswer("rtb-1", "10.99.0.0/24", "")
        refused = RouteAnswer("rtb-1", "10.99.0.0/24", "RequestLimitExceeded")
        where = {"table": "rtb-1", "destination": "10.99.0.0/24"}
        assert (
            Playbook(Device(config(), 0.0))
            >> accepted
            << Note("route-accepted", where)
            >> refused
            << Note("route-refused", {**where, "error": "RequestLimitExceeded"})
        )

    def test_an_event_without_a_rule_is_our_own_bug(self):
        with pytest.raises(AssertionError, match="unexpected event"):
            Device(config(), 0.0).handle(object(), 0.0)


class TestTakeover:
    """Standby bigip-b, with flows, when bigip-a falls silent or resigns."""

    def test_restored_before_routed(self):
        """Every InstallFlow comes before RequestRoutes, each after the note that explains it."""
        second = record(client(1), Endpoint(SNAT_A.address, client(1).port))
        assert (
            Playbook(standby_b(record(), second))
            >> At(3.0)
            >> Tick()
            << Noted("active", reason="no failover status messages received from the peer", flows=2)
            << CloseChannel()
            << Noted("flow-restored", client=str(CLIENT), snat=str(SNAT_B))
            << InstallFlow(record(CLIENT, SNAT_B))
            << Noted("flow-restored", client=str(client(1)))
            << InstallFlow(record(client(1), Endpoint(SNAT_B.address, client(1).port)))
            << Noted("restored", flows=2)
            << beat(B, 1, active=True)
            << RequestRoutes()
        )

    def test_when_the_peer_resigns_nothing_is_waited_for(self):
        assert (
            Playbook(standby_b(record()))
            >> At(0.1)
            >> heard(A, active=False, resigned=True)
            << Noted("active", reason="the peer was told to stand by")
            << CloseChannel()
            << Noted("flow-restored")
            << InstallFlow(record(CLIENT, SNAT_B))
            << Noted("restored", flows=1)
            << beat(B, 1, active=True)
            << RequestRoutes()
        )

    @pytest.mark.parametrize(
        ("mirrored", "changes", "snat"),
        [
            (record(), {}, SNAT_B),
            (record(), {"rebuild_automap": False}, SNAT_A),
            (record(CLIENT, CLIENT, kind=SnatKind.NONE), {}, CLIENT),
            (record(snat=ELSEWHERE, kind=SnatKind.POOL), {}, ELSEWHERE),
        ],
        ids=["automap becomes our own", "automap kept", "no SNAT", "SNAT pool"],
    )  # fmt: skip
    def test_the_address_the_member_will_see(self, mirrored, changes, snat):
        device = standby_b(mirrored, **changes)
        installed = [c for c in device.handle(Tick(), 3.0) if isinstance(c, InstallFlow)]
        assert installed == [InstallFlow(replace(mirrored, snat=snat))]
        assert device.traffic.table.get(MEMBER, snat).record == installed[0].record

    def test_two_flows_of_one_port_get_two_ports(self):
        """Two SNAT addresses of the peer's, the same port: one self IP is all there is here."""
        host = Endpoint.of("198.51.100.77:40000")
        other = record(host, Endpoint.of("10.0.2.99:40000"))
        device = standby_b(record(), other)
        installed = [c.record for c in device.handle(Tick(), 3.0) if isinstance(c, InstallFlow)]
        assert [r.snat.port for r in installed] == [40000, 40001]
        assert len(device.traffic.table.sides) == 4

    def test_a_flow_this_device_cannot_serve_is_said_and_left_out(self):
        """The others are restored all the same."""
        stray = record(client(1), Endpoint.of("10.0.2.11:40001"), member=Endpoint.of("8.8.8.8:22"))
        inside = config(B).self_ips[:1]
        device = standby_b(stray, record(), self_ips=inside)
        assert (
            Playbook(device)
            >> At(3.0)
            >> Tick()
            << Noted("active", flows=2)
            << CloseChannel()
            << Noted("restore-failed", client=str(client(1)), reason="No route to host")
            << Noted("flow-restored", client=str(CLIENT))
            << InstallFlow(record(CLIENT, SNAT_B))
            << Noted("restored", flows=1)
            << beat(B, 1, active=True)
            << RequestRoutes()
        )

    def test_a_restored_flow_has_its_whole_idle_time_before_it(self):
        device = standby_b(record())
        device.handle(Tick(), 299.0)
        assert device.traffic.sweep(598.9) == []
        assert RemoveFlow(record(CLIENT, SNAT_B)) in device.traffic.sweep(599.0)


class TestChannel:
    def test_the_active_device_connects_to_a_peer_that_stands_by(self):
        """Heartbeats aside: it connects, greets, sends what it has."""
        device = active_device(config(), channel=False)
        device.handle(queued(1, syn()), 0.0)
        assert (
            Playbook(device)
            >> Tick()
            << ConnectChannel()
            >> Tick()
            >> ChannelUp()
            << Noted("mirror-channel-established", flows=1)
            << SendToPeer(Message(1, Hello(A, GROUP, True)))
            << SendToPeer(Message(2, ResyncStart()))
            << SendToPeer(Message(3, FlowUp(record())))
            << SendToPeer(Message(4, ResyncEnd()))
            >> messages(Ack(4))
        )
        assert device.traffic.table.flows()[0].mirrored

    def test_a_failed_connect_is_tried_again_after_the_reconnect_delay(self):
        device = active_device(config(), channel=False)
        device.handle(Tick(), 0.0)
        assert device.handle(ChannelDown("ECONNREFUSED"), 0.2) == []
        assert ConnectChannel() not in device.handle(Tick(), 0.2 + RECONNECT_DELAY_S - 0.01)
        assert ConnectChannel() in device.handle(Tick(), 0.2 + RECONNECT_DELAY_S)

    def test_nobody_connects_without_a_mirrored_virtual_server(self):
        device = active_device(config(server=UNMIRRORED), channel=False)
        assert ConnectChannel() not in device.handle(Tick(), 0.0)

    def test_nobody_connects_to_a_peer_that_is_silent_or_active(self):
        device = active_device(config(), channel=False)
        device.handle(heard(B, active=True), 0.0)
        assert ConnectChannel() not in device.handle(Tick(), 0.0)
        device.handle(Tick(), 3.0)
        assert ConnectChannel() not in device.handle(Tick(), 9.0)

    def test_a_standby_does_not_connect(self):
        device = Device(config(B), 0.0)
        device.handle(heard(A, active=True), 0.0)
        assert ConnectChannel() not in device.handle(Tick(), 0.0)

    def test_the_standby_acknowledges_a_batch_once_by_its_last_message(self):
        device = Device(config(B), 0.0)
        device.handle(heard(A, active=True), 0.0)
        assert (
            Playbook(device)
            >> ChannelUp()
            << Noted("mirror-channel-accepted")
            >> messages(Hello(A, GROUP, True), ResyncStart(), FlowUp(record()), ResyncEnd())
            << SendToPeer(Message(0, Ack(4)))
            >> messages(FlowDown(CLIENT, VIRTUAL), first=5)
            << SendToPeer(Message(0, Ack(5)))
        )
        assert len(device.traffic.table) == 0

    def test_a_channel_between_two_active_devices_is_refused(self):
        """After a split each has its own flows: neither's table may be the other's."""
        device = active_device(config(), channel=False)
        device.handle(queued(1, syn()), 0.0)
        device.handle(ChannelUp(), 0.0)
        assert (
            Playbook(device)
            >> messages(Hello(B, GROUP, True), ResyncStart(), ResyncEnd())
            << Noted("peer-refused", reason="session", detail="both devices are active", count=1)
            << Noted("mirror-channel-refused", reason="both devices are active")
            << CloseChannel()
            << Noted("mirror-channel-lost", reason="both devices are active")
        )
        assert not device.channel_up
        assert len(device.traffic.table) == 1

    def test_a_refused_channel_releases_what_waited_for_it(self):
        device = active_device(config())
        assert (
            Playbook(device)
            >> queued(1, syn())
            << Noted("flow-created")
            << SendToPeer(Message(4, FlowUp(record())))
            << Hold(1)
        )
        commands = device.handle(messages(Hello(B, GROUP, True)), 0.0)
        assert InstallFlow(record()) in commands
        assert not device.channel_up

    def test_another_traffic_groups_channel_is_refused_unacknowledged(self):
        device = Device(config(B), 0.0)
        device.handle(heard(A, active=True), 0.0)
        device.handle(ChannelUp(), 0.0)
        why = "the peer mirrors traffic-group-2, this channel is traffic-group-1"
        assert (
            Playbook(device)
            >> messages(Hello(A, "traffic-group-2", True), ResyncStart(), ResyncEnd())
            << Noted("peer-refused", reason="session", detail=why, count=1)
            << Noted("mirror-channel-refused", reason=why)
            << CloseChannel()
            << Noted("mirror-channel-lost", reason=why)
        )

    def test_an_ack_to_a_standby_means_nothing(self):
        assert Playbook(standby_b()) >> messages(Ack(7))

    def test_a_lost_channel_is_journalled_once(self):
        assert (
            Playbook(standby_b())
            >> ChannelDown("closed by the peer")
            << Noted("mirror-channel-lost", reason="closed by the peer")
            >> ChannelDown("closed by the peer")
        )

    def test_a_standby_told_to_stand_by_does_nothing(self):
        assert Playbook(standby_b(record())) >> OperatorStandby()


class TestYielding:
    def test_of_two_active_devices_the_later_in_the_order_yields(self):
        device = Device(config(B), 0.0)
        device.handle(Tick(), 3.0)
        device.handle(queued(1, syn()), 3.0)
        assert (
            Playbook(device)
            >> At(4.0)
            >> heard(A, active=True)
            << Noted("standby", reason="the peer is active and precedes us in the HA order")
            << RemoveFlow(record(CLIENT, SNAT_B))
            << CancelRoutes()
            << CloseChannel()
            << beat(B, 2, active=False, heir=True)
        )

    def test_a_device_that_yields_discards_what_it_holds(self):
        device = Device(config(B), 0.0)
        device.handle(heard(A, active=False, resigned=True), 0.0)
        device.handle(ChannelUp(), 0.0)
        device.handle(queued(1, syn()), 0.0)
        commands = device.handle(heard(A, active=True), 0.1)
        assert Discard(1) in commands
        assert InstallFlow(record(CLIENT, SNAT_B)) not in commands


def started(server_=None, **changes: object) -> Pair:
    """Two seconds after both were switched on."""
    pair = Pair(server_ or server(), **changes).power_on()
    pair.run(2.0)
    return pair


def own(node: str, *numbers: int) -> set:
    """The flows of these clients, with that device's automap address."""
    snat = {A: SNAT_A, B: SNAT_B}[node].address
    return {record(client(n), Endpoint(snat, client(n).port)) for n in numbers}


class TestPair:
    """bigip-a and bigip-b over a link that can be cut, second by second."""

    def test_cold_start(self):
        pair = started()
        assert pair.active == [A]
        assert pair.routed_to == A
        assert pair.a.device.channel_up
        assert pair.b.device.channel_up

    def test_cold_start_of_a_device_alone(self):
        pair = Pair().power_on(B)
        pair.run(2.9)
        assert pair.active == []
        pair.run(0.2)
        assert pair.active == [B]
        assert pair.routed_to == B

    def test_a_connection_is_at_both_devices_before_it_goes_on(self):
        pair = started()
        packet = pair.packet(syn())
        assert pair.verdict(packet) == "held"
        assert pair.a.kernel == {}
        pair.run(0.01)
        assert pair.verdict(packet) == "released"
        assert pair.a.flows == pair.b.flows == own(A, 0)
        assert set(pair.a.kernel.values()) == own(A, 0)
        assert pair.b.kernel == {}

    def test_established_segments_take_the_fast_path(self):
        pair = started()
        pair.client_connects()
        assert pair.verdict(pair.packet(data())) == "passed"
        assert pair.verdict(pair.packet(data(MEMBER, SNAT_A))) == "passed"

    def test_power_off_and_the_peer_takes_over_after_three_seconds_with_all_flows(self):
        pair = started()
        assert [pair.client_connects(client(n)) for n in range(3)] == ["released"] * 3
        pair.power_off(A)
        pair.run(2.4)
        assert pair.active == []
        pair.run(0.7)
        assert pair.active == [B]
        assert pair.routed_to == B
        assert pair.b.flows == set(pair.b.kernel.values()) == own(B, 0, 1, 2)
        assert pair.verdict(pair.packet(data())) == "passed"

    def test_power_off_without_mirroring_and_the_client_is_reset(self):
        pair = started(UNMIRRORED)
        pair.client_connects()
        pair.power_off(A)
        pair.run(3.5)
        assert pair.routed_to == B
        assert pair.verdict(pair.packet(data(ack=5001))) == "discarded"
        (reset,) = pair.b.sent
        assert (reset.destination, reset.flags, reset.seq.value) == (CLIENT, RST, 5001)
        assert pair.b.notes("reset-sent")[0][1]["cause"] == "No flow found for ACK"

    def test_a_packet_held_when_the_power_goes_was_never_let_through(self):
        """The standby may have the flow; the member has not: the client's retransmitted SYN
        passes on the new active device, by the flow it has."""
        pair = started()
        packet = pair.packet(syn())
        pair.run(0.001)
        pair.power_off(A)
        pair.run(3.5)
        assert pair.verdict(packet) == "lost"
        assert pair.b.flows == own(B, 0)
        assert pair.client_connects() == "released"

    def test_forced_standby_hands_over_at_once(self):
        pair = started()
        pair.client_connects()
        pair.force_standby(A)
        pair.run(0.01)
        assert pair.active == [B]
        assert pair.routed_to == B
        assert pair.a.kernel == {}
        assert set(pair.b.kernel.values()) == own(B, 0)

    def test_forced_standby_then_failback(self):
        """Flows are re-mirrored the other way round (K13478), then come home."""
        pair = started()
        pair.client_connects(client(0))
        pair.force_standby(A)
        pair.run(2.0)
        assert pair.a.flows == pair.b.flows == pair.b.mirrored == own(B, 0)
        pair.client_connects(client(1))
        pair.force_standby(B)
        pair.run(2.0)
        assert pair.active == [A]
        assert pair.routed_to == A
        assert pair.a.flows == pair.b.flows == pair.a.mirrored == own(A, 0, 1)
        assert set(pair.a.kernel.values()) == own(A, 0, 1)
        assert pair.b.kernel == {}

    def test_flows_closed_while_away_are_gone_after_the_failback(self):
        """What bigip-a kept in its table when it stood by is stale; the resync says so."""
        pair = started()
        pair.client_connects(client(0))
        pair.client_connects(client(1))
        pair.force_standby(A)
        pair.run(0.0015)  # bigip-b is active, its channel not connected yet
        pair.packet(rst(client(0)))
        assert pair.a.flows == own(A, 0, 1)
        pair.run(2.0)
        assert pair.a.flows == own(B, 1)
        pair.force_standby(B)
        pair.run(2.0)
        assert pair.a.flows == own(A, 1)

    def test_with_rebuild_automap_off_the_members_tuple_does_not_change(self):
        pair = started(rebuild_automap=False)
        pair.client_connects()
        pair.power_off(A)
        pair.run(3.5)
        assert pair.b.flows == set(pair.b.kernel.values()) == own(A, 0)

    def test_without_snat_the_tuple_is_the_clients(self):
        pair = started(server(snat=Snat.NONE))
        pair.client_connects()
        pair.force_standby(A)
        pair.run(2.0)
        assert pair.b.flows == {record(CLIENT, CLIENT, kind=SnatKind.NONE)}

    def test_a_device_that_comes_back_is_told_everything_and_takes_nothing(self):
        pair = started()
        pair.client_connects(client(0))
        pair.power_off(A)
        pair.run(5.0)
        pair.client_connects(client(1))
        pair.power_on(A)
        pair.run(5.0)
        assert pair.active == [B]
        assert pair.routed_to == B
        assert pair.a.flows == pair.b.mirrored == own(B, 0, 1)

    def test_a_cut_link_splits_the_pair_and_its_mending_leaves_one_active(self):
        pair = started()
        pair.client_connects(client(0))
        pair.cut_link()
        pair.run(5.0)
        assert pair.active == [A, B]
        assert pair.b.flows == own(B, 0)
        pair.packet(syn(client(1)), A)
        pair.packet(syn(client(2)), B)
        assert len(pair.b.kernel) == 4
        pair.mend_link()
        pair.run(3.0)
        assert pair.active == [A]
        assert pair.b.kernel == {}
        assert pair.a.flows == pair.a.mirrored == pair.b.flows == own(A, 0, 1)

    def test_the_cut_holds_a_syn_no_longer_than_the_channel(self):
        """Until the channel counts as lost, a new connection waits; then it goes on unmirrored."""
        pair = started()
        pair.cut_link()
        packet = pair.packet(syn())
        pair.run(3.9)
        assert pair.verdict(packet) == "held"
        pair.run(0.2)
        assert pair.verdict(packet) == "released"
        assert pair.a.mirrored == set()

    def test_a_lost_channel_comes_back_within_the_reconnect_delay(self):
        """Flows that came and went meanwhile are set right by the resync."""
        pair = started()
        pair.client_connects(client(0))
        pair.client_connects(client(1))
        pair.lose_channel()
        assert pair.client_connects(client(2)) == "released"
        pair.packet(rst(client(0)))
        assert (pair.a.mirrored, pair.b.flows) == (set(), own(A, 0, 1))
        pair.run(RECONNECT_DELAY_S + 0.1)
        assert pair.a.flows == pair.a.mirrored == pair.b.flows == own(A, 1, 2)

    def test_a_connection_closed_by_both_ends_is_gone_at_both_devices(self):
        pair = started()
        pair.client_connects()
        pair.packet(fin())
        pair.packet(fin(MEMBER, SNAT_A))
        pair.run(4.0)
        assert pair.a.flows == pair.b.flows == own(A, 0)
        pair.run(3.0)
        assert pair.a.flows == pair.b.flows == set()
        assert pair.a.kernel == {}
        assert pair.a.sent == []

    def test_an_idle_connection_expires_at_both_devices(self):
        pair = started()
        pair.client_connects()
        pair.packet(data())
        pair.run(302.0)
        assert pair.a.flows == pair.b.flows == set()
        assert [segment.destination for segment in pair.a.sent] == [CLIENT]

    def test_a_standby_never_expires_what_it_holds_for_its_peer(self):
        """It sees no packets of the flow; only the active device knows whether it is idle."""
        pair = started()
        pair.client_connects()
        for _ in range(40):
            pair.run(10.0)
            assert pair.verdict(pair.packet(data())) == "passed"
        assert pair.b.flows == own(A, 0)

    def test_the_journal_tells_the_failover(self):
        pair = started()
        pair.client_connects()
        pair.force_standby(A)
        pair.run(2.0)
        assert [note.what for _, note in pair.a.journal] == [
            "active",
            "restored",
            "mirror-channel-established",
            "flow-created",
            "standby",
            "mirror-channel-accepted",
        ]
        assert [note.what for _, note in pair.b.journal] == [
            "mirror-channel-accepted",
            "mirror-channel-lost",
            "active",
            "flow-restored",
            "restored",
            "mirror-channel-established",
        ]


happenings = st.one_of(
    st.tuples(st.just("connect"), st.integers(0, 3)),
    st.tuples(st.just("connect elsewhere"), st.integers(0, 3)),
    st.tuples(st.just("reset"), st.integers(0, 3)),
    st.tuples(st.just("power off"), st.sampled_from((A, B))),
    st.tuples(st.just("power on"), st.sampled_from((A, B))),
    st.tuples(st.just("force standby"), st.sampled_from((A, B))),
    st.tuples(st.just("cut"), st.none()),
    st.tuples(st.just("mend"), st.none()),
    st.tuples(st.just("lose channel"), st.none()),
    st.tuples(st.just("wait"), st.sampled_from((0.0005, 0.001, 0.3, 1.0, 4.2))),
)


def happen(pair: Pair, what: str, how) -> None:
    match what:
        case "connect":
            pair.packet(syn(client(how)))
        case "connect elsewhere":  # the route still points, or already points, to the other
            pair.packet(syn(client(how)), B if pair.routed_to == A else A)
        case "reset":
            pair.packet(rst(client(how)))
        case "power off":
            pair.power_off(how)
        case "power on" if pair.nodes[how].device is None:
            pair.power_on(how)
        case "force standby":
            pair.force_standby(how)
        case "cut":
            pair.cut_link()
        case "mend":
            pair.mend_link()
        case "lose channel":
            pair.lose_channel()
        case "wait":
            pair.run(how)


@given(st.lists(happenings, max_size=25))
@examples(80)
def test_whatever_happened_a_whole_pair_settles(story):
    """Faults, operators and connections in any order, then fifteen quiet seconds: one device
    is active and forwards its table; the other forwards nothing and holds the same flows; no
    packet waits for ever. The active one has the route unless both were active for a while:
    then the one that stays active does not ask again (docs/fidelity.md)."""
    pair = started()
    for what, how in story:
        happen(pair, what, how)
    pair.mend_link()
    for name in (A, B):
        happen(pair, "power on", name)
    pair.run(15.0)
    assert len(pair.active) == 1
    active, standby = (pair.a, pair.b) if pair.a.active else (pair.b, pair.a)
    assert pair.routed_to == active.name or pair.was_split
    assert set(active.kernel.values()) == active.flows == active.mirrored
    assert len(active.kernel) == 2 * len(active.flows)
    assert standby.kernel == {}
    assert standby.flows == active.flows
    assert "held" not in {*active.verdicts.values(), *standby.verdicts.values()}
