"""From frames to outcome and cause: each test is one made-up capture and nothing else."""

from __future__ import annotations

from dataclasses import replace

import pytest

from emulator.lab.judge.facts import Record, gather
from emulator.lab.judge.tracing import trace
from emulator.lab.judge.verdict import Verdict, judge
from emulator.wire.segment import RST, Endpoint, Segment
from emulator.wire.seqnum import SeqNum
from tests.support.tape import CLIENT, SERVER, VIP, Conversation, hops


def verdict(talk: Conversation, *records: Record) -> Verdict:
    [found] = judge(gather(trace(talk.frames), records))
    return found


def opened(**options: object) -> Conversation:
    """A connection by bigip-a with one line said each way."""
    talk = Conversation(**options)  # type: ignore[arg-type]
    talk.open("a")
    talk.client("ls\n", "a")
    talk.server("file\n", "a")
    talk.acks("a")
    return talk


def found(talk: Conversation, *records: Record) -> tuple[str, str | None]:
    judged = verdict(talk, *records)
    return judged.outcome, judged.cause.id


def test_a_quiet_connection_survived_and_nothing_is_invented() -> None:
    judged = verdict(opened())
    assert (judged.outcome, judged.cause.id, judged.cause.evidence) == ("SURVIVED", None, ())
    assert (judged.blackout.to_server_s, judged.blackout.to_client_s) == (None, None)


def test_a_connection_both_ends_close_is_closed() -> None:
    talk = opened()
    talk.fins("a")
    assert found(talk) == ("CLOSED", None)


def test_surviving_a_switch_states_the_blackout() -> None:
    """From the last byte by bigip-a to the first by bigip-b, per direction."""
    talk = opened()
    talk.wait(5)
    talk.client("pwd\n", "b")
    talk.server("/root\n", "b")
    talk.acks("b")
    judged = verdict(talk)
    assert (judged.outcome, judged.cause.id) == ("SURVIVED", None)
    assert judged.blackout.to_server_s == pytest.approx(5.0, abs=0.1)
    assert judged.blackout.to_client_s == pytest.approx(5.0, abs=0.1)
    assert "bigip-b took over" in judged.cause.text


@pytest.mark.parametrize("isn", [1000, 2**32 - 1, 2**32 - 3])
def test_sequence_numbers_may_wrap(isn: int) -> None:
    talk = opened(isn=isn)
    talk.wait(5)
    talk.client("pwd\n", "b")
    talk.acks("b")
    judged = verdict(talk)
    assert judged.outcome == "SURVIVED"
    assert (judged.bytes.sent, judged.bytes.delivered, judged.bytes.altered) == (12, 12, 0)


def test_a_reset_by_the_server_for_an_unknown_source_is_the_snat_address() -> None:
    talk = opened(snat="10.0.11.11")
    talk.client("pwd\n", "b", snat="10.0.21.11")
    talk.server_resets("b", snat="10.0.21.11")
    judged = verdict(talk)
    assert (judged.outcome, judged.cause.id) == ("RESET", "snat-address-changed")
    assert "10.0.21.11:40000" in judged.cause.text
    assert "answers with a reset" in judged.cause.evidence[-2].text


def test_a_reset_by_the_server_for_the_right_source_is_not_blamed_on_snat() -> None:
    """The same reset where the address did not change: the server had its own reasons."""
    talk = opened()
    talk.client("pwd\n", "b")
    talk.server_resets("b")
    assert found(talk) == ("RESET", "unknown")


def test_a_reset_long_after_the_last_segment_answers_none() -> None:
    talk = opened()
    talk.client("pwd\n", "b")
    talk.wait(1.5)
    talk.server_resets("b")
    shown = [e.text for e in verdict(talk).cause.evidence]
    assert "backend-1 sends a reset" in shown
    assert not [
        text for text in shown if "answers" in text or text.startswith("backend-1 receives")
    ]


def test_replies_to_the_old_devices_own_address_are_the_snat_address() -> None:
    """The client's segments moved, the server answers to an address that did not."""
    talk = opened(snat="10.0.11.11")
    talk.client("pwd\n", "b")
    for _ in range(3):
        talk.wait(2)
        talk.server("/root\n", "a", until="bigip-a:int")
    assert found(talk) == ("STALLED", "snat-address-changed")


def test_replies_to_an_address_that_could_move_are_asymmetric() -> None:
    talk = opened(snat="10.88.0.10")
    talk.client("pwd\n", "b")
    for _ in range(3):
        talk.wait(2)
        talk.server("/root\n", "a", until="bigip-a:int")
    assert found(talk) == ("STALLED", "asymmetric-route")


@pytest.mark.parametrize("until", ["router:a-ext", "bigip-a:ext"])
def test_segments_that_go_to_the_old_device_until_the_end(until: str) -> None:
    talk = opened()
    talk.client("pwd\n", "a", until=until)
    for _ in range(3):
        talk.wait(2)
        talk.client("pwd\n", "a", until=until, again=True)
    talk.wait(1)
    talk.client("x", "a", until=until)
    assert found(talk) == ("STALLED", "route-never-moved")


def test_a_reset_by_a_device_that_never_carried_the_connection() -> None:
    talk = opened()
    talk.client("pwd\n", "b", until="bigip-b:ext")
    talk.device_resets("b")
    assert found(talk) == ("RESET", "no-flow-reset")


def test_the_devices_own_words_are_quoted_where_there_is_a_journal() -> None:
    talk = opened()
    talk.client("pwd\n", "b", until="bigip-b:ext")
    arrival = talk.frames[-1].time_ns / 1e9
    talk.device_resets("b")
    line: Record = {
        "time": arrival, "node": "bigip-b", "what": "reset-sent", "cause": "No flow found for ACK",
        "source": "10.0.1.10:40000", "destination": "10.99.0.10:23",
        "seq": (talk.client_next.value - 4),
    }  # fmt: skip
    assert '("No flow found for ACK")' in verdict(talk, line).cause.text


def test_a_reset_by_the_old_device() -> None:
    """Its own heartbeat said that it stands by."""
    talk = opened()
    talk.heartbeat("a", active=True)
    talk.heartbeat("a", active=False)
    talk.client("pwd\n", "a", until="bigip-a:ext")
    talk.device_resets("a")
    assert found(talk) == ("RESET", "old-active-answered")


def test_a_reset_by_the_old_device_of_a_segment_that_came_while_it_was_active() -> None:
    """What it was when it answered counts: it may take the segment up after it stood by."""
    talk = opened()
    talk.heartbeat("a", active=True)
    talk.client("pwd\n", "a", until="bigip-a:ext")
    talk.heartbeat("a", active=False)
    talk.device_resets("a")
    assert found(talk) == ("RESET", "old-active-answered")


def test_a_reset_by_the_device_that_is_still_active_is_no_failovers_doing() -> None:
    talk = opened()
    talk.heartbeat("a", active=True)
    talk.client("pwd\n", "a", until="bigip-a:ext")
    talk.device_resets("a")
    assert found(talk) == ("RESET", "unknown")


def test_segments_lost_in_the_device_that_is_still_active_are_not_the_routes_doing() -> None:
    talk = opened()
    talk.client("pwd\n", "a", until="bigip-a:ext")
    talk.wait(4)
    talk.heartbeat("a", active=True)
    talk.client("pwd\n", "a", until="bigip-a:ext", again=True)
    last_frame(talk)
    assert found(talk) == ("STALLED", "unknown")


def test_a_dead_devices_last_heartbeat_does_not_speak_for_it() -> None:
    """Power off: it had called itself active, long ago, and the other one does now."""
    talk = opened()
    talk.heartbeat("a", active=True)
    talk.client("pwd\n", "a", until="bigip-a:ext")
    talk.wait(3)
    talk.heartbeat("b", active=True)
    talk.client("pwd\n", "a", until="bigip-a:ext", again=True)
    last_frame(talk)
    assert found(talk) == ("STALLED", "route-never-moved")


def test_a_flow_that_had_expired_is_named_so() -> None:
    """The journal of the device that reset says why it knew the flow no more."""
    talk = opened()
    talk.client("pwd\n", "b", until="bigip-b:ext")
    talk.device_resets("b")
    line: Record = {
        "time": talk.now / 1e9 - 1, "node": "bigip-b", "what": "flow-closed",
        "client": "10.0.1.10:40000", "why": "Flow expired (sweeper)",
    }  # fmt: skip
    assert found(talk, line) == ("RESET", "idle-expired")


def test_what_comes_after_the_observation_is_no_evidence() -> None:
    """Teardown kills the programs: its resets are nobody's result."""
    talk = opened()
    end = talk.now
    talk.client("pwd\n", "b")
    talk.device_resets("b")
    [judged] = judge(gather(trace(talk.frames, until_ns=end)))
    assert judged.outcome == "SURVIVED"


def test_segments_the_new_device_swallows() -> None:
    talk = opened()
    talk.client("pwd\n", "b", until="bigip-b:ext")
    talk.wait(4)
    talk.client("pwd\n", "b", until="bigip-b:ext", again=True)
    talk.wait(0.2)
    talk.client("pwd\n", "b", until="bigip-b:ext", again=True)
    assert found(talk) == ("STALLED", "no-flow-dropped")


def dropped_by_fabric() -> Conversation:
    talk = opened()
    talk.client("pwd\n", "b", until="router:b-int")
    talk.wait(4)
    talk.client("pwd\n", "b", until="router:b-int", again=True)
    talk.wait(0.2)
    return talk


def last_frame(talk: Conversation) -> float:
    """Seconds; and a frame of no connection, so that the capture goes on a little."""
    at = talk.frames[-1].time_ns / 1e9
    other = Conversation()
    other.now = talk.now + 600_000_000
    other.client("other", "a", until="client:eth0")
    talk.frames += other.frames
    return at


def test_segments_the_fabric_drops_need_its_counter_to_be_explained() -> None:
    talk = dropped_by_fabric()
    counter: Record = {
        "time": last_frame(talk), "node": "fabric", "what": "dropped",
        "counter": "source-dest-check/b-int", "packets": 1,
    }  # fmt: skip
    assert found(talk, counter) == ("STALLED", "source-dest-check")
    assert found(talk) == ("STALLED", "unknown")


def test_a_counter_of_another_time_explains_nothing() -> None:
    talk = dropped_by_fabric()
    counter: Record = {
        "time": last_frame(talk) - 60, "node": "fabric", "what": "dropped",
        "counter": "source-dest-check/b-int", "packets": 1,
    }  # fmt: skip
    assert found(talk, counter) == ("STALLED", "unknown")


def test_what_was_lost_before_the_fabric_moved_is_not_the_cause() -> None:
    """Losses of the outage itself, then recovery: that is surviving."""
    talk = opened()
    talk.client("pwd\n", "a", until="bigip-a:ext")
    talk.wait(1)
    talk.client("pwd\n", "a", until="bigip-a:ext", again=True)
    talk.wait(4)
    talk.client("pwd\n", "b", again=True)
    talk.server("/root\n", "b")
    talk.acks("b")
    assert found(talk) == ("SURVIVED", None)


def test_a_reset_for_another_source_address_resets_nothing() -> None:
    """The server's socket is with 10.88.0.10: a reset from elsewhere is not for it."""
    talk = opened()
    stranger = replace(Segment(CLIENT, VIP, talk.client_next, SeqNum(0), RST), identification=777)
    talk._send(stranger, hops("client", "b"), Endpoint.of("10.0.21.11:40000"), SERVER)
    assert found(talk) == ("SURVIVED", None)


def test_altered_bytes_are_counted() -> None:
    talk = opened()
    talk.client("rm -i x\n", "a", alter=b"rm -f x\n")
    talk.acks("a")
    talk.wait(0.5)
    talk.client("ok", "a")
    talk.acks("a")
    last_frame(talk)
    assert verdict(talk).bytes.altered == 1


def test_a_capture_that_misses_bytes_is_known_as_such() -> None:
    """A hole in what left the sender is the lab's fault, never a result."""
    talk = opened()
    talk.client("one", "a")
    del talk.frames[-8:]
    talk.client("two", "a")
    [connection] = gather(trace(talk.frames)).connections
    assert connection.to_server.gap


def test_a_program_that_reports_a_time_out_is_not_believed_without_packets() -> None:
    talk = opened()
    talk.client("pwd\n", "a", until="bigip-a:ext")
    line: Record = {
        "time": talk.now / 1e9, "node": "client", "session": "telnet", "what": "ended",
        "reason": "Connection timed out",
    }  # fmt: skip
    assert found(talk, line) == found(talk)
    assert found(talk)[0] != "TIMED_OUT"
