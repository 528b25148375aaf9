"""Short connections of a client that comes again: one verdict, and where they went."""

from __future__ import annotations

from dataclasses import replace

import pytest

from emulator.lab.judge.facts import gather
from emulator.lab.judge.tracing import trace
from emulator.lab.judge.verdict import Verdict, judge
from emulator.lab.result import as_expected, connection
from emulator.lab.settings.scenario import Scenario
from emulator.lab.workload.applications import PORTS
from tests.support import tape
from tests.support.tape import Conversation

PORT = PORTS["reconnect"]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch):
    """One connection each: by which device, to which backend, from which client."""
    monkeypatch.setattr(tape, "VIP", replace_port(tape.VIP))
    now = [1_000_000_000 * 1_000_000_000]
    port = [40000]

    def ask(
        via: str,
        member: str = "10.0.31.100",
        client: str = "10.0.1.10",
        *,
        same_port: bool = False,
        **options,
    ):
        port[0] += not same_port
        monkeypatch.setattr(tape, "CLIENT", tape.Endpoint.of(f"{client}:{port[0]}"))
        monkeypatch.setattr(tape, "SERVER", tape.Endpoint.of(f"{member}:{PORT}"))
        talk = Conversation(isn=now[0] % 1_000_003)
        talk.now = now[0]
        talk._ident = now[0] // tape.MS % 60000
        if options:
            talk._client(b"", tape.SYN, via, **options)
        else:
            talk.open(via)
            talk.client("who\n", via)
            talk.server("me\n", via)
            talk.fins(via)
        now[0] = talk.now + 200 * tape.MS
        return talk.frames

    return ask


def replace_port(endpoint):
    return tape.Endpoint(endpoint.address, PORT)


def verdict(*parts) -> Verdict:
    [found] = judge(gather(trace([frame for part in parts for frame in part])))
    return found


def entry(found: Verdict, **settings: object) -> dict:
    chosen = Scenario.model_validate({"title": "t", "sessions": ["reconnect"], **settings})
    return connection(found, chosen, gather(trace([])))


def test_all_are_one_and_one_device_is_no_news(asked) -> None:
    found = verdict(*[asked("a") for _ in range(3)])
    assert (found.name, found.outcome, found.cause.id) == ("reconnect", "SURVIVED", None)
    assert found.members is not None
    assert found.members.before == ("backend-1",)
    assert found.members.moved is None
    assert len(found.members.each) == 3


def test_a_port_used_again_is_another_connection(asked) -> None:
    """Both are answered: what the server sends to the same address is not the first one's."""
    found = verdict(asked("a"), asked("a", same_port=True))
    assert found.members is not None
    assert [a.member for a in found.members.each] == ["backend-1", "backend-1"]
    assert found.members.failed == 0


def test_the_same_member_by_the_other_device(asked) -> None:
    found = verdict(*[asked("a") for _ in range(3)], *[asked("b") for _ in range(3)])
    assert found.members is not None
    assert found.members.moved is False
    assert found.cause.id is None
    assert "as they did before" in found.cause.text
    assert entry(found)["members"]["new"] == "same"
    assert found.blackout.to_client_s is not None


def test_another_client_is_not_counted(asked) -> None:
    other = asked("a", client="10.0.1.11")
    found = verdict(other, *[asked("a") for _ in range(3)])
    assert found.members is not None
    assert len(found.members.each) == 4
    assert found.members.before == ("backend-1",)


def test_connections_that_come_to_nothing_are_counted(asked) -> None:
    parts = [asked("a") for _ in range(3)]
    parts += [asked("a", until="router:a-ext") for _ in range(2)]
    found = verdict(*parts, asked("b"))
    assert found.members is not None
    assert found.members.failed == 2
    assert found.outcome == "SURVIVED"


def test_none_is_answered_at_the_end(asked) -> None:
    answered = [asked("a") for _ in range(3)]
    found = verdict(*answered, *[asked("a", until="router:a-ext") for _ in range(20)])
    assert (found.outcome, found.cause.id) == ("STALLED", "route-never-moved")


def test_an_expectation_is_compared_with_what_was_seen(asked) -> None:
    found = verdict(*[asked("a") for _ in range(3)], *[asked("b") for _ in range(3)])
    for expected, right in (("same", True), ("other", False), (None, True)):
        made = entry(found, expect_member=expected)
        assert as_expected({"connections": [made]}) is right


def test_another_member_is_persistence_lost(asked) -> None:
    """The second backend is known by its own capture point's name only."""
    found = verdict(*[asked("a") for _ in range(3)], *[asked("b") for _ in range(3)])
    assert found.members is not None
    moved = replace(found.members, after=("backend-2",))
    assert moved.moved is True
