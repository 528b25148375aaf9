"""What becomes of a packet, as scripts: these segments, then exactly these commands."""

from __future__ import annotations

from dataclasses import replace

import pytest

from emulator.core.commands import (
    CancelRoutes,
    CloseChannel,
    Discard,
    Hold,
    InstallFlow,
    Release,
    RemoveFlow,
    SendHeartbeat,
    SendSegment,
    SendToPeer,
)
from emulator.core.config import ANY_PORT, Snat
from emulator.core.device import Device
from emulator.core.events import (
    ChannelDown,
    HeartbeatHeard,
    OperatorStandby,
    PeerMessages,
    Tick,
)
from emulator.core.flow import FlowState
from emulator.core.traffic import EXPIRED, NO_FLOW
from emulator.wire.heartbeat import Heartbeat
from emulator.wire.mirror import Ack, FlowDown, FlowUp, Message, SnatKind
from emulator.wire.segment import ACK, FIN, RST, SYN, Endpoint
from tests.support.pair import A, active_device, client, config, server
from tests.support.playbook import At, Noted, Playbook
from tests.support.segments import (
    CLIENT,
    MEMBER,
    SNAT_A,
    VIRTUAL,
    data,
    fin,
    queued,
    record,
    rst,
    segment,
    syn,
)

SELF_IP = Endpoint.of("10.0.1.11:22")
ELSEWHERE = Endpoint.of("10.99.0.11:22")
PLAIN = config(server=server(mirroring=False))
FLOW = record()


def mirror(sequence: int, flow=FLOW) -> SendToPeer:
    return SendToPeer(Message(sequence, FlowUp(flow)))


def unmirror(sequence: int) -> SendToPeer:
    return SendToPeer(Message(sequence, FlowDown(CLIENT, VIRTUAL)))


def acknowledged(sequence: int) -> PeerMessages:
    return PeerMessages((Message(0, Ack(sequence)),))


def reset(source: Endpoint, destination: Endpoint, *, seq: int, flags: int = RST, ack: int = 0):
    """The reset as the device makes it: no window, no payload."""
    return SendSegment(replace(segment(flags, source, destination, seq=seq, ack=ack), window=0))


def with_flow(settings=PLAIN, *, channel: bool = False) -> Device:
    """An active device with the one open flow; packets 1 and 2 are the handshake's."""
    device = active_device(settings, channel=channel)
    device.handle(queued(1, syn()), 0.0)
    if channel:
        device.handle(acknowledged(4), 0.0)
    device.handle(queued(2, segment(SYN | ACK, MEMBER, SNAT_A, seq=5000, ack=1001)), 0.0)
    assert [flow.state for flow in flows(device)] == [FlowState.OPEN]
    return device


def flows(device: Device) -> list:
    return device.traffic.table.flows()


def tick(device: Device, now: float) -> list:
    """What one sweep does, without heartbeats and the channel."""
    return device.traffic.sweep(now)


# A new flow.


def test_without_mirroring_a_syn_goes_on_at_once():
    assert (
        Playbook(active_device(PLAIN, channel=False))
        >> queued(1, syn())
        << Noted("flow-created", client=str(CLIENT), snat=str(SNAT_A), member=str(MEMBER))
        << InstallFlow(FLOW)
        << Release(1)
    )


def test_with_mirroring_the_first_packet_is_held_until_the_peer_has_the_flow():
    """Mirrored before released: the kernel and the member see nothing before the Ack."""
    assert (
        Playbook(active_device(config()))
        >> queued(1, syn())
        << Noted("flow-created")
        << mirror(4)
        << Hold(1)
        >> acknowledged(3)
        >> acknowledged(4)
        << InstallFlow(FLOW)
        << Release(1)
    )


def test_a_cumulative_ack_releases_in_order():
    second = record(client(1), Endpoint(SNAT_A.address, client(1).port))
    assert (
        Playbook(active_device(config()))
        >> queued(1, syn())
        << Noted("flow-created")
        << mirror(4)
        << Hold(1)
        >> queued(2, syn(client(1)))
        << Noted("flow-created")
        << mirror(5, second)
        << Hold(2)
        >> acknowledged(5)
        << InstallFlow(FLOW)  # all into the kernel at once
        << InstallFlow(second)
        << Release(1)
        << Release(2)
    )


def test_a_flow_deleted_while_its_first_packet_waits_is_not_opened_by_the_acknowledgement():
    device = active_device(config())
    device.handle(queued(1, syn()), 0.0)
    (flow,) = flows(device)
    assert Discard(1) in device.traffic.delete(flow, 1.0)
    assert device.handle(acknowledged(4), 2.0) == []


def test_without_ack_mirror_the_peer_is_told_but_not_waited_for():
    device = active_device(config(ack_mirror=False))
    assert (
        Playbook(device)
        >> queued(1, syn())
        << Noted("flow-created")
        << mirror(4)
        << InstallFlow(FLOW)
        << Release(1)
        >> acknowledged(4)
    )
    assert flows(device)[0].mirrored


def test_a_syn_retransmitted_while_held_is_dropped():
    """The first one is on its way; two would be two connections to the member's kernel."""
    assert (
        Playbook(active_device(config()))
        >> queued(1, syn())
        << Noted("flow-created")
        << mirror(4)
        << Hold(1)
        >> queued(2, syn())
        << Discard(2)
        >> acknowledged(4)
        << InstallFlow(FLOW)
        << Release(1)
    )


def test_when_the_channel_is_lost_what_was_held_goes_on_unmirrored():
    device = active_device(config())
    assert (
        Playbook(device)
        >> queued(1, syn())
        << Noted("flow-created")
        << mirror(4)
        << Hold(1)
        >> ChannelDown("ECONNRESET")
        << Noted("mirror-channel-lost", reason="ECONNRESET")
        << InstallFlow(FLOW)
        << Release(1)
    )
    assert not flows(device)[0].mirrored


def test_without_a_channel_a_flow_to_mirror_goes_on_unmirrored():
    device = active_device(config(), channel=False)
    assert (
        Playbook(device)
        >> queued(1, syn())
        << Noted("flow-created")
        << InstallFlow(FLOW)
        << Release(1)
    )
    assert not flows(device)[0].mirrored


def test_a_flow_is_mirrored_only_once_the_peer_has_it():
    device = active_device(config())
    device.handle(queued(1, syn()), 0.0)
    assert not flows(device)[0].mirrored
    device.handle(acknowledged(4), 0.0)
    assert flows(device)[0].mirrored


def test_a_lost_channel_makes_every_flow_unmirrored():
    device = with_flow(config(), channel=True)
    assert flows(device)[0].mirrored
    device.handle(ChannelDown("ECONNRESET"), 1.0)
    assert not flows(device)[0].mirrored


# Its source address.


@pytest.mark.parametrize(
    ("changes", "snat", "kind"),
    [
        ({"snat": Snat.AUTOMAP}, SNAT_A, SnatKind.AUTOMAP),
        ({"snat": Snat.NONE}, CLIENT, SnatKind.NONE),
        (
            {"snat": Snat.POOL, "snat_pool": (ELSEWHERE.address,)},
            Endpoint(ELSEWHERE.address, CLIENT.port),
            SnatKind.POOL,
        ),
    ],
    ids=["automap", "none", "pool"],
)
def test_the_source_address_the_member_sees(changes, snat, kind):
    settings = config(server=server(mirroring=False, **changes))
    assert (
        Playbook(active_device(settings, channel=False))
        >> queued(1, syn())
        << Noted("flow-created", snat=str(snat))
        << InstallFlow(record(CLIENT, snat, kind=kind))
        << Release(1)
    )


def test_the_source_port_is_preserved_and_changed_on_collision():
    """Two hosts behind one self IP, both from port 40000."""
    other = Endpoint.of("198.51.100.77:40000")
    assert (
        Playbook(with_flow())
        >> queued(3, syn(other))
        << Noted("flow-created")
        << InstallFlow(record(other, Endpoint(SNAT_A.address, 40001)))
        << Release(3)
    )


def test_no_member_is_a_reset():
    settings = config(server=server(mirroring=False, pool=()))
    assert (
        Playbook(active_device(settings, channel=False))
        >> queued(1, syn(seq=77))
        << Noted("reset-sent", cause="No pool member available", flags="SYN")
        << Discard(1)
        << reset(VIRTUAL, CLIENT, seq=0, ack=78, flags=RST | ACK)
    )


# Packets without a flow.


def test_an_ack_without_a_flow_is_reset_with_its_own_number():
    """What a takeover without the flow looks like; RFC 9293: <SEQ=SEG.ACK><CTL=RST>."""
    device = active_device(PLAIN, channel=False)
    assert (
        Playbook(device)
        >> queued(1, data(seq=1001, ack=4294967295, payload=b"keystroke"))
        << Noted(
            "reset-sent",
            cause="No flow found for ACK",
            source=str(CLIENT),
            destination=str(VIRTUAL),
            seq=1001,
            ack=4294967295,
            flags="ACK",
            payload_bytes=9,
        )
        << Discard(1)
        << reset(VIRTUAL, CLIENT, seq=4294967295)
    )
    assert device.traffic.reset_causes == {NO_FLOW: 1}


def test_a_fin_without_an_ack_is_reset_with_what_it_took():
    """RFC 9293: <SEQ=0><ACK=SEG.SEQ+SEG.LEN><CTL=RST,ACK>; the FIN counts."""
    assert (
        Playbook(active_device(PLAIN, channel=False))
        >> queued(1, segment(FIN, seq=9, payload=b"ab"))
        << Noted("reset-sent", cause=NO_FLOW)
        << Discard(1)
        << reset(VIRTUAL, CLIENT, seq=0, ack=12, flags=RST | ACK)
    )


def test_with_reject_unmatched_off_nobody_is_told():
    """`tm.rejectunmatched` false: the segment is gone, the client retransmits."""
    device = active_device(replace(PLAIN, reject_unmatched=False), channel=False)
    assert (
        Playbook(device)
        >> queued(1, data())
        << Noted("no-flow-drop", flags="ACK")
        << Discard(1)
        >> queued(2, syn(destination=SELF_IP))
        << Noted("no-flow-drop", flags="SYN")
        << Discard(2)
    )
    assert device.traffic.reset_causes == {}


@pytest.mark.parametrize("destination", [VIRTUAL, SELF_IP], ids=["virtual server", "self IP"])
def test_a_reset_is_never_answered_with_a_reset(destination):
    assert (
        Playbook(active_device(PLAIN, channel=False))
        >> queued(1, rst(destination=destination))
        << Noted("no-flow-drop", flags="RST")
        << Discard(1)
        >> queued(2, segment(RST | ACK, destination=destination))
        << Noted("no-flow-drop", flags="RST,ACK")
        << Discard(2)
    )


def test_a_syn_to_a_self_ip_is_port_denied():
    assert (
        Playbook(active_device(PLAIN, channel=False))
        >> queued(1, syn(destination=SELF_IP, seq=1000))
        << Noted("reset-sent", cause="Port denied")
        << Discard(1)
        << reset(SELF_IP, CLIENT, seq=0, ack=1001, flags=RST | ACK)
    )


def test_a_member_that_answers_a_flow_nobody_knows_is_reset():
    """The server side of a flow that was not mirrored, at the old SNAT address."""
    assert (
        Playbook(active_device(PLAIN, channel=False))
        >> queued(1, data(MEMBER, SNAT_A, ack=1234), "int")
        << Noted("reset-sent", cause=NO_FLOW)
        << Discard(1)
        << reset(SNAT_A, MEMBER, seq=1234)
    )


def test_an_address_with_no_listener_gets_silence():
    assert (
        Playbook(active_device(PLAIN, channel=False))
        >> queued(1, syn(destination=ELSEWHERE))
        << Noted("no-listener", destination=str(ELSEWHERE))
        << Discard(1)
    )


def test_a_syn_ack_starts_no_flow():
    assert (
        Playbook(active_device(PLAIN, channel=False))
        >> queued(1, segment(SYN | ACK, ack=7))
        << Noted("reset-sent", cause=NO_FLOW)
        << Discard(1)
        << reset(VIRTUAL, CLIENT, seq=7)
    )


# Loose initiation.


def test_loose_initiation_picks_a_connection_up_in_the_middle():
    settings = config(server=server(mirroring=False, loose_initiation=True))
    assert (
        Playbook(active_device(settings, channel=False))
        >> queued(1, data())
        << Noted("flow-picked-up", client=str(CLIENT))
        << InstallFlow(FLOW)
        << Release(1)
    )


def test_loose_initiation_mirrors_what_it_picks_up():
    assert (
        Playbook(active_device(config(server=server(loose_initiation=True))))
        >> queued(1, data())
        << Noted("flow-picked-up")
        << mirror(4)
        << Hold(1)
        >> acknowledged(4)
        << InstallFlow(FLOW)
        << Release(1)
    )


def test_loose_initiation_does_not_pick_up_a_reset():
    settings = config(server=server(mirroring=False, loose_initiation=True))
    assert (
        Playbook(active_device(settings, channel=False))
        >> queued(1, rst())
        << Noted("no-flow-drop")
        << Discard(1)
    )


# The end of a flow.


def test_fin_both_ways_closes_after_the_close_timeout():
    device = with_flow()
    assert (
        Playbook(device)
        >> At(10.0)
        >> queued(3, fin())
        << Release(3)
        >> At(10.1)
        >> queued(4, fin(MEMBER, SNAT_A))
        << Release(4)
        >> At(10.2)
        >> queued(5, segment(ACK))
        << Release(5)
    )
    assert flows(device)[0].state is FlowState.CLOSING
    assert tick(device, 15.1) == []
    note, remove = tick(device, 15.2)
    assert Noted("flow-closed", why="closed", client=str(CLIENT)).claims(note)
    assert remove == RemoveFlow(FLOW)
    assert flows(device) == []


def test_one_sides_fin_alone_leaves_the_flow_open():
    """Half-closed, the other side may send for as long as it likes."""
    device = with_flow()
    assert Playbook(device) >> queued(3, fin()) << Release(3) >> queued(4, fin()) << Release(4)
    assert flows(device)[0].state is FlowState.OPEN
    assert tick(device, 250.0) == []


def test_with_loose_close_one_fin_is_enough():
    device = with_flow(config(server=server(mirroring=False, loose_close=True)))
    assert Playbook(device) >> queued(3, fin()) << Release(3)
    assert flows(device)[0].state is FlowState.CLOSING


@pytest.mark.parametrize("ends", [(CLIENT, VIRTUAL), (MEMBER, SNAT_A)], ids=["client", "member"])
def test_a_reset_passes_and_closes(ends):
    device = with_flow()
    assert (
        Playbook(device)
        >> queued(3, rst(*ends))
        << Release(3)
        << Noted("flow-closed", why="reset by an end")
        << RemoveFlow(FLOW)
        >> queued(4, data())
        << Noted("reset-sent", cause=NO_FLOW)
        << Discard(4)
        << reset(VIRTUAL, CLIENT, seq=5001)
    )


def test_a_closed_flow_is_closed_at_the_peer_too():
    assert (
        Playbook(with_flow(config(), channel=True))
        >> queued(3, rst())
        << Release(3)
        << Noted("flow-closed")
        << RemoveFlow(FLOW)
        << unmirror(5)
    )


def test_a_new_syn_on_a_closing_flow_starts_a_new_one():
    """A client that uses its port again before the close timeout."""
    device = with_flow(config(), channel=True)
    assert (
        Playbook(device)
        >> queued(3, fin())
        << Release(3)
        >> queued(4, fin(MEMBER, SNAT_A))
        << Release(4)
        >> queued(5, syn(seq=999999))
        << Noted("flow-closed", why="replaced by a new SYN")
        << RemoveFlow(FLOW)
        << unmirror(5)
        << Noted("flow-created")
        << mirror(6)
        << Hold(5)
        >> acknowledged(6)
        << InstallFlow(FLOW)
        << Release(5)
    )


def test_a_syn_on_an_open_flow_passes():
    """Retransmitted because the SYN-ACK was lost, or old: the ends sort it out."""
    assert Playbook(with_flow()) >> queued(3, syn()) << Release(3)


def test_an_idle_flow_expires_with_a_reset_to_both_ends():
    """Each reset carries the number that end expects next, so that end accepts it."""
    device = with_flow()
    device.handle(queued(3, fin(seq=1001, ack=5001)), 10.0)
    assert tick(device, 309.9) == []
    note, remove, *resets = tick(device, 310.0)
    assert Noted("flow-closed", why=EXPIRED).claims(note)
    assert remove == RemoveFlow(FLOW)
    assert resets == [reset(VIRTUAL, CLIENT, seq=5001), reset(SNAT_A, MEMBER, seq=1001)]
    assert device.traffic.reset_causes == {EXPIRED: 1}
    assert flows(device) == []


def test_an_end_never_heard_is_not_reset_at_expiry():
    """Nothing is known of the number it expects: a guess would not be accepted anyway."""
    device = active_device(PLAIN, channel=False)
    device.handle(queued(1, syn()), 0.0)
    assert [type(command) for command in tick(device, 300.0)][1:] == [RemoveFlow]


def test_expiry_is_mirrored_and_its_lag_is_counted_from_then():
    """Not from when the flow was last seen: that would read as five minutes of lag."""
    device = with_flow(config(), channel=True)
    commands = tick(device, 300.0)
    assert unmirror(5) in commands
    assert device.sender.lag(300.0).seconds == 0.0


def test_a_held_flow_does_not_expire():
    """Its packet must get a verdict, and only the Ack or the channel's end gives one."""
    device = active_device(config())
    device.handle(queued(1, syn()), 0.0)
    assert tick(device, 1000.0) == []
    assert len(flows(device)) == 1


def test_the_sweeper_runs_every_second_on_the_active_device():
    device = with_flow()
    device.handle(Tick(), 299.0)
    assert len(flows(device)) == 1
    device.handle(Tick(), 300.0)
    assert flows(device) == []


# The standby.


def standby(settings=PLAIN) -> Device:
    device = Device(settings, 0.0)
    device.handle(HeartbeatHeard(Heartbeat("bigip-b", True, False, 1, 1)), 0.0)
    return device


def test_a_standby_drops_the_traffic_groups_packets_silently():
    assert (
        Playbook(standby())
        >> queued(1, syn())
        << Noted("standby-drop", destination=str(VIRTUAL))
        << Discard(1)
        >> queued(2, data())
        << Noted("standby-drop")
        << Discard(2)
    )


def test_a_standby_answers_for_its_own_self_ips():
    assert (
        Playbook(standby())
        >> queued(1, syn(destination=SELF_IP, seq=5))
        << Noted("reset-sent", cause="Port denied")
        << Discard(1)
        << reset(SELF_IP, CLIENT, seq=0, ack=6, flags=RST | ACK)
        >> queued(2, data(MEMBER, SNAT_A, ack=8))
        << Noted("reset-sent", cause=NO_FLOW)
        << Discard(2)
        << reset(SNAT_A, MEMBER, seq=8)
    )


def test_a_standby_that_holds_the_flow_does_not_reset_its_member():
    """Forced to stand by, it still hears the member at its own self IP: silence, so that the
    connection lives to be taken over."""
    device = with_flow(config(), channel=True)
    device.handle(OperatorStandby(), 1.0)
    assert (
        Playbook(device)
        >> queued(3, data(MEMBER, SNAT_A))
        << Noted("standby-drop", source=str(MEMBER))
        << Discard(3)
    )


def test_a_standby_is_silent_on_a_flow_it_served_even_if_it_knows_it_no_more():
    """The new active device's resync need not name the flow, or names it with an address of its
    own; what was under way to this device's self IP is lost, not reset."""
    device = with_flow(config(), channel=True)
    device.handle(OperatorStandby(), 1.0)
    for flow in flows(device):
        device.traffic.table.remove(flow)
    assert (
        Playbook(device)
        >> queued(3, data(MEMBER, SNAT_A))
        << Noted("standby-drop", source=str(MEMBER))
        << Discard(3)
    )


def test_going_standby_discards_what_is_held_and_empties_the_kernel():
    """And in this order: the channel's end must not release what was held."""
    device = with_flow(config(), channel=True)
    late = client(1)
    assert (
        Playbook(device)
        >> queued(3, syn(late))
        << Noted("flow-created")
        << mirror(5, record(late, Endpoint(SNAT_A.address, late.port)))
        << Hold(3)
        >> At(1.0)
        >> OperatorStandby()
        << Noted("standby", reason="the operator said so", flows=2)
        << Discard(3)
        << RemoveFlow(FLOW)
        << CancelRoutes()
        << CloseChannel()
        << SendHeartbeat(
            Heartbeat(A, active=False, resigned=True, order=0, sequence=2, takeovers=1)
        )
    )
    assert [flow.record for flow in flows(device)] == [FLOW]


# Which virtual server.


def test_a_virtual_server_of_any_port_keeps_the_port():
    """The lab's own: one alien address, every port, members on the same port."""
    anywhere = server(
        mirroring=False,
        destination=Endpoint(VIRTUAL.address, ANY_PORT),
        pool=(Endpoint(MEMBER.address, ANY_PORT),),
    )
    telnet, member = Endpoint(VIRTUAL.address, 23), Endpoint(MEMBER.address, 23)
    assert (
        Playbook(active_device(config(server=anywhere), channel=False))
        >> queued(1, syn(destination=telnet))
        << Noted("flow-created")
        << InstallFlow(record(virtual=telnet, member=member))
        << Release(1)
    )
