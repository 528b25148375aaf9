"""A device that forgot a connection it had carried: told by its own heartbeats alone."""

from __future__ import annotations

import pytest

from emulator.lab.judge.facts import gather
from emulator.lab.judge.tracing import trace
from emulator.lab.judge.verdict import Verdict, judge
from tests.support.proxytape import Proxied
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


def acknowledged_and_not_relayed(*begun: str, acked: bool = True) -> Verdict:
    """The client's bytes are at both devices, no further; then these began anew."""
    talk = Proxied()
    talk.channel_opens()
    talk.open("a")
    for device in "ab":
        talk.heartbeat(device, active=device == "a", sequence=7)
    talk.says(b"x" * 50, "a", acked=acked, relayed=False)
    for device in "ab":
        talk.heartbeat(device, active=device == "a", sequence=1 if device in begun else 8)
    talk.wait(5)
    talk.heartbeat("a", active=True, sequence=9)
    [verdict] = judge(talk.facts())
    return verdict


def test_what_every_device_forgot_nobody_has() -> None:
    verdict = acknowledged_and_not_relayed("a", "b")
    assert (verdict.outcome, verdict.cause.id) == ("STALLED", "state-lost")
    assert "50 bytes of client's had been acknowledged" in verdict.cause.text
    assert "bigip-a in frame" in verdict.cause.text
    assert "bigip-b in frame" in verdict.cause.text
    assert [e.text for e in verdict.cause.evidence] == ["client receives the acknowledgement 1051"]


@pytest.mark.parametrize("begun", [(), ("a",), ("b",)])
def test_a_device_that_may_still_have_them_has_no_such_excuse(begun: tuple[str, ...]) -> None:
    assert acknowledged_and_not_relayed(*begun).cause.id != "state-lost"


def test_what_was_not_acknowledged_its_sender_still_has() -> None:
    assert acknowledged_and_not_relayed("a", "b", acked=False).cause.id != "state-lost"
