"""Split brain by heartbeats alone: what is one, what is none, and what it explains."""

from __future__ import annotations

import pytest

from emulator.lab.judge.facts import gather
from emulator.lab.judge.splitbrain import splits
from emulator.lab.judge.tracing import RoleReport, trace
from emulator.lab.judge.verdict import Verdict, judge
from tests.support.tape import Conversation

S = 1_000_000_000


def roles(said: str) -> list[RoleReport]:
    """ "A b B": who says what, a second apart; a capital letter says active."""
    return [
        RoleReport(n * S, f"bigip-{who.lower()}", who.isupper(), n)
        for n, who in enumerate(said.split(), 1)
    ]


@pytest.mark.parametrize(
    ("said", "found"),
    [
        ("A b A b A b", []),
        ("A b a B a B", []),  # told to stand by
        ("A b A B B B", []),  # the old device is silent from then on
        ("A b A B B a B", []),  # and back, standing by
        ("A b A B A B", [(4, 5, None)]),
        ("A b B A b A", [(3, 4, 5)]),  # healed: the second one yields
        ("A b B A a B", [(3, 4, 5)]),
        ("B a A B A b A", [(3, 4, 6)]),
        ("A B A b A B A", [(2, 3, 4), (6, 7, None)]),
    ],
)
def test_what_is_a_split_brain(said: str, found: list[tuple[int, int, int | None]]) -> None:
    assert [
        (s.second.frame, s.proof.frame, s.end_ns // S if s.end_ns else None)
        for s in splits(roles(said))
    ] == found


def reset_by_b(*heartbeats: tuple[str, bool]) -> Verdict:
    """A connection that bigip-b resets, knowing no flow, after these heartbeats."""
    talk = Conversation()
    talk.open("a")
    talk.client("ls\n", "a")
    talk.server("file\n", "a")
    talk.acks("a")
    for device, active in heartbeats:
        talk.heartbeat(device, active=active)
    talk.client("pwd\n", "b", until="bigip-b:ext")
    talk.device_resets("b")
    [verdict] = judge(gather(trace(talk.frames)))
    return verdict


def test_a_reset_by_the_second_active_device_is_its_doing() -> None:
    verdict = reset_by_b(("a", True), ("b", True), ("a", True))
    assert (verdict.outcome, verdict.cause.id) == ("RESET", "split-brain")
    said = [e.text for e in verdict.cause.evidence if "heartbeat" in e.text]
    assert len(said) == 2
    assert "bigip-a and bigip-b were active" in verdict.cause.text
    assert "found no flow" in verdict.cause.text


@pytest.mark.parametrize(
    "heartbeats",
    [
        [("a", True), ("b", True), ("b", True)],
        [("a", True), ("a", False), ("b", True), ("a", False)],
        [],
    ],
)
def test_a_regular_failover_is_none(heartbeats: list[tuple[str, bool]]) -> None:
    assert reset_by_b(*heartbeats).cause.id == "no-flow-reset"


def test_what_the_first_device_does_to_its_own_connection_is_none_of_it() -> None:
    """It would have reset it whoever else is active: nothing was led to the second one."""
    talk = Conversation()
    talk.open("a")
    talk.client("ls\n", "a")
    talk.server("file\n", "a")
    talk.acks("a")
    for device in "aba":
        talk.heartbeat(device, active=True)
    talk.client("pwd\n", "a", until="bigip-a:ext")
    talk.device_resets("a")
    [verdict] = judge(gather(trace(talk.frames)))
    assert (verdict.outcome, verdict.cause.id) == ("RESET", "unknown")


def test_a_survivor_is_told() -> None:
    talk = Conversation()
    talk.open("a")
    talk.client("ls\n", "a")
    talk.server("file\n", "a")
    talk.acks("a")
    for device in "aba":
        talk.heartbeat(device, active=True)
    talk.client("pwd\n", "b")
    talk.server("/root\n", "b")
    talk.acks("b")
    [verdict] = judge(gather(trace(talk.frames)))
    assert (verdict.outcome, verdict.cause.id) == ("SURVIVED", None)
    assert "active at the same time" in verdict.cause.text
