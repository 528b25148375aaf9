"""What the drawings show of made-up captures: each segment's fate, the order of things, and
fifty sessions as few."""

from __future__ import annotations

from typing import Any

import pytest

from emulator.lab.judge.facts import Facts, Record, gather
from emulator.lab.judge.tracing import trace
from emulator.lab.judge.verdict import judge
from emulator.lab.report.fates import Fates
from emulator.lab.report.groups import groups
from emulator.lab.report.ladder import MOST, Event, Gap, Ladder, Row, ladder
from emulator.lab.report.sequence import sequence
from emulator.lab.report.tables import tables
from emulator.lab.report.timeline import LANES, timeline
from tests.support.reportdata import connection, result
from tests.support.tape import CLIENT, VIP, Conversation


def moved(times: int = 1) -> tuple[Conversation, float]:
    """Said by bigip-a; then lost on the way to it `times`; then answered with a reset by the
    server, which does not know bigip-b's address. And when the failover was triggered."""
    talk = Conversation()
    talk.open("a")
    talk.client("one\n", "a")
    talk.server("1\n", "a")
    talk.wait(1)
    trigger = talk.now / 1e9
    talk.client("lost", "a", until="router:a-ext")
    for _ in range(times):
        talk.wait(0.1)
        talk.client("lost", "a", again=True, until="bigip-a:ext")
    talk.wait(4)
    talk.client("lost", "b", again=True, snat="10.0.21.11")
    talk.server_resets("b", snat="10.0.21.11")
    talk.wait(1)
    return talk, trigger


def judged(talk: Conversation, trigger: float, *records: Record) -> tuple[Facts, dict[str, Any]]:
    """The facts, and as much of a result as the drawings need."""
    facts = gather(trace(talk.frames), records)
    found = []
    for verdict in judge(facts):
        evidence = [
            {"frame": e.frame, "time": e.time_s, "text": e.text} for e in verdict.cause.evidence
        ]
        cause = {"id": verdict.cause.id, "text": verdict.cause.text, "evidence": evidence}
        found.append(connection(verdict.name, verdict.outcome, cause=cause))
    data = result(*found)
    data["failover"] |= {
        "triggered": trigger, "takeover": trigger + 0.01, "api_accepted": trigger + 0.5,
        "effective": trigger + 4.1, "first_byte": None,
    }  # fmt: skip
    return facts, data


def drawn(talk: Conversation, trigger: float, *records: Record, events: bool = False) -> Ladder:
    facts, data = judged(talk, trigger, *records)
    happened = [Event("effective", 4.1, "the last change took effect")] if events else []
    return ladder(0, facts, data, Fates(facts), happened)


def rows(made: Ladder) -> list[Row]:
    return [step for step in made.steps if isinstance(step, Row)]


def test_each_segment_s_fate() -> None:
    """Delivered; lost on a link, half way to the node that never got it; lost in a node, there;
    strayed to an end without such a connection; and the reset that came back."""
    made = drawn(*moved())
    places = {(lane.label, lane.side): lane.at for lane in made.lanes}
    by_title = {row.title: row for row in rows(made)}
    assert by_title["client: 4 bytes to the server"].kind == "lost"
    link, node, stray = [row for row in rows(made) if row.kind in ("lost", "stray")]
    assert places["router", "outside"] < link.end < places["bigip-a", ""]
    assert "left router for bigip-a, which never received it" in link.fate
    assert (node.end, node.again) == (places["bigip-a", ""], True)
    assert "went into bigip-a and did not come out" in node.fate
    assert (stray.kind, stray.end) == ("stray", places["backend-1", ""])
    reset = rows(made)[-1]
    assert reset.reset
    assert (reset.kind, reset.start, reset.end) == (
        "delivered",
        places["backend-1", ""],
        places["client", ""],
    )


def test_a_segment_s_way_leads_from_left_to_right() -> None:
    """The fabric has a lane on either side of the devices."""
    made = drawn(*moved())
    assert [(lane.label, lane.side) for lane in made.lanes] == [
        ("client", ""), ("router", "outside"), ("bigip-a", ""), ("bigip-b", ""),
        ("router", "inside"), ("backend-1", ""),
    ]  # fmt: skip
    for row in rows(made):
        ordered = sorted(row.dots)
        assert list(row.dots) in (ordered, ordered[::-1])


def test_a_device_s_own_words_are_the_fate() -> None:
    """Of the segment they were written about, not of another with the same numbers."""
    talk, trigger = moved(times=2)
    facts = gather(trace(talk.frames), [])
    lost = [t for t, _ in facts.connections[0].transmissions if t.last.point == "bigip-a:ext"]
    record = {
        "time": lost[-1].last.time_s + 0.02, "node": "bigip-a", "what": "standby-drop",
        "source": str(CLIENT), "destination": str(VIP), "seq": lost[1].segment.seq.value,
        "ack": lost[1].segment.ack.value, "payload_bytes": 4,
    }  # fmt: skip
    fates = [row.fate for row in rows(drawn(talk, trigger, record)) if row.kind == "lost"]
    said = ["bigip-a stands by and dropped it" in fate for fate in fates]
    assert said == [False, False, True]  # the line came right after the last one
    other = {**record, "ack": 1}
    fates = [row.fate for row in rows(drawn(talk, trigger, other)) if row.kind == "lost"]
    assert not any("stands by" in fate for fate in fates)


def test_what_happened_stands_between_the_rows_in_time() -> None:
    made = drawn(*moved(), events=True)
    times = [step.time_s for step in made.steps if isinstance(step, Row | Event)]
    assert times == sorted(times)
    assert any(isinstance(step, Event) for step in made.steps)


def test_every_segment_is_shown_or_counted() -> None:
    """A long ladder is cut to what tells, and says how much it leaves out."""
    talk = Conversation()
    talk.open("a")
    for number in range(300):
        talk.client(f"{number}\n", "a")
    trigger = talk.now / 1e9
    for _ in range(300):
        talk.wait(0.01)
        talk.client("lost", "a", until="bigip-a:ext")
    talk.wait(1)
    talk.heartbeat("a", active=True)  # the captures went on: the last ones are lost, too
    made = drawn(talk, trigger)
    gaps = [step for step in made.steps if isinstance(step, Gap)]
    assert len(rows(made)) <= MOST
    assert len(rows(made)) + sum(gap.count for gap in gaps) == made.total == 603
    lost = sum(row.kind == "lost" for row in rows(made)) + sum(gap.lost for gap in gaps)
    assert lost == 300


def test_the_plot_has_a_stroke_for_each_segment_sent() -> None:
    talk, trigger = moved()
    facts, data = judged(talk, trigger)
    made = sequence(0, facts, data, Fates(facts))
    assert made is not None
    to_server = made.plots[0]
    kinds = [stroke.kind for stroke in to_server.strokes]
    assert kinds.count("lost") == 3  # on a link, in a device, at a stranger
    assert to_server.reset_at is not None
    assert all(0 <= s.x <= 100 and 0 <= s.top <= s.bottom <= 100 for s in to_server.strokes)


def test_the_timeline_marks_what_was_seen_and_draws_nothing_outside() -> None:
    talk, trigger = moved()
    facts, data = judged(talk, trigger)
    data["failover"]["api_accepted"] = trigger + 1000
    made = timeline(facts, data, groups(data))
    assert made is not None
    at = {i.key: i.at for i in made.instants}
    assert at["first_byte"] is None
    assert at["api_accepted"] is None  # after the captures
    assert 0 < (at["triggered"] or 0) < (at["effective"] or 0) < 100
    close = [i for i in made.instants if i.key in ("triggered", "takeover")]
    assert close[0].level != close[1].level  # their labels do not cover each other
    assert [mark.kind for mark in made.lanes[0].marks] == ["reset"]


def test_fifty_sessions_share_a_few_lanes() -> None:
    talk, trigger = moved()
    facts, data = judged(talk, trigger)
    facts.connections *= 50
    data["connections"] = data["connections"] * 40 + [connection()] * 10
    made = timeline(facts, data, groups(data))
    assert made is not None
    assert len(made.lanes) == 2 < LANES
    assert [len(lane.of) for lane in made.lanes] == [40, 10]
    assert len(made.lanes[0].rows) == 40


def test_nothing_captured_nothing_drawn() -> None:
    assert timeline(gather(trace([])), result(), groups(result())) is None


FLOW = {"client": "c:1", "virtual": "v:22", "snat": "s:1", "member": "m:22"}


@pytest.mark.parametrize(
    ("last", "fate", "gone"),
    [
        ({"what": "flow-restored"}, "restored", False),
        ({"what": "flow-closed", "why": "reset by an end"}, "closed: reset by an end", True),
        ({"what": "restore-failed", "reason": "too late"}, "not restored: too late", True),
    ],
)
def test_connection_tables_before_and_after(last: dict[str, str], fate: str, gone: bool) -> None:
    records = [
        {"time": 990.0, "node": "bigip-a", "what": "active"},
        {"time": 991.0, "node": "bigip-a", "what": "flow-created", **FLOW},
        {"time": 1003.0, "node": "bigip-b", "what": "active"},
        {"time": 1003.1, "node": "bigip-b", **FLOW, **last},
        {"time": 1010.0, "node": "lab", "what": "observation-ends"},
        {"time": 1011.0, "node": "bigip-b", "what": "flow-closed", "why": "teardown", **FLOW},
    ]
    (a_before, a_after), (b_before, b_after) = tables(records, result())
    assert [(r.snat, r.fate) for r in a_before.rows] == [("s:1", "created")]
    assert (a_before.role, "dead since the failover" in a_after.note) == ("active", True)
    assert (b_before.role, b_before.rows) == ("standby", ())
    assert (b_after.role, [(r.fate, r.gone) for r in b_after.rows]) == ("active", [(fate, gone)])
