"""Page one, in words: for every outcome and every cause there are some."""

from __future__ import annotations

import pytest

from emulator.lab.judge.causes import CAUSES
from emulator.lab.report.advice import ADVICE, advice, measured
from emulator.lab.report.groups import groups, representatives
from emulator.lab.report.words import OUTCOMES, headline, tried
from emulator.lab.study.factors import FACTORS
from tests.support.reportdata import connection, result


def caused(name: str, outcome: str, cause: str) -> dict[str, object]:
    return connection(name, outcome, cause={"id": cause, "text": "So it was.", "evidence": []})


def test_every_cause_has_advice() -> None:
    """A new cause needs a line of what to do about it."""
    assert set(CAUSES) - set(ADVICE) == set()


def test_advice_names_factors_that_exist() -> None:
    named = {
        line.removeprefix("factor:")
        for lines in ADVICE.values() for line in lines if line.startswith("factor:")
    }  # fmt: skip
    assert named - {factor.id for factor in FACTORS} == set()
    assert all(item.cost for item in advice(["snat-address-changed"]))


@pytest.mark.parametrize(
    ("outcomes", "line", "tone"),
    [
        (["RESET"] * 3, "All 3 sessions were cut off.", "bad"),
        (["SURVIVED"], "The session survived.", "good"),
        (["STALLED", "SURVIVED", "STALLED"], "Of 3 sessions 2 hang, 1 survived.", "warn"),
        (["SURVIVED", "RESET"], "Of 2 sessions 1 was cut off, 1 survived.", "bad"),
        ([], "No session was seen.", "warn"),
    ],
)
def test_the_headline(outcomes: list[str], line: str, tone: str) -> None:
    data = result()
    data["connections"] = [connection(f"s{i}", o) for i, o in enumerate(outcomes)]
    assert headline(data) == (line, tone)


def test_a_void_run_has_no_result_whatever_its_sessions_did() -> None:
    line, tone = headline(result(connection(outcome="SURVIVED"), void="the queue lost 3 packets"))
    assert line.startswith("No result")
    assert tone != "good"


def test_every_outcome_of_the_verdict_has_words() -> None:
    assert set(OUTCOMES) == {"SURVIVED", "CLOSED", "RESET", "STALLED", "TIMED_OUT"}


def test_what_was_tried_is_one_sentence_from_the_run() -> None:
    text = tried(result(connection("ssh"), connection("telnet")), None)
    assert text.startswith("2 long-lived sessions (ssh and telnet) were running through")
    assert "bigip-a lost power" in text
    assert text.count(".") == 1


def test_sessions_that_ended_alike_are_together_the_worst_first() -> None:
    fleet = [caused(f"s{i}", "RESET", "no-flow-reset") for i in range(40)]
    fleet += [connection(f"t{i}") for i in range(10)]
    made = groups(result(*fleet))
    assert [(g.outcome, g.count) for g in made] == [("RESET", 40), ("SURVIVED", 10)]
    assert made[0].listed.endswith("and 32 more")
    assert [g.who for g in made] == ["40 sessions", "10 sessions"]
    assert [i for i, _ in representatives(made)] == [0, 40]


def test_of_a_few_sessions_each_is_shown() -> None:
    assert len(representatives(groups(result(*[connection(n) for n in "abc"])))) == 3


WHY = {
    "scenario": "article",
    "answers": [[{"id": "snat-pool", "change": "a pool", "cost": "a range"}]],
    "trials": [{"outcomes": {"ssh": "RESET"}}],
}


def test_what_why_measured_is_used_where_it_was_of_this_experiment() -> None:
    found = measured(WHY, result(connection("ssh", "RESET")))
    assert found is not None
    assert [(a.text, a.cost) for a in found[0]] == [("A pool.", "a range")]


@pytest.mark.parametrize(
    "data",
    [result(connection("ssh", "STALLED")), result(connection("ssh", "RESET"), scenario="other")],
)
def test_what_why_measured_of_another_experiment_is_not_used(data: dict[str, object]) -> None:
    assert measured(WHY, data) is None


def test_no_why_no_measurement() -> None:
    assert measured(None, result()) is None
