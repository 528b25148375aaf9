"""Many connections as few entries: requests counted, a fleet summed up from its data."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from emulator.lab.fleetstory import examples, in_common, silence_s, summary
from emulator.lab.groups import gathered, quiet_s
from emulator.lab.judge.evidence import Cause
from emulator.lab.judge.verdict import Verdict
from emulator.lab.workload.applications import FLEET_PORTS, application
from tests.lab.judge.test_verdict import opened, verdict


def request(outcome: str = "", *, age_s: float = 10.0) -> Verdict:
    talk = opened()
    if not outcome:
        talk.fins("a")
        outcome = "CLOSED"
    judged = verdict(talk)
    judged.connection.end_ns += int(age_s * 1e9)
    return replace(judged, name="http", outcome=outcome)


def test_requests_are_one_entry_where_the_first_was() -> None:
    other = replace(request(), name="ssh")
    found = gathered([request(), other, request(), request("SURVIVED", age_s=0.5)])
    assert [v.name for v, _ in found] == ["http", "ssh"]
    assert found[0][0].outcome == "CLOSED"
    assert found[0][1] is not None
    assert found[0][1] == {
        "total": 3, "answered": 2, "failed": 0, "open": 1,
        "outcomes": {"CLOSED": 2, "OPEN": 1}, "causes": {}, "slowest_s": found[0][1]["slowest_s"],
    }  # fmt: skip
    assert found[0][0].bytes.sent == 2 * request().bytes.sent
    assert found[1][1] is None


def test_one_request_that_failed_is_the_outcome() -> None:
    [(one, counts)] = gathered([request(), request("RESET"), request()])
    assert one.outcome == "RESET"
    assert counts is not None
    assert (counts["answered"], counts["failed"]) == (2, 1)


def test_the_cause_is_that_of_most_that_failed() -> None:
    """Not that of the one which happened to be half-way at the failover."""
    odd = replace(request("RESET"), cause=Cause("no-flow-reset", ""))
    usual = replace(request("RESET"), cause=Cause("security-group-denied", ""))
    [(one, counts)] = gathered([odd, usual, usual])
    assert one.cause.id == "security-group-denied"
    assert counts is not None
    assert counts["causes"] == {"no-flow-reset": 1, "security-group-denied": 2}


def test_a_request_without_an_answer_for_long_has_failed() -> None:
    """Not even its SYN was answered: no byte is known to be lost, and it is no survivor."""
    [(one, counts)] = gathered([request(), request("SURVIVED", age_s=20)])
    assert one.outcome == "STALLED"
    assert counts is not None
    assert counts["failed"] == 1


def test_who_had_spoken_and_when() -> None:
    talk = opened()
    connection = verdict(talk).connection
    moment = talk.now / 1e9 + 5
    quiet = quiet_s(connection, moment)
    assert quiet is not None
    assert 5.0 < float(str(quiet["server"])) < float(str(quiet["client"])) < 5.1
    assert quiet_s(connection, 1.0) == {"client": None, "server": None}
    assert quiet_s(connection, None) is None


def entry(number: int, outcome: str, cause: str | None, quiet: float) -> dict[str, Any]:
    name = f"ehr-{number:02}"
    return {
        "name": name, "application": application(name), "outcome": outcome, "expected": None,
        "cause": {"id": cause}, "quiet_before_failover_s": {"client": quiet, "server": None},
        "bytes": {"missing": 7 if cause else 0, "altered": 0, "repeated": 0},
    }  # fmt: skip


def test_a_fleet_in_a_few_lines() -> None:
    fleet = [
        entry(n, "SURVIVED", None, 9.0) if n % 4 == 1 else entry(n, "STALLED", "mirror-lag", 0.4)
        for n in range(1, 51)
    ]
    text = "\n".join(summary(fleet))
    assert text.count("\n") < 12
    assert "50 sessions: 37 STALLED, 13 SURVIVED" in text
    assert "died (37): ehr-bursty 12 of 12, ehr-client-first 13 of 13" in text
    assert "cause: mirror-lag 37 of 37" in text
    assert "the kind alone tells them apart" in text
    assert "somebody had spoken within 0.4 s" in text
    assert "silent for 9.0 s or longer" in text
    assert "259 missing" in text
    assert [c["name"] for c in examples(fleet)] == ["ehr-01", "ehr-02"]
    page = in_common([*fleet, {"name": "ssh"}])
    assert page[0] == (
        "Died (37): ehr-bursty 12 of 12, ehr-client-first 13 of 13, ehr-server-first 12 of 12."
    )
    assert page[-1].startswith("In common: on each that died somebody had spoken within 0.4 s")
    assert in_common([{"name": "ssh"}]) == []


def test_nothing_in_common_is_invented() -> None:
    """One of each kind died, whether or not it had spoken lately."""
    fleet = [entry(n, "STALLED" if n < 5 else "SURVIVED", None, float(n % 3)) for n in range(1, 51)]
    text = "\n".join(summary(fleet))
    assert "in common" not in text
    assert "the kind alone" not in text
    assert "nothing seen tells them apart" in text


def test_all_of_a_fleet_that_lives_needs_no_difference() -> None:
    fleet = [entry(n, "SURVIVED", None, 1.0) for n in range(1, 51)]
    text = "\n".join(summary(fleet))
    assert "lived (50)" in text
    assert "died" not in text
    assert "apart" not in text


def test_names_are_drawn_together() -> None:
    text = "\n".join(summary([entry(n, "RESET", "unknown", 1) for n in (1, 2, 3, 7)]))
    assert "ehr-01-03, 07" in text


def test_silence_is_that_of_the_end_that_spoke_last() -> None:
    one = entry(1, "SURVIVED", None, 3.0)
    assert silence_s(one) == 3.0
    one["quiet_before_failover_s"]["server"] = 1.0
    assert silence_s(one) == 1.0
    assert silence_s({**one, "quiet_before_failover_s": None}) is None


def test_the_fleet_is_fifty_of_four_kinds() -> None:
    kinds = [application(name) for name in FLEET_PORTS]
    assert len(kinds) == 50
    assert {kinds.count(kind) for kind in set(kinds)} == {12, 13}
