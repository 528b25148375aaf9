"""Which connections an entry is about: one, many short ones, a UDP flow; and what is drawn."""

from __future__ import annotations

from typing import Any

import pytest

from emulator.lab.judge.facts import Facts, gather
from emulator.lab.judge.tracing import trace
from emulator.lab.judge.verdict import judge
from emulator.lab.report.index import row
from emulator.lab.report.seen import seen, telling
from emulator.lab.report.summary import summary
from emulator.lab.workload.applications import PORTS
from tests.lab.judge.test_datagrams import talked
from tests.support import tape
from tests.support.reportdata import connection, result
from tests.support.tape import Conversation, Endpoint


def entries(facts: Facts) -> list[dict[str, Any]]:
    return [
        connection(
            v.name, v.outcome, client=str(v.connection.client.local),
            cause={"id": None, "text": "x", "evidence": [
                {"frame": e.frame, "time": e.time_s, "text": e.text} for e in v.cause.evidence
            ]},
        )
        for v in judge(facts)
    ]  # fmt: skip


def short_ones(monkeypatch: pytest.MonkeyPatch, kind: str) -> Facts:
    """Three connections of one name, one after the other; the second is reset."""
    frames: list[Any] = []
    now = 0
    monkeypatch.setattr(tape, "VIP", Endpoint(tape.VIP.address, PORTS[kind]))
    monkeypatch.setattr(tape, "SERVER", Endpoint(tape.SERVER.address, PORTS[kind]))
    for number in range(3):
        monkeypatch.setattr(tape, "CLIENT", Endpoint(tape.CLIENT.address, 41000 + number))
        talk = Conversation(isn=1000 + 5000 * number)
        talk.now = now or talk.now
        talk._ident = 100 * number
        talk.open("a")
        talk.client("who\n", "a")
        talk.server("me\n", "a")
        if number == 1:
            talk.server_resets("a", "10.88.0.10")
        else:
            talk.fins("a")
        now = talk.now + 200 * tape.MS
        frames += talk.frames
    return gather(trace(frames))


@pytest.mark.parametrize(("kind", "mark"), [("http", "requests"), ("reconnect", "members")])
def test_an_entry_on_many_has_all_of_its_name(
    monkeypatch: pytest.MonkeyPatch, kind: str, mark: str
) -> None:
    facts = short_ones(monkeypatch, kind)
    first, second = facts.connections[:2]
    reset = [{"frame": second.resets[0][1].frame, "time": 0.0, "text": "reset"}]
    cause = {"id": None, "text": "x", "evidence": reset}
    entry = connection(kind, client=str(first.client.local), cause=cause, **{mark: {}})
    [its] = seen(result(entry), facts)
    assert its == facts.connections
    assert telling(entry, its) is second
    page = summary(result(entry), facts)
    assert [lane.label for lane in page["timeline"].lanes] == [kind]
    assert len(page["timeline"].lanes[0].rows) == 3
    assert [drawn.name for _, drawn, _ in page["ladders"]] == [kind]


def test_a_udp_flow_is_drawn_without_sequence_numbers() -> None:
    facts = gather(trace(talked().frames))
    [entry] = entries(facts)
    page = summary(result(entry | {"protocol": "udp"}), facts)
    assert page["timeline"].lanes[0].label == "udp"
    assert [(drawn.total, plots) for _, drawn, plots in page["ladders"]] == [(10, None)]


def test_a_cause_of_a_survivor_has_its_advice_and_is_not_as_expected() -> None:
    """Its connections work, and go to the wrong member."""
    members = {
        "before": ["backend-1"], "after": ["backend-2"], "new": "other", "expected": "same",
        "failed": 0, "each": [],
    }  # fmt: skip
    cause = {"id": "persistence-lost", "text": "x", "evidence": []}
    data = result(connection("reconnect", cause=cause, members=members))
    page = summary(data, gather(trace([])))
    assert [name for name, _ in page["causes"]] == ["persistence-lost"]
    assert "persistence records" in page["advice"][0].text
    assert not row("20261128T000000Z-x-1", data, has_report=True).expected
    met = result(connection("reconnect", members=members | {"expected": "other"}))
    assert row("20261128T000000Z-x-1", met, has_report=True).expected


def test_captures_of_another_run_are_not_drawn() -> None:
    talk = Conversation()
    talk.open("a")
    facts = gather(trace(talk.frames))
    [entry] = entries(facts)
    assert len(seen(result(entry), facts)) == 1
    other = entry | {"client": "10.0.1.10:1"}
    assert seen(result(entry, other), facts) == []
    page = summary(result(entry, other), facts)
    assert (page["timeline"], page["ladders"]) == (None, [])
