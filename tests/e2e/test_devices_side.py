"""Wildcards, UDP, persistence, carrier-grade NAT, split brain: by the user's own command."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from emulator.lab.analysis import facts_of
from emulator.lab.judge.verdict import judge
from tests.e2e.conftest import Finished, run_cli

pytestmark = pytest.mark.e2e

SESSIONS = {"ssh", "telnet", "echo"}
OTHERS = {  # scenario -> sessions, outcome, cause
    "wildcard": (SESSIONS | {"bulk"}, "SURVIVED", None),
    "wildcard-no-mirroring": (SESSIONS | {"bulk"}, "RESET", "no-flow-reset"),
    "wildcard-loose-initiation": (SESSIONS | {"bulk"}, "SURVIVED", None),
    "cgnat-deterministic": (SESSIONS, "SURVIVED", None),
    "cgnat-dynamic": (SESSIONS, "RESET", "snat-address-changed"),
    "cgnat-mirrored": (SESSIONS, "SURVIVED", None),
    "udp": ({"udp"}, "SURVIVED", None),
    "udp-no-mirroring": ({"udp"}, "SURVIVED", None),
    "split-brain": (SESSIONS, "RESET", "split-brain"),
}


def only(finished: Finished, sessions: set[str], outcome: str, cause: str | None) -> None:
    """As expected, by the journals and by the captures alone."""
    assert finished.result["void"] is None
    assert finished.status == 0
    assert finished.outcomes == dict.fromkeys(sessions, outcome)
    assert finished.causes == dict.fromkeys(sessions, cause)
    alone = judge(facts_of(finished.folder / "run.pcapng"))
    assert {v.name: (v.outcome, v.cause.id) for v in alone} == {
        c["name"]: (c["outcome"], c["cause"]["id"]) for c in finished.result["connections"]
    }


@pytest.mark.long
@pytest.mark.parametrize("scenario", OTHERS)
def test_what_the_sessions_do(scenario: str, tmp_path: Path) -> None:
    finished = run_cli(scenario, tmp_path)
    only(finished, *OTHERS[scenario])
    for connection in finished.result["connections"]:
        assert connection["program"]["wrong_at"] is None
        if connection["name"] == "udp":  # lost, and only what the outage took
            assert connection["bytes"]["missing"] > 20 * 64
            assert connection["bytes"]["altered"] == 0


@pytest.mark.long
def test_on_shared_segments_mirrored_sessions_go_there_and_back(tmp_path: Path) -> None:
    """Both devices active; healed, the second one yields. Every byte is right."""
    finished = run_cli("split-brain-onprem", tmp_path)
    only(finished, SESSIONS, "SURVIVED", None)
    for connection in finished.result["connections"]:
        assert "active at the same time" in connection["cause"]["text"]
        assert connection["bytes"]["missing"] == 0
    journal = (finished.folder / "bigip-a.jsonl").read_text()
    assert "split-brain-healed" in journal
    assert '"standby"' not in journal


@pytest.mark.long
@pytest.mark.parametrize(
    ("scenario", "after"),
    [("persistence-mirrored", "backend-2"), ("persistence-not-mirrored", "backend-1")],
)
def test_which_member_a_client_comes_back_to(scenario: str, after: str, tmp_path: Path) -> None:
    """By the packets, and by what the servers themselves answered."""
    finished = run_cli(scenario, tmp_path)
    assert finished.status == 0
    [connection] = finished.result["connections"]
    assert connection["outcome"] == "SURVIVED"
    members = connection["members"]
    assert (members["before"], members["after"]) == (["backend-2"], [after])
    lines = (finished.folder / "session-reconnect.jsonl").read_text().splitlines()
    said = [r["server"] for r in map(json.loads, lines) if r["what"] == "answered"]
    seen = [e["member"] for e in members["each"] if e["client"] == "10.0.1.10"]
    assert len(seen) > 10
    assert said[: len(seen)] == seen  # the client went on until it was stopped
    made = (finished.folder / "bigip-b.jsonl").read_text().count("persistence-created")
    assert made == (0 if after == "backend-2" else 1)
