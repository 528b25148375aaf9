"""Ends that give up, by their own packets: each test is one made-up capture."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from emulator.lab.judge.verdict import Verdict
from emulator.wire.segment import ACK, FIN, RST
from tests.lab.judge.test_verdict import found, opened, verdict
from tests.support.tape import Conversation

OLD = "router:a-ext"  # on the way to the device that is active no more, and no further
DOUBLING = (0.3, 0.6, 1.2, 2.4, 4.8)


def waits(talk: Conversation, gaps: Sequence[float], until: str = OLD) -> None:
    """The client sends a line and repeats it after each gap; nothing comes back."""
    talk.client("pwd\n", "a", until=until)
    for gap in gaps:
        talk.wait(gap)
        talk.client("pwd\n", "a", again=True, until=until)


def last_sign(talk: Conversation) -> None:
    """The capture goes on until now: a heartbeat is in it."""
    talk.heartbeat("b", active=True)


def shown(judged: Verdict) -> str:
    return " | ".join(e.text for e in judged.cause.evidence)


def test_a_fin_for_want_of_an_answer_is_the_programs_timer() -> None:
    talk = opened()
    waits(talk, (1, 2))
    talk._client(b"", FIN | ACK, "a", until=OLD)
    judged = verdict(talk)
    assert (judged.outcome, judged.cause.id) == ("TIMED_OUT", "application-timer")
    assert "client closed the connection by itself" in judged.cause.text
    assert "client's own FIN, unasked" in shown(judged)


def test_so_it_is_when_everything_arrives_later_and_both_ends_close() -> None:
    """Two FINs that arrive are no regular close when the first came of impatience."""
    talk = opened()
    waits(talk, (1, 2))
    talk._client(b"", FIN | ACK, "a", until=OLD)
    talk.wait(5)
    talk.client_next = talk.client_next + (-1)
    talk.client("pwd\n", "b", again=True)
    talk._client(b"", FIN | ACK, "b")
    talk._server(b"", FIN | ACK, "b")
    assert found(talk) == ("TIMED_OUT", "application-timer")


def test_a_reset_of_its_own_making_is_an_abort() -> None:
    talk = opened()
    waits(talk, (1, 2))
    talk._client(b"", RST | ACK, "a", until=OLD)
    judged = verdict(talk)
    assert (judged.outcome, judged.cause.id) == ("TIMED_OUT", "application-timer")
    assert "aborted" in judged.cause.text


def test_a_close_right_after_a_line_is_none() -> None:
    talk = opened()
    talk.client("exit\n", "a")
    talk.fins("a")
    assert found(talk) == ("CLOSED", None)


def test_a_close_long_after_an_answered_line_is_none() -> None:
    talk = opened()
    talk.wait(30)
    talk.fins("a")
    assert found(talk) == ("CLOSED", None)


def test_who_is_reset_by_a_device_did_not_give_up() -> None:
    talk = opened()
    waits(talk, DOUBLING)
    talk.wait(1)
    talk.client("pwd\n", "b", again=True, until="bigip-b:ext")
    talk.device_resets("b")
    talk.wait(60)  # and no retransmission any more
    last_sign(talk)
    assert found(talk) == ("RESET", "no-flow-reset")


def test_a_kernel_that_misses_a_retransmission_has_given_up() -> None:
    """The next one was due 9.6 s after the last."""
    talk = opened()
    waits(talk, DOUBLING)
    talk.wait(13)
    last_sign(talk)
    judged = verdict(talk)
    assert (judged.outcome, judged.cause.id) == ("TIMED_OUT", "endpoint-gave-up")
    assert "after 5 retransmissions the next one was due 9.6 s after" in judged.cause.text
    assert "client's last retransmission of them, number 5" in shown(judged)


def test_one_whose_next_retransmission_is_not_due_yet_has_not() -> None:
    talk = opened()
    waits(talk, DOUBLING)
    talk.wait(9)
    last_sign(talk)
    assert found(talk)[0] == "STALLED"


def test_a_few_retransmissions_foretell_nothing() -> None:
    talk = opened()
    waits(talk, DOUBLING[:2])
    talk.wait(60)
    last_sign(talk)
    assert found(talk)[0] == "STALLED"


def server_speaks_to_nobody(talk: Conversation) -> None:
    """A segment of the connection reaches the client, which has none any more."""
    talk.server("news\n", "b")
    talk._client(b"", RST, "b")


def test_a_reset_of_a_kernel_that_was_silent_when_it_was_due_shows_the_same() -> None:
    talk = opened()
    waits(talk, DOUBLING)
    talk.wait(14)
    server_speaks_to_nobody(talk)
    judged = verdict(talk)
    assert (judged.outcome, judged.cause.id) == ("TIMED_OUT", "endpoint-gave-up")
    assert "nobody there has the connection any more" in shown(judged)


def test_a_reset_of_a_kernel_that_went_on_until_then_shows_a_program_that_had_gone() -> None:
    """Its FIN was still waiting behind the bytes it had written."""
    talk = opened()
    waits(talk, DOUBLING)
    talk.wait(9.6)
    talk.client("pwd\n", "b", again=True)
    server_speaks_to_nobody(talk)
    judged = verdict(talk)
    assert (judged.outcome, judged.cause.id) == ("TIMED_OUT", "application-timer")


def test_so_it_is_when_another_segment_comes_before_the_one_that_is_answered() -> None:
    """An acknowledgement asks nothing of a socket nobody holds any more; data behind it does."""
    talk = opened()
    waits(talk, DOUBLING)
    talk.wait(9.6)
    talk.client("pwd\n", "b", again=True)
    talk._server(b"", ACK, "b")
    server_speaks_to_nobody(talk)
    judged = verdict(talk)
    assert (judged.outcome, judged.cause.id) == ("TIMED_OUT", "application-timer")


def test_a_reset_long_after_a_silence_is_not_of_it() -> None:
    talk = opened()
    waits(talk, DOUBLING)
    talk.client("pwd\n", "b", again=True)
    talk._server(b"", ACK, "b")
    talk.wait(5)
    server_speaks_to_nobody(talk)
    assert found(talk)[1] != "application-timer"


def answer_lost(talk: Conversation, gaps: Sequence[float]) -> None:
    """The server's kernel acknowledged a line; its program's answer never comes."""
    talk.client("pwd\n", "a")
    talk._server(b"", ACK, "a")
    talk.server("/root\n", "a", until="router:a-int")
    for gap in gaps:
        talk.wait(gap)
        talk.server("/root\n", "a", again=True, until="router:a-int")


@pytest.mark.parametrize("flags", [FIN | ACK, RST | ACK])
def test_who_misses_an_answer_may_owe_nothing(flags: int) -> None:
    talk = opened()
    answer_lost(talk, (1, 2))
    talk._client(b"", flags, "a", until=OLD)
    talk.wait(4)
    talk.server("/root\n", "b", again=True)
    talk._client(b"", RST, "b")
    judged = verdict(talk)
    assert (judged.outcome, judged.cause.id) == ("TIMED_OUT", "application-timer")
    assert "bytes that backend-1 had sent it had not come for 3" in judged.cause.text
    assert "client's own" in shown(judged)


def test_a_close_while_an_answer_is_just_under_way_is_none() -> None:
    talk = opened()
    answer_lost(talk, (0.2,))
    talk._client(b"", FIN | ACK, "a")
    talk.server("/root\n", "a", again=True)
    talk._server(b"", FIN | ACK, "a")
    assert found(talk) == ("CLOSED", None)


def test_a_server_can_give_up_as_well() -> None:
    talk = opened()
    talk.server("news\n", "a", until="router:a-int")
    for gap in DOUBLING:
        talk.wait(gap)
        talk.server("news\n", "a", again=True, until="router:a-int")
    talk.wait(13)
    last_sign(talk)
    judged = verdict(talk)
    assert (judged.outcome, judged.cause.id) == ("TIMED_OUT", "endpoint-gave-up")
    assert "backend-1 stopped retransmitting" in judged.cause.text


@pytest.mark.parametrize("by_itself", [False, True])
def test_what_the_new_device_swallows_is_lost_whoever_gives_up(by_itself: bool) -> None:
    """Patience would not have helped: the cause is where the segments went."""
    talk = opened()
    waits(talk, DOUBLING[:4])
    talk.wait(4.8)
    talk.client("pwd\n", "b", again=True, until="bigip-b:ext")
    if by_itself:
        talk._client(b"", FIN | ACK, "b", until="bigip-b:ext")
    talk.wait(13)
    last_sign(talk)
    judged = verdict(talk)
    assert (judged.outcome, judged.cause.id) == ("TIMED_OUT", "no-flow-dropped")
    assert "client" in judged.cause.text


def test_the_text_tells_when_the_path_was_back() -> None:
    """By whichever connection shows it: here the server's own line."""
    talk = opened()
    waits(talk, DOUBLING)
    talk.wait(14)
    server_speaks_to_nobody(talk)
    assert "14.0 s after that the first segment went by the other device" in (
        verdict(talk).cause.text
    )


def test_a_retransmission_that_begins_later_counts_as_one() -> None:
    """Part of what was repeated got through: the rest goes on from there, in its own time."""
    talk = opened()
    talk.client("pwd\n", "a", until=OLD)
    talk.client("ls -l\n", "a", until=OLD)
    for gap in DOUBLING:
        talk.wait(gap)
        talk.client("pwd\nls -l\n", "a", again=True, until=OLD)
    everything = talk.client_next
    talk.client_next = everything + (-6)
    talk.server("x", "b")
    talk.client_next = everything
    talk.wait(DOUBLING[-1])
    talk.client("ls -l\n", "a", again=True, until=OLD)
    talk.wait(9)
    last_sign(talk)
    assert found(talk)[0] == "STALLED"
