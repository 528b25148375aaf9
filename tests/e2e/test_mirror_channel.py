"""Faults of the mirroring channel end to end, beside the two built-in scenarios."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from emulator.lab.analysis import facts_of
from emulator.lab.judge.verdict import judge
from emulator.lab.scenario_file import find
from tests.e2e.conftest import Finished, run_cli

pytestmark = pytest.mark.e2e


@pytest.mark.long  # on a loaded host a restored queue may be repeated one segment a second
@pytest.mark.timeout(300)
def test_nothing_is_lost_where_nothing_is_acknowledged_before_it_is_mirrored(
    tmp_path: Path,
) -> None:
    """mirror-lag with sync: the same traffic over the same slow channel lives, every byte."""
    done = run_cli("mirror-lag", tmp_path, "--commit", "sync")
    assert done.result["void"] is None
    assert set(done.outcomes.values()) == {"SURVIVED"}
    for connection in done.result["connections"]:
        count = connection["bytes"]
        assert (count["missing"], count["repeated"], count["altered"]) == (0, 0, 0)
        assert connection["program"]["wrong_at"] is None
    alone = judge(facts_of(done.folder / "run.pcapng"))
    assert {v.outcome for v in alone} == {"SURVIVED"}


@pytest.mark.long
@pytest.mark.timeout(300)
@pytest.mark.parametrize("fault", ["to-standby-lost", "to-active-lost"])
def test_a_channel_that_works_one_way_only_is_none(fault: str, tmp_path: Path) -> None:
    done = harmed(fault, tmp_path)
    assert done.result["void"] is None
    assert set(done.causes.values()) == {"mirror-channel-down"}
    assert "mirror-invalidated" in (done.folder / "bigip-b.jsonl").read_text()
    journal = [json.loads(x) for x in (done.folder / "lab.jsonl").read_text().splitlines()]
    assert journal[0]["what"] == "fault-injected"
    assert journal[0]["fault"] == fault


@pytest.mark.long
@pytest.mark.timeout(300)
def test_flows_opened_without_a_channel_are_not_mirrored(tmp_path: Path) -> None:
    """Cut before any session opens."""
    text = find("mirror-channel-cut").read_text()
    text = text.replace("fault: cut, before_failover_s: 12", "fault: cut")
    done = run(text, tmp_path)
    assert done.result["void"] is None
    assert set(done.causes.values()) == {"mirror-channel-down"}


SECURED = "\ndevices: {statemirror_secure: true}\n"


@pytest.mark.long
@pytest.mark.timeout(620)
@pytest.mark.parametrize("commit", ["async", "sync"])
def test_a_slow_channel_in_tls_is_slow_and_no_more(commit: str, tmp_path: Path) -> None:
    """As in clear text: async loses what it had acknowledged, sync loses nothing."""
    done = run(find("mirror-lag").read_text() + SECURED, tmp_path, "--commit", commit)
    assert done.result["void"] is None
    outcome = {"async": "STALLED", "sync": "SURVIVED"}[commit]
    assert done.outcomes == {"bulk": outcome, "ssh": outcome, "idle": "SURVIVED"}
    if commit == "async":
        assert {done.causes["bulk"], done.causes["ssh"]} == {"mirror-lag"}
    journal = (done.folder / "bigip-b.jsonl").read_text()
    assert "TLSv1.3" in journal


@pytest.mark.long
@pytest.mark.timeout(620)
@pytest.mark.parametrize("fault", ["cut", "to-standby-lost", "to-active-lost"])
def test_a_channel_in_tls_that_is_lost_is_lost_as_any(fault: str, tmp_path: Path) -> None:
    text = find("mirror-channel-cut").read_text().replace("fault: cut", f"fault: {fault}")
    done = run(text + SECURED, tmp_path)
    assert done.result["void"] is None
    assert set(done.outcomes.values()) == {"RESET"}
    assert set(done.causes.values()) == {"mirror-channel-down"}
    assert "mirror-invalidated" in (done.folder / "bigip-b.jsonl").read_text()


def harmed(fault: str, folder: Path) -> Finished:
    """mirror-channel-cut with another fault."""
    return run(
        find("mirror-channel-cut").read_text().replace("fault: cut", f"fault: {fault}"), folder
    )


def run(text: str, folder: Path, *options: str) -> Finished:
    path = folder / "mine.yaml"
    path.write_text(text)
    (folder / "runs").mkdir()
    return run_cli(str(path), folder / "runs", *options, timeout_s=300)
