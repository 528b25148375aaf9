"""Real workloads, and ends that give up, by the user's own command.

Two scenarios run with the others of the default suite; the rest takes longer.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from emulator.lab.analysis import facts_of
from emulator.lab.judge.verdict import judge
from emulator.lab.story import story
from emulator.lab.workload.applications import FLEET_KINDS
from tests.e2e.conftest import Finished, run_cli

pytestmark = pytest.mark.e2e
long = pytest.mark.long


def reports(finished: Finished, name: str) -> list[str]:
    [one] = [c for c in finished.result["connections"] if c["name"] == name]
    found: list[str] = one["program"]["reports"]
    return found


def by_packets_alone(finished: Finished) -> dict[str, tuple[str, str | None]]:
    alone = judge(facts_of(finished.folder / "run.pcapng"))
    return {v.name: (v.outcome, v.cause.id) for v in alone if v.name != "http"}


def told(finished: Finished) -> dict[str, tuple[str, str | None]]:
    return {
        c["name"]: (c["outcome"], c["cause"]["id"])
        for c in finished.result["connections"]
        if c["name"] != "http"
    }


def right(finished: Finished) -> None:
    """As expected, no byte wrong, and the captures alone say the same."""
    assert finished.result["void"] is None
    assert finished.status == 0, finished.outcomes
    for connection in finished.result["connections"]:
        count = connection["bytes"]
        assert count["altered"] == count["repeated"] == 0
        assert (connection["program"] or {}).get("wrong_at") is None
    assert by_packets_alone(finished) == told(finished)


@pytest.mark.parametrize("finished", ["workloads"], indirect=True)
def test_with_mirroring_and_addresses_that_move_real_workloads_live(finished: Finished) -> None:
    right(finished)
    [stored] = reports(finished, "ftp")
    assert "bytes stored, each right; then: 226" in stored
    [rows] = reports(finished, "postgresql")
    assert "exactly those acknowledged" in rows
    assert int(rows.split()[0]) > 20
    requests = next(c["requests"] for c in finished.result["connections"] if c["name"] == "http")
    assert requests["failed"] == 0
    assert requests["slowest_s"] > 1.0  # one of the outage
    bulk = next(c for c in finished.result["connections"] if c["name"] == "ssh-bulk")
    assert bulk["bytes"]["delivered"] > 500_000


@pytest.mark.parametrize("finished", ["application-timer"], indirect=True)
def test_a_program_that_waits_no_longer_is_named_and_its_neighbour_lives(
    finished: Finished,
) -> None:
    right(finished)
    assert finished.causes == {
        "echo": "application-timer", "bulk": "application-timer", "ssh": None,
    }  # fmt: skip


@long
def test_without_mirroring_the_transaction_is_rolled_back_and_short_requests_live(
    tmp_path: Path,
) -> None:
    done = run_cli("workloads-no-mirroring", tmp_path)
    right(done)
    [left] = reports(done, "postgresql")
    assert "acknowledged and not committed, none of them is there" in left
    requests = next(c["requests"] for c in done.result["connections"] if c["name"] == "http")
    assert requests["answered"] > 30
    assert set(done.causes.values()) == {"no-flow-reset", None}


@long
def test_active_ftp_is_refused_for_want_of_a_helper(tmp_path: Path) -> None:
    done = run_cli("ftp-active", tmp_path)
    right(done)
    assert reports(done, "ftp-active") == [
        "active mode, the server's answer: 500 Illegal PORT command."
    ]


@long
@pytest.mark.timeout(400)
def test_part_of_the_fleet_dies_of_what_was_not_mirrored(tmp_path: Path) -> None:
    """And the story says in a few lines which, and what they have in common."""
    done = run_cli("fleet-async", tmp_path, timeout_s=350)
    right(done)
    by_kind = {kind: set() for kind in FLEET_KINDS}  # type: dict[str, set[tuple[str, str | None]]]
    for c in done.result["connections"]:
        by_kind[c["application"]].add((c["outcome"], c["cause"]["id"]))
    dead = {("STALLED", "mirror-lag")}
    assert by_kind == {**dict.fromkeys(FLEET_KINDS, dead), "ehr-idle": {("SURVIVED", None)}}
    text = story(done.result, "x")
    assert len(text.splitlines()) < 60
    assert "50 sessions: 37 STALLED, 13 SURVIVED" in text
    assert "cause: mirror-lag 37 of 37" in text
    assert "in common: on each that died somebody had spoken within" in text


@long
@pytest.mark.timeout(400)
def test_a_fleet_of_which_nothing_is_acknowledged_unmirrored_lives(tmp_path: Path) -> None:
    done = run_cli("fleet-sync", tmp_path, timeout_s=350)
    right(done)
    assert len(done.outcomes) == 50
    assert set(done.outcomes.values()) == {"SURVIVED"}


@long
def test_windows_ends_do_not_wait_for_a_slow_cloud(tmp_path: Path) -> None:
    done = run_cli("endpoint-gives-up", tmp_path)
    right(done)
    assert set(done.causes.values()) == {"endpoint-gave-up"}
    for connection in done.result["connections"]:
        assert "after 5 retransmissions" in connection["cause"]["text"]


@long
def test_linux_ends_do(tmp_path: Path) -> None:
    right(run_cli("long-delay", tmp_path))


@long
def test_keep_alives_bound_how_long_a_dead_session_goes_unnoticed(tmp_path: Path) -> None:
    """Packets say the same of all three; the program with keep-alives knows."""
    done = run_cli("ssh-keepalive", tmp_path)
    right(done)
    assert set(done.causes.values()) == {"no-flow-dropped"}
    ended = {c["name"]: c["program"]["ended"] for c in done.result["connections"]}
    assert ended["ssh"] is ended["idle"] is None
    assert "not responding" in ended["ssh-keepalive"]


@long
def test_keep_alives_kill_a_session_that_would_have_lived(tmp_path: Path) -> None:
    done = run_cli("ssh-keepalive-too-short", tmp_path)
    right(done)
    assert done.causes == {"ssh-keepalive": "application-timer", "ssh": None, "idle": None}


@long
@pytest.mark.parametrize("ends_by", ["close", "abort"])
def test_a_program_that_aborts_is_named_as_well(ends_by: str, tmp_path: Path) -> None:
    """Without a neighbour whose session keeps the run going."""
    path = tmp_path / "mine.yaml"
    settings = {
        "title": "One echo, impatient",
        "sessions": ["echo"],
        "virtual_server": {"snat": "pool"},
        "endpoints": {"application_timer": {"after_s": 3, "ends_by": ends_by}},
        "cloud": {"propagation_delay_s": 5},
        "expect": {"echo": "TIMED_OUT"},
    }
    path.write_text(json.dumps(settings))
    (tmp_path / "runs").mkdir()
    done = run_cli(str(path), tmp_path / "runs")
    right(done)
    assert done.causes == {"echo": "application-timer"}
