"""A standard virtual server's decisions: which segment waits for what, what is opened and reset.

Through `Device.handle`, as the shell has it: bigip-a active, or bigip-b taking over.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from ipaddress import IPv4Address

import pytest

from emulator.core.commands import (
    AbandonRelays,
    AbortRelay,
    Command,
    ConnectServer,
    Discard,
    Hold,
    Listen,
    Note,
    Release,
    RestoreRelay,
    SendToPeer,
)
from emulator.core.config import Commit, Config, ServerType, Snat
from emulator.core.device import Device
from emulator.core.events import (
    ChannelDown,
    ChannelUp,
    ClientAccepted,
    Event,
    HeartbeatHeard,
    OperatorStandby,
    PacketQueued,
    PeerMessages,
    RelayEnded,
    RestoreFailed,
    ServerUnreachable,
    Tick,
)
from emulator.core.proxy import NO_ANSWER, REJECTED
from emulator.wire.heartbeat import Heartbeat
from emulator.wire.mirror import (
    Ack,
    Body,
    FlowDown,
    FlowUp,
    Hello,
    Message,
    Mirrored,
    ResyncEnd,
    ResyncStart,
)
from emulator.wire.segment import ACK, FIN, SYN, Endpoint, Segment
from tests.support.pair import SSH, A, B, active_device, config
from tests.support.segments import CLIENT, MEMBER, VIRTUAL, data, rst, segment, syn

POOL = IPv4Address("10.88.0.10")
SNAT = Endpoint(POOL, CLIENT.port)
EITHER = pytest.mark.parametrize("commit", list(Commit))


def standard(commit: Commit = Commit.SYNC, *, mirroring: bool = True, name: str = A) -> Config:
    server = replace(
        SSH, type=ServerType.STANDARD, commit=commit, snat=Snat.POOL, snat_pool=(POOL,),
        mirroring=mirroring,
    )  # fmt: skip
    return config(name, server)


class Active:
    """bigip-a, serving. `go` says what a segment leads to, notes left out."""

    def __init__(self, commit: Commit = Commit.SYNC, *, channel: bool = True) -> None:
        self.device = active_device(standard(commit), channel=channel)
        self.now = 1.0
        self.packets = 0
        self.notes: list[Note] = []

    def event(self, event: Event) -> list[Command]:
        commands = self.device.handle(event, self.now)
        self.notes += [c for c in commands if isinstance(c, Note)]
        return [c for c in commands if not isinstance(c, Note)]

    def go(self, what: Segment, *, outgoing: bool = False) -> list[Command]:
        self.packets += 1
        where = "" if outgoing else "ext"
        return self.event(PacketQueued(self.packets, where, what, what.emit()))

    def acks(self) -> list[Command]:
        """The peer acknowledges everything."""
        last = self.device.sender.last_sent
        return self.event(PeerMessages((Message(0, Ack(last)),)))

    def handshake(self) -> None:
        self.go(syn())
        self.go(segment(SYN | ACK, VIRTUAL, CLIENT, seq=5000, ack=1001), outgoing=True)
        self.go(segment(ACK, seq=1001, ack=5001))
        self.acks()

    @property
    def flows(self) -> int:
        return len(self.device.traffic.table)

    def said(self, what: str) -> dict[str, object]:
        """The last note of that name."""
        return [note.details for note in self.notes if note.what == what][-1]


def bodies(commands: Sequence[Command]) -> list[Body]:
    return [c.message.body for c in commands if isinstance(c, SendToPeer)]


def kinds(commands: Sequence[Command]) -> list[type]:
    return [type(c) for c in commands]


# A segment comes in.


def test_a_syn_makes_a_flow_a_listener_and_in_sync_waits_for_the_peer() -> None:
    active = Active()
    commands = active.go(syn())
    assert kinds(commands) == [Listen, SendToPeer, SendToPeer, Hold]
    assert commands[0] == Listen(VIRTUAL)
    up, copy = bodies(commands)
    assert isinstance(up, FlowUp)
    assert (up.record.snat, up.record.member) == (SNAT, MEMBER)
    assert copy == Mirrored(syn().emit())
    assert active.acks() == [Release(1)]


def test_async_does_not_wait() -> None:
    active = Active(Commit.ASYNC)
    assert kinds(active.go(syn())) == [Listen, SendToPeer, SendToPeer, Release]
    assert kinds(active.go(data())) == [SendToPeer, Release]


def test_without_a_channel_nothing_is_mirrored_and_nothing_waits() -> None:
    active = Active(channel=False)
    assert active.go(syn()) == [Listen(VIRTUAL), Release(1)]
    assert active.go(data()) == [Release(2)]


@pytest.mark.parametrize("flags", [FIN | ACK, SYN, ACK])
def test_sync_holds_what_the_kernel_would_acknowledge(flags: int) -> None:
    active = Active()
    active.handshake()
    what = segment(flags, seq=1001, ack=5001, payload=b"x" if flags == ACK else b"")
    assert kinds(active.go(what)) == [SendToPeer, Hold]


def test_a_bare_acknowledgement_is_mirrored_and_never_waits() -> None:
    active = Active()
    active.handshake()
    bare = segment(ACK, seq=1001, ack=5001)
    assert kinds(active.go(bare)) == [SendToPeer, Release]
    assert kinds(active.go(replace(rst(), payload=b"BIG-IP: [0x1:1]"))) == [SendToPeer, Release]


def test_what_was_held_goes_in_the_order_it_came() -> None:
    active = Active()
    active.handshake()
    for n in range(3):
        active.go(data(seq=1001 + n))
    assert active.acks() == [Release(4), Release(5), Release(6)]
    assert active.acks() == []


def test_the_channels_loss_releases_what_it_held_and_mirrors_no_more() -> None:
    active = Active()
    active.handshake()
    active.go(data(seq=1001))
    active.go(data(seq=1002))
    assert active.event(ChannelDown("ETIMEDOUT")) == [Release(4), Release(5)]
    assert active.go(data(seq=1003)) == [Release(6)]


@EITHER
def test_the_devices_own_syn_is_mirrored_its_fin_is_not(commit: Commit) -> None:
    """Its initial numbers cannot be guessed; that it is done follows from the other side."""
    active = Active(commit)
    active.go(syn())
    own = segment(SYN, SNAT, MEMBER, seq=7000)
    assert bodies(active.go(own, outgoing=True)) == [Mirrored(own.emit())]
    end = segment(FIN | ACK, SNAT, MEMBER, seq=7001)
    assert active.go(end, outgoing=True) == [Release(3)]


def test_a_standbys_kernel_may_not_speak_for_the_traffic_group() -> None:
    active = Active()
    active.handshake()
    active.event(OperatorStandby())
    end = segment(FIN | ACK, VIRTUAL, CLIENT, seq=5001)
    assert active.go(end, outgoing=True) == [Discard(4)]
    own = segment(FIN | ACK, Endpoint.of("10.0.2.11:40000"), MEMBER, seq=1)
    assert active.go(own, outgoing=True) == [Release(5)]


# What becomes of the device's own connections.


def test_an_accepted_client_is_connected_on() -> None:
    active = Active()
    active.handshake()
    [connect] = active.event(ClientAccepted(CLIENT, VIRTUAL))
    assert isinstance(connect, ConnectServer)
    assert (connect.record.snat, connect.record.member) == (SNAT, MEMBER)


def test_a_client_without_a_flow_is_reset() -> None:
    active = Active()
    assert active.event(ClientAccepted(CLIENT, VIRTUAL)) == [AbortRelay(CLIENT, VIRTUAL)]


@pytest.mark.parametrize(
    ("reason", "cause"), [("ECONNREFUSED", REJECTED), ("ETIMEDOUT", NO_ANSWER)]
)
def test_a_member_that_cannot_be_reached_resets_the_client(reason: str, cause: str) -> None:
    active = Active()
    active.handshake()
    commands = active.event(ServerUnreachable(CLIENT, VIRTUAL, reason))
    assert bodies(commands) == [FlowDown(CLIENT, VIRTUAL)]
    assert commands[-1] == AbortRelay(CLIENT, VIRTUAL)
    assert active.flows == 0
    assert active.said("server-unreachable")["cause"] == cause
    assert active.device.traffic.reset_causes == {cause: 1}


def test_a_pair_that_ends_well_is_closing_then_forgotten() -> None:
    active = Active()
    active.handshake()
    assert active.event(RelayEnded(CLIENT, VIRTUAL)) == []
    assert active.flows == 1
    active.now += 7
    assert FlowDown(CLIENT, VIRTUAL) in bodies(active.event(Tick()))
    assert active.flows == 0


def test_a_pair_that_breaks_is_forgotten_at_once() -> None:
    active = Active()
    active.handshake()
    commands = active.event(RelayEnded(CLIENT, VIRTUAL, "server side: ECONNRESET"))
    assert bodies(commands) == [FlowDown(CLIENT, VIRTUAL)]
    assert active.said("flow-closed")["why"] == "server side: ECONNRESET"
    assert active.flows == 0


def test_words_about_a_flow_that_is_gone_are_harmless() -> None:
    active = Active()
    assert active.event(RelayEnded(CLIENT, VIRTUAL)) == []
    assert active.event(RestoreFailed(CLIENT, VIRTUAL, "EINVAL")) == []
    assert active.event(ServerUnreachable(CLIENT, VIRTUAL, "x")) == [AbortRelay(CLIENT, VIRTUAL)]


def test_an_idle_flow_expires_with_a_reset_to_both_ends() -> None:
    active = Active()
    active.handshake()
    active.now += 301
    assert AbortRelay(CLIENT, VIRTUAL) in active.event(Tick())
    assert active.flows == 0


def test_standing_by_drops_what_is_held_and_gives_the_connections_up() -> None:
    """Nothing held reaches our TCP: it would acknowledge what the peer is to answer for."""
    active = Active()
    active.handshake()
    active.go(data())
    commands = active.event(OperatorStandby())
    assert commands[:2] == [Discard(4), AbandonRelays()]
    assert not any(isinstance(c, Release) for c in commands)
    assert active.flows == 0


# The takeover.


class Heir:
    """bigip-b, which holds what was mirrored to it, and takes over."""

    def __init__(self, *packets: Segment) -> None:
        self.device = Device(standard(name=B), 0.0)
        self.device.handle(HeartbeatHeard(Heartbeat(A, True, False, 0, 1)), 0.0)
        self.device.handle(ChannelUp(), 0.0)
        flow = FlowUp(Active().device.traffic._selector.select(
            standard().virtual_servers[0], CLIENT, VIRTUAL, lambda *_: False
        ))  # fmt: skip
        first: list[Body] = [Hello(A, "traffic-group-1", True), ResyncStart(), ResyncEnd(), flow]
        copies = [Mirrored(p.emit()) for p in packets]
        messages = tuple(Message(n, b) for n, b in enumerate([*first, *copies], 1))
        self.device.handle(PeerMessages(messages), 0.0)

    def take_over(self) -> list[Command]:
        return self.device.handle(Tick(), 10.0)

    def go(self, packet_id: int, what: Segment) -> list[Command]:
        return self.device.handle(PacketQueued(packet_id, "ext", what, what.emit()), 11.0)


CLIENT_SYN = syn(seq=1000)
OWN_SYN_ACK = segment(SYN | ACK, VIRTUAL, CLIENT, seq=5000, ack=1001)
CLIENT_ACK = segment(ACK, seq=1001, ack=5001)
OWN_SYN = segment(SYN, SNAT, MEMBER, seq=7000)
MEMBER_SYN_ACK = segment(SYN | ACK, MEMBER, SNAT, seq=9000, ack=7001)
HANDSHAKES = (CLIENT_SYN, OWN_SYN_ACK, CLIENT_ACK, OWN_SYN, MEMBER_SYN_ACK)


def notes(commands: Sequence[Command], what: str) -> list[dict[str, object]]:
    return [c.details for c in commands if isinstance(c, Note) and c.what == what]


def test_both_connections_are_restored_before_the_routes_are_asked_for() -> None:
    commands = Heir(*HANDSHAKES, data(payload=b"hello")).take_over()
    [plan] = [c.plan for c in commands if isinstance(c, RestoreRelay)]
    assert plan.server is not None
    assert plan.client.rcv_nxt.value == 1006
    assert plan.server.sent + plan.server.unsent == b"hello"
    order = [k.__name__ for k in kinds(commands)]
    assert order.index("RestoreRelay") < order.index("RequestRoutes")
    assert notes(commands, "flow-restored")[0]["held_bytes"] == 5


def test_without_a_servers_side_it_is_opened_anew_with_what_the_client_said() -> None:
    commands = Heir(*HANDSHAKES[:3], data(payload=b"early")).take_over()
    [plan] = [c.plan for c in commands if isinstance(c, RestoreRelay)]
    assert plan.server is None
    assert plan.early == b"early"
    order = kinds(commands)
    assert order.index(ConnectServer) == order.index(RestoreRelay) + 1


def test_a_handshake_that_was_not_complete_waits_for_the_client() -> None:
    heir = Heir(CLIENT_SYN, OWN_SYN_ACK)
    commands = heir.take_over()
    assert len(notes(commands, "restore-waits")) == 1
    assert RestoreRelay not in kinds(commands)
    done = heir.go(1, CLIENT_ACK)
    assert kinds(done) == [Note, RestoreRelay, ConnectServer, Release]


def test_a_handshake_the_client_gave_up_is_not_restored() -> None:
    heir = Heir(CLIENT_SYN, OWN_SYN_ACK)
    heir.take_over()
    assert heir.go(1, rst()) == [Discard(1)]
    assert RestoreRelay not in kinds(heir.go(2, CLIENT_ACK))


def test_a_client_that_begins_anew_is_served_anew() -> None:
    heir = Heir(CLIENT_SYN, OWN_SYN_ACK)
    heir.take_over()
    assert Listen in kinds(heir.go(1, syn(seq=4000)))


@pytest.mark.parametrize(
    ("packets", "reason"),
    [
        ((), "handshake"),
        ((CLIENT_SYN,), "handshake"),
        ((*HANDSHAKES, rst()), "reset by an end"),
    ],
)
def test_what_cannot_be_restored_says_why(packets: tuple[Segment, ...], reason: str) -> None:
    commands = Heir(*packets).take_over()
    [failed] = notes(commands, "restore-failed")
    assert reason in str(failed["reason"])
    assert RestoreRelay not in kinds(commands)


def test_a_restore_the_kernel_refused_is_journalled_and_the_flow_forgotten() -> None:
    heir = Heir(*HANDSHAKES)
    heir.take_over()
    commands = heir.device.handle(RestoreFailed(CLIENT, VIRTUAL, "EADDRINUSE"), 10.0)
    assert notes(commands, "restore-failed")[0]["reason"] == "EADDRINUSE"
    assert len(heir.device.traffic.table) == 0
