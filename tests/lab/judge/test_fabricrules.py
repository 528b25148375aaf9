"""What the fabric's own doings explain: each test is one made-up capture and its log."""

from __future__ import annotations

import pytest

from emulator.lab.judge.facts import Record, gather
from emulator.lab.judge.tracing import trace
from emulator.lab.judge.verdict import Verdict, judge
from emulator.wire.segment import ACK, RST, SYN, Endpoint, Segment
from emulator.wire.seqnum import SeqNum
from tests.support.tape import CLIENT, VIP, Conversation

HA = {"a": "10.0.12.11", "b": "10.0.22.11"}


def verdict(talk: Conversation, *records: Record) -> Verdict:
    return judge(gather(trace(talk.frames), records))[0]


def found(talk: Conversation, *records: Record) -> tuple[str, str | None]:
    judged = verdict(talk, *records)
    return judged.outcome, judged.cause.id


def opened() -> Conversation:
    talk = Conversation()
    talk.open("a")
    talk.client("ls\n", "a")
    talk.server("file\n", "a")
    talk.acks("a")
    return talk


def mirror_syn(talk: Conversation, *, answered: bool) -> None:
    """bigip-a tries to open the mirroring channel."""
    near, far = Endpoint.of(f"{HA['a']}:33333"), Endpoint.of(f"{HA['b']}:1029")
    syn = Segment(near, far, SeqNum(5), SeqNum(0), SYN)
    talk._send(syn, [("bigip-a:ha", True), ("bigip-b:ha", False)][: 1 + answered], near, far)
    if answered:
        back = Segment(far, near, SeqNum(6), SeqNum(6), SYN | ACK)
        talk._send(back, [("bigip-b:ha", True), ("bigip-a:ha", False)], far, near)


def ends_at_b(talk: Conversation) -> Conversation:
    talk.heartbeat("a", active=True)
    talk.heartbeat("b", active=True)
    talk.client("pwd\n", "b", until="bigip-b:ext")
    talk.device_resets("b")
    return talk


def test_a_channel_that_never_came_up_is_why_the_new_device_knew_nothing() -> None:
    talk = opened()
    mirror_syn(talk, answered=False)
    mirror_syn(talk, answered=False)
    judged = verdict(ends_at_b(talk))
    assert (judged.outcome, judged.cause.id) == ("RESET", "mirror-channel-down")
    assert any("tries to open the mirroring channel" in e.text for e in judged.cause.evidence)
    dropped: Record = {
        "time": talk.now / 1e9, "node": "fabric", "what": "dropped",
        "counter": "security-group-denied/b-ha", "source": f"{HA['a']}:33333",
    }  # fmt: skip
    assert "(fabric counter security-group-denied/b-ha)" in verdict(talk, dropped).cause.text


def test_a_channel_that_was_up_is_not_blamed() -> None:
    talk = opened()
    mirror_syn(talk, answered=False)
    mirror_syn(talk, answered=True)
    assert found(ends_at_b(talk)) == ("RESET", "no-flow-reset")


def test_without_mirroring_nobody_tries_and_the_channel_is_not_blamed() -> None:
    assert found(ends_at_b(opened())) == ("RESET", "no-flow-reset")


def test_a_channel_that_is_tried_after_the_reset_only_is_not_blamed() -> None:
    talk = ends_at_b(opened())
    mirror_syn(talk, answered=False)  # by a device that is not active any more
    assert found(talk) == ("RESET", "no-flow-reset")


def lost_in_fabric() -> tuple[Conversation, Record]:
    """The server's data goes into the fabric and does not come out; and what the log says."""
    talk = opened()
    talk.client("pwd\n", "b")
    for _ in range(3):
        talk.wait(2)
        talk.server("/root\n", "b", until="router:be1-eth0")
    at = talk.frames[-1].time_ns / 1e9
    sent = trace(talk.frames).transmissions[-1].segment
    talk.wait(1)
    talk.client("x", "b", until="client:eth0")
    return talk, {
        "time": at, "node": "fabric", "what": "dropped", "packets": 1,
        "counter": "security-group-lost-state/b-int", "owner": "bigip-b:int",
        "source": str(sent.source), "seq": sent.seq.value, "ack": sent.ack.value,
    }  # fmt: skip


@pytest.mark.parametrize(
    "kind", ["security-group-lost-state", "security-group-denied", "firewall-lost-state"]
)
def test_a_filter_is_named_by_the_logs_line_on_the_very_segment(kind: str) -> None:
    talk, line = lost_in_fabric()
    line = {**line, "counter": f"{kind}/b-int"}
    judged = verdict(talk, line)
    assert (judged.outcome, judged.cause.id) == ("STALLED", kind)
    assert "bigip-b:int" in judged.cause.text


@pytest.mark.parametrize(
    "change",
    [{"seq": 1}, {"source": "10.0.31.100:99"}, {"time": 5.0}, {"counter": "other/b-int"}],
)
def test_a_line_on_another_segment_explains_nothing(change: Record) -> None:
    talk, line = lost_in_fabric()
    assert found(talk, {**line, **change}) == ("STALLED", "unknown")


def test_a_listeners_lost_acknowledgement_is_not_what_stalls_it() -> None:
    """A feed: the client's last word is an acknowledgement that the old device swallowed. The
    server's data is what goes missing, and elsewhere."""
    talk = Conversation()
    talk.open("a")
    talk.server("tick\n", "a")
    talk._client(b"", ACK, "a", until="bigip-a:ext")
    for _ in range(3):
        talk.wait(2)
        talk.server("tick\n", "b", until="router:be1-eth0")
    sent = trace(talk.frames).transmissions[-1].segment
    line: Record = {
        "time": talk.frames[-1].time_ns / 1e9, "node": "fabric", "what": "dropped", "packets": 1,
        "counter": "security-group-lost-state/b-int", "owner": "bigip-b:int",
        "source": str(sent.source), "seq": sent.seq.value, "ack": sent.ack.value,
    }  # fmt: skip
    talk.wait(1)
    talk._client(b"", ACK, "b", until="client:eth0")
    assert found(talk, line) == ("STALLED", "security-group-lost-state")


def test_without_the_log_a_filter_cannot_be_told_from_other_losses_in_the_fabric() -> None:
    """Open: captures are taken at the fabric's edge, and every filter is inside."""
    talk, _ = lost_in_fabric()
    assert found(talk) == ("STALLED", "unknown")


def behind_elastic_ip(inner: str) -> Verdict:
    """The client's address for the service stays; the device's own behind it may not."""
    talk = Conversation()
    talk.open("a", inner="10.0.10.100")
    talk.client("ls\n", "a", inner="10.0.10.100")
    talk.client("pwd\n", "b", until="bigip-b:ext", inner=inner)
    talk.device_resets("b", inner=inner)
    return verdict(talk)


def test_another_destination_address_at_the_new_device_is_the_cause() -> None:
    judged = behind_elastic_ip("10.0.20.100")
    assert (judged.outcome, judged.cause.id) == ("RESET", "vip-address-changed")
    assert "10.0.10.100:23" in judged.cause.text
    assert "10.0.20.100:23" in judged.cause.text


def test_the_same_destination_address_at_the_new_device_is_not() -> None:
    judged = behind_elastic_ip("10.0.10.100")
    assert (judged.outcome, judged.cause.id) == ("RESET", "no-flow-reset")


@pytest.mark.parametrize("first", [True, False])
def test_the_new_device_may_pass_on_what_the_server_sends_all_the_same(first: bool) -> None:
    """The server's side kept its addresses: its segments match the mirrored flow, before or
    after the client has been reset."""
    talk = Conversation()
    talk.open("a", inner="10.0.10.100")
    talk.server("file\n", "a")
    if first:
        talk.server("more\n", "b")
    talk.client("pwd\n", "b", until="bigip-b:ext", inner="10.0.20.100")
    talk.device_resets("b", inner="10.0.20.100")
    if not first:
        talk.server("more\n", "b")
    assert found(talk) == ("RESET", "vip-address-changed")


def test_what_the_new_device_passes_on_after_the_reset_proves_no_flow() -> None:
    talk = ends_at_b(opened())
    talk.server("more\n", "b")
    assert found(talk) == ("RESET", "no-flow-reset")


def test_segments_for_another_address_that_are_swallowed_in_silence() -> None:
    talk = Conversation()
    talk.open("a", inner="10.0.10.100")
    talk.client("pwd\n", "b", until="bigip-b:ext", inner="10.0.20.100")
    for _ in range(2):
        talk.wait(4)
        talk.client("pwd\n", "b", until="bigip-b:ext", inner="10.0.20.100", again=True)
    talk.wait(1)
    talk.client("x", "b", until="client:eth0")
    assert found(talk) == ("STALLED", "vip-address-changed")


def probed(talk: Conversation, device: str, *, answered: bool) -> None:
    """A health probe of a device's outer address, from its gateway."""
    subnet = {"a": "10.0.10", "b": "10.0.20"}[device]
    near, far = Endpoint.of(f"{subnet}.1:{5000 + talk._ident}"), Endpoint.of(f"{subnet}.11:8080")
    way = [(f"router:{device}-ext", True), (f"bigip-{device}:ext", False)]
    talk._send(Segment(near, far, SeqNum(5), SeqNum(0), SYN), way, near, far)
    if answered:
        back = Segment(far, near, SeqNum(6), SeqNum(6), SYN | ACK)
        way = [(f"bigip-{device}:ext", True), (f"router:{device}-ext", False)]
        talk._send(back, way, far, near)
    talk.wait(0.1)


def goes_on_to_a(talk: Conversation, *, a: bool, b: bool) -> Conversation:
    """After the failover the client's segments still go to bigip-a; probes say how both are."""
    for _ in range(3):
        talk.wait(2)
        probed(talk, "a", answered=a)
        probed(talk, "b", answered=b)
        talk.client("pwd\n", "a", until="router:a-ext")
    talk.wait(1)
    talk.client("x", "a", until="client:eth0")
    return talk


def test_a_load_balancer_that_keeps_to_a_target_it_knows_to_be_dead() -> None:
    judged = verdict(goes_on_to_a(opened(), a=False, b=True))
    assert (judged.outcome, judged.cause.id) == ("STALLED", "load-balancer-pinned")
    shown = {e.text for e in judged.cause.evidence}
    assert {"health probe of bigip-a: failed", "health probe of bigip-b: answered"} <= shown


def test_it_keeps_to_the_dead_target_although_the_servers_side_has_moved() -> None:
    """The server's last line is sent again, by the new device: the client's side is what hangs."""
    talk = opened()
    talk.server("more\n", "b")
    assert found(goes_on_to_a(talk, a=False, b=True)) == ("STALLED", "load-balancer-pinned")


@pytest.mark.parametrize(("a", "b"), [(True, True), (False, False), (True, False)])
def test_a_load_balancer_that_does_not_know_better_is_not_blamed(a: bool, b: bool) -> None:
    assert found(goes_on_to_a(opened(), a=a, b=b)) == ("STALLED", "route-never-moved")


def test_a_reset_that_begins_in_the_fabric_is_a_load_balancers() -> None:
    talk = opened()
    talk.client("pwd\n", "a", until="router:client-eth0")
    reset = Segment(VIP, CLIENT, talk.server_next, SeqNum(0), RST)
    talk._send(reset, [("router:client-eth0", True), ("client:eth0", False)], VIP, CLIENT)
    line: Record = {
        "time": talk.now / 1e9, "node": "fabric", "what": "load-balancer-reset",
        "source": str(CLIENT), "reason": "bigip-a is unhealthy",
    }  # fmt: skip
    assert found(talk) == ("RESET", "load-balancer-reset")
    assert "bigip-a is unhealthy" in verdict(talk, line).cause.text


def test_a_device_that_only_swallowed_segments_for_a_while_did_not_take_over() -> None:
    """Flapping: there and back before anything came through."""
    talk = opened()
    talk.client("pwd\n", "b", until="bigip-b:ext")
    talk.wait(2)
    talk.client("pwd\n", "a", again=True)
    talk.server("/root\n", "a")
    talk.acks("a")
    judged = verdict(talk)
    assert (judged.outcome, judged.cause.id) == ("SURVIVED", None)
    assert "bigip-a carried the connection from beginning to end" in judged.cause.text


def moved(talk: Conversation, **change: str) -> Record:
    return {"time": talk.now / 1e9, "node": "fabric", "what": "effective", **change}


@pytest.mark.parametrize(
    "taken",
    [{"address": str(VIP.address), "taken_from": "eni-a"}, {"public": str(VIP.address)}],
    ids=["secondary", "elastic"],
)
def test_an_address_that_nobody_has_is_why_nothing_comes_out_of_the_fabric(
    taken: dict[str, str],
) -> None:
    talk = opened()
    gone = moved(talk, **taken)
    again = moved(talk, target="eni-a", **{k: v for k, v in taken.items() if k != "taken_from"})
    talk.client("pwd\n", "a", until="router:client-eth0")
    talk.wait(10)
    talk.heartbeat("b", active=True)
    given = moved(talk, target="eni-b", **{k: v for k, v in taken.items() if k != "taken_from"})
    early = moved(opened(), target="eni-a", address=str(VIP.address))
    judged = verdict(talk, early, gone)
    assert (judged.outcome, judged.cause.id) == ("STALLED", "address-unassigned")
    assert str(VIP.address) in judged.cause.text
    assert found(talk) == ("STALLED", "unknown")  # the captures cannot tell
    assert found(talk, gone, given) == ("STALLED", "unknown")  # the next one would have come out
    assert found(talk, gone, again) == ("STALLED", "unknown")  # somebody had it again
    other = gone | {"address": "10.0.10.9", "public": "10.0.10.9"}
    assert found(talk, other) == ("STALLED", "unknown")


def test_an_address_taken_after_the_last_segment_is_not_why_it_was_lost() -> None:
    talk = opened()
    talk.client("pwd\n", "a", until="router:client-eth0")
    talk.wait(10)
    talk.heartbeat("b", active=True)
    late = moved(talk, address=str(VIP.address), taken_from="eni-a")
    assert found(talk, late) == ("STALLED", "unknown")


def denied_syn() -> tuple[Conversation, Record]:
    """A SYN, again and again, that goes into the fabric; and its log's word on the last."""
    talk = Conversation()
    for again in (0, 1, 3):
        talk.wait(again)
        talk._client(b"", SYN, "a", until="router:client-eth0")
        talk.client_next = SeqNum(1000)
    line: Record = {
        "time": talk.frames[-1].time_ns / 1e9, "node": "fabric", "what": "dropped", "packets": 1,
        "counter": "security-group-denied/a-ext", "owner": "bigip-a:ext",
        "source": str(CLIENT), "seq": 1000, "ack": talk.server_next.value,
    }  # fmt: skip
    talk.wait(2)
    talk.heartbeat("a", active=True)
    return talk, line


def test_a_connection_whose_syn_nobody_answered_is_no_survivor() -> None:
    """Not a byte of it is lost, for it never came to send one."""
    talk, line = denied_syn()
    assert found(talk, line) == ("STALLED", "security-group-denied")


def test_one_that_has_only_just_begun_is_not_stalled() -> None:
    talk = Conversation()
    talk._client(b"", SYN, "a", until="router:client-eth0")
    talk.wait(1)
    talk.heartbeat("a", active=True)
    assert found(talk) == ("SURVIVED", None)
