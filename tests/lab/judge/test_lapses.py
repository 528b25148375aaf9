"""A device that forgot a connection it had carried: told by its own heartbeats alone."""

from __future__ import annotations

from emulator.lab.judge.facts import gather
from emulator.lab.judge.tracing import trace
from emulator.lab.judge.verdict import Verdict, judge
from tests.support.tape import Conversation


def reset_by_a(*heartbeats: tuple[bool, int]) -> Verdict:
    """A connection through bigip-a, which resets it after these heartbeats of its own."""
    talk = Conversation()
    talk.heartbeat("a", active=True, sequence=7)
    talk.open("a")
    talk.client("ls\n", "a")
    talk.server("file\n", "a")
    talk.acks("a")
    for active, sequence in heartbeats:
        talk.heartbeat("a", active=active, sequence=sequence)
    talk.client("pwd\n", "a", until="bigip-a:ext")
    talk.device_resets("a")
    [verdict] = judge(gather(trace(talk.frames)))
    return verdict


def test_a_device_that_began_anew_had_no_flow() -> None:
    verdict = reset_by_a((True, 8), (False, 1), (True, 2))
    assert (verdict.outcome, verdict.cause.id) == ("RESET", "no-flow-reset")
    assert "had begun anew" in verdict.cause.text


def test_a_device_that_stood_by_meanwhile_was_not_given_it_back() -> None:
    verdict = reset_by_a((True, 8), (False, 9), (True, 10))
    assert (verdict.outcome, verdict.cause.id) == ("RESET", "no-flow-reset")
    assert "had stood by meanwhile" in verdict.cause.text


def test_a_device_that_was_active_all_along_has_no_excuse() -> None:
    assert reset_by_a((True, 8), (True, 9)).cause.id == "unknown"
