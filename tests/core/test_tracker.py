"""What the standby knows of a standard flow, and how it would restore it. No kernel here."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address

import pytest

from emulator.core.tracker import CLOCK_SLACK_MS, LegPlan, NotRestorable, Tracker
from emulator.wire.mirror import FlowRecord, SnatKind
from emulator.wire.segment import ACK, FIN, RST, SYN, Endpoint, Segment
from emulator.wire.seqnum import SeqNum

CLIENT, VIP = Endpoint.of("10.0.1.10:40000"), Endpoint.of("10.99.0.10:22")
SNAT, MEMBER = Endpoint.of("10.88.0.10:40000"), Endpoint.of("10.0.31.100:22")
RECORD = FlowRecord("vs", CLIENT, VIP, SNAT, MEMBER, SnatKind.POOL, 300)
MSS, SCALE = bytes.fromhex("020405b4"), {7: bytes.fromhex("01030307"), 9: bytes.fromhex("01030309")}


def stamps(value: int, echo: int) -> bytes:
    return b"\x01\x01\x08\x0a" + value.to_bytes(4, "big") + echo.to_bytes(4, "big")


class Talk:
    """Both connections' segments as they are mirrored. The client starts at `c`, our SYN-ACK
    at `v`, our SYN at `s`, the member at `m`."""

    def __init__(self, c: int = 100, v: int = 2000, s: int = 30000, m: int = 400000) -> None:
        self.tracker = Tracker(RECORD)
        self.c, self.v, self.s, self.m = map(SeqNum, (c, v, s, m))

    def open(self) -> Talk:
        self.shake_client()
        self.take(SNAT, MEMBER, self.s, SeqNum(0), SYN, options=MSS + SCALE[9] + stamps(500, 0))
        self.take(
            MEMBER, SNAT, self.m, self.s + 1, SYN | ACK, options=MSS + SCALE[7] + stamps(9, 500)
        )
        return self

    def shake_client(self) -> None:
        self.take(CLIENT, VIP, self.c, SeqNum(0), SYN, options=MSS + SCALE[7] + stamps(1, 0))
        self.take(
            VIP, CLIENT, self.v, self.c + 1, SYN | ACK, options=MSS + SCALE[9] + stamps(700, 1)
        )
        self.take(CLIENT, VIP, self.c + 1, self.v + 1, ACK)

    def take(
        self, source: Endpoint, target: Endpoint, seq: SeqNum, ack: SeqNum, flags: int,
        payload: bytes = b"", *, window: int = 100, options: bytes = b"", now: float = 0.0,
    ) -> None:  # fmt: skip
        segment = Segment(source, target, seq, ack, flags, window, payload, options)
        self.tracker.take(segment, now)

    def client(self, payload: bytes, at: int = 0, acked: int = 0, flags: int = ACK) -> None:
        """Bytes of the client from offset `at`; it has `acked` of ours."""
        self.take(CLIENT, VIP, self.c + (1 + at), self.v + (1 + acked), flags, payload)

    def member(self, payload: bytes, at: int = 0, acked: int = 0, flags: int = ACK) -> None:
        self.take(MEMBER, SNAT, self.m + (1 + at), self.s + (1 + acked), flags, payload)

    def plan(self, now: float = 0.0) -> tuple[LegPlan, LegPlan]:
        plan = self.tracker.plan(RECORD, now)
        assert plan.server is not None
        return plan.client, plan.server


def test_an_idle_connection_has_its_numbers_and_nothing_to_send() -> None:
    talk = Talk().open()
    client, server = talk.plan()
    assert (client.local, client.remote) == (VIP, CLIENT)
    assert (client.rcv_nxt, client.snd_una) == (talk.c + 1, talk.v + 1)
    assert (server.rcv_nxt, server.snd_una) == (talk.m + 1, talk.s + 1)
    assert client.sent == client.unsent == server.sent == server.unsent == b""


@pytest.mark.parametrize("isn", [100, 2**32 - 1, 2**32 - 4])
def test_what_the_other_end_has_not_acknowledged_is_to_be_sent(isn: int) -> None:
    """Whichever part of it the old device had sent on; sequence numbers may wrap."""
    talk = Talk(isn, isn, isn, isn).open()
    talk.client(b"list files\n")
    talk.member(b"", acked=5)
    client, server = talk.plan()
    assert client.rcv_nxt == talk.c + 12
    assert (server.snd_una, server.sent, server.unsent) == (talk.s + 6, b"files\n", b"")
    assert talk.tracker.held == 6


def test_a_gap_is_left_for_its_sender_to_fill() -> None:
    talk = Talk().open()
    talk.client(b"later", at=100)
    client, server = talk.plan()
    assert (client.rcv_nxt, server.sent) == (talk.c + 1, b"")
    talk.client(b"x" * 100)
    client, server = talk.plan()
    assert client.rcv_nxt == talk.c + 106
    assert server.sent + server.unsent == b"x" * 100 + b"later"


def test_beyond_the_peers_window_nothing_was_sent() -> None:
    """The window is the furthest the peer ever allowed, in its own scale (100 << 7)."""
    talk = Talk().open()
    talk.member(b"")
    talk.client(b"x" * 20000)
    _, server = talk.plan()
    assert (len(server.sent), len(server.unsent), server.snd_wnd) == (12800, 7200, 12800)


def test_windows_and_options_are_the_negotiated_ones() -> None:
    client, server = Talk().open().plan()
    assert (client.snd_wscale, client.rcv_wscale) == (7, 9)
    assert (client.mss_clamp, client.sack) == (1460, False)
    assert client.rcv_wnd == 0xFFFF << 9
    assert server.snd_wnd == 100  # a SYN-ACK's window is never scaled


def test_without_scaling_at_one_end_there_is_none() -> None:
    talk = Talk()
    talk.take(CLIENT, VIP, talk.c, SeqNum(0), SYN, options=MSS)
    talk.take(VIP, CLIENT, talk.v, talk.c + 1, SYN | ACK, options=MSS)
    talk.take(CLIENT, VIP, talk.c + 1, talk.v + 1, ACK)
    client = talk.tracker.plan(RECORD, 0.0).client
    assert (client.snd_wscale, client.rcv_wscale, client.timestamp) == (None, None, None)
    assert (client.snd_wnd, client.rcv_wnd) == (100, 0xFFFF)


def test_our_clock_goes_on_and_never_behind_what_the_peer_saw() -> None:
    talk = Talk().open()
    client, _ = talk.plan(now=2.0)
    assert client.timestamp == 700 + 2000 + CLOCK_SLACK_MS
    talk.take(CLIENT, VIP, talk.c + 1, talk.v + 1, ACK, options=stamps(5, 9999))
    client, _ = talk.plan(now=2.0)
    assert client.timestamp == 10000


def test_a_fin_the_peer_will_not_repeat_is_told_to_the_new_socket() -> None:
    talk = Talk().open()
    talk.client(b"bye", flags=ACK | FIN)
    client, server = talk.plan()
    assert client.rcv_nxt == talk.c + 4  # before the FIN
    assert client.fin is not None
    assert (client.fin.source, client.fin.destination) == (CLIENT, VIP)
    assert (client.fin.seq, client.fin.flags) == (client.rcv_nxt, FIN | ACK)
    assert server.fin is None


def test_a_fin_beyond_a_gap_has_not_been_received() -> None:
    talk = Talk().open()
    talk.client(b"bye", at=10, flags=ACK | FIN)
    client, _ = talk.plan()
    assert client.fin is None


def test_our_own_acknowledged_fin_is_sent_once_more() -> None:
    """The new socket must come to know of it; the peer answers a repeated FIN."""
    talk = Talk().open()
    talk.client(b"bye", flags=ACK | FIN)
    talk.member(b"", acked=4)
    _, server = talk.plan()
    assert (server.snd_una, server.sent) == (talk.s + 4, b"")


def not_restorable(talk: Talk) -> str:
    with pytest.raises(NotRestorable) as caught:
        talk.tracker.plan(RECORD, 0.0)
    return str(caught.value)


def test_what_cannot_be_restored_says_why() -> None:
    assert "handshake" in not_restorable(Talk())
    reset = Talk().open()
    reset.client(b"", flags=RST)
    assert "reset" in not_restorable(reset)
    closed = Talk().open()
    closed.client(b"", flags=ACK | FIN)
    closed.member(b"", acked=1, flags=ACK | FIN)
    closed.client(b"", at=1, acked=1)
    assert "closed" in not_restorable(closed)


def test_without_a_server_side_the_client_side_alone_is_restored() -> None:
    """What the client has sent by then is for the new server-side connection to carry."""
    talk = Talk()
    talk.shake_client()
    talk.client(b"early")
    plan = talk.tracker.plan(RECORD, 0.0)
    assert (plan.server, plan.client.rcv_nxt) == (None, talk.c + 6)
    assert plan.early == b"early"


def test_the_server_side_may_have_to_come_from_another_address() -> None:
    other = replace(RECORD, snat=Endpoint(IPv4Address("10.0.21.11"), 40000))
    plan = Talk().open().tracker.plan(other, 0.0)
    assert plan.server is not None
    assert plan.server.local == other.snat


def closed_by_the_member() -> Talk:
    """Client and member are both done, the member knows that we are; the client does not know
    that the member is: its last bytes and FIN are ours to send."""
    talk = Talk().open()
    talk.client(b"request", flags=ACK | FIN)
    talk.member(b"answer", acked=len(b"request") + 1, flags=ACK | FIN)
    return talk


def test_a_reset_of_a_connection_that_is_over_is_no_reset() -> None:
    """The member has forgotten it and answers the acknowledgement of its repeated FIN so; what
    the client still has to get must not be given up for that."""
    talk = closed_by_the_member()
    talk.take(MEMBER, SNAT, talk.m + 8, SeqNum(0), RST)
    plan = talk.tracker.plan(RECORD, 0.0)
    assert plan.client.sent + plan.client.unsent == b"answer"
    assert plan.server is not None
    assert plan.server.fin is not None


def test_a_reset_before_our_fin_was_acknowledged_is_one() -> None:
    talk = Talk().open()
    talk.client(b"request", flags=ACK | FIN)
    talk.member(b"answer", acked=len(b"request"), flags=ACK | FIN)
    talk.take(MEMBER, SNAT, talk.m + 8, SeqNum(0), RST)
    with pytest.raises(NotRestorable, match="reset by an end"):
        talk.tracker.plan(RECORD, 0.0)


def test_connections_that_agree_on_the_same_share_it() -> None:
    """Thousands of idle ones are kept: their timestamps differ, what counts of them does not."""
    one, two = Talk().open(), Talk(c=9)
    two.take(CLIENT, VIP, two.c, SeqNum(0), SYN, options=MSS + SCALE[7] + stamps(99, 0))
    assert one.tracker.client._peer is two.tracker.client._peer
    other = Talk()
    other.take(CLIENT, VIP, other.c, SeqNum(0), SYN, options=MSS + SCALE[9] + stamps(99, 0))
    assert other.tracker.client._peer is not two.tracker.client._peer
