"""The built-in scenarios, by the user's own command: what they show and that it is so."""

from __future__ import annotations

import json
import subprocess
from concurrent.futures import Future

import pytest

from emulator.lab.analysis import facts_of
from emulator.lab.judge.verdict import judge
from emulator.lab.workload.applications import PORTS
from tests.e2e.conftest import Finished, short

pytestmark = pytest.mark.e2e
every = pytest.mark.parametrize("finished", short(), indirect=True)
SESSIONS = {"ssh", "telnet", "echo"}


def only(finished: Finished, outcome: str, cause: str | None) -> None:
    assert finished.result["void"] is None
    assert finished.outcomes == dict.fromkeys(SESSIONS, outcome)
    assert finished.causes == dict.fromkeys(SESSIONS, cause)


@pytest.mark.parametrize("finished", ["article"], indirect=True)
def test_article_dies_of_its_snat_address(finished: Finished) -> None:
    only(finished, "RESET", "snat-address-changed")


@pytest.mark.parametrize("finished", ["article-no-mirroring"], indirect=True)
def test_without_mirroring_the_new_device_resets(finished: Finished) -> None:
    only(finished, "RESET", "no-flow-reset")


SURVIVING = ["article-snat-pool", "article-loose-initiation", "article-no-snat"]


@pytest.mark.parametrize("finished", SURVIVING, indirect=True)
def test_with_addresses_that_move_the_sessions_survive(finished: Finished) -> None:
    """Every byte right, and the blackout at least the propagation delay."""
    only(finished, "SURVIVED", None)
    for connection in finished.result["connections"]:
        blackout = connection["blackout_s"]
        assert 4.0 <= blackout["to_server"] <= 30.0
        assert 4.0 <= blackout["to_client"] <= 30.0


@pytest.mark.parametrize("finished", ["mirror-lag"], indirect=True)
def test_what_was_acknowledged_and_not_mirrored_is_lost(finished: Finished) -> None:
    """The two with traffic lose bytes, the quiet one has nothing to lose."""
    assert finished.result["void"] is None
    assert finished.outcomes == {"bulk": "STALLED", "ssh": "STALLED", "idle": "SURVIVED"}
    assert finished.causes == {"bulk": "mirror-lag", "ssh": "mirror-lag", "idle": None}
    assert finished.result["mirror"]["lag_bytes_at_failover"] > 100_000
    lab = [json.loads(line) for line in (finished.folder / "lab.jsonl").read_text().splitlines()]
    said = [line["what"] for line in lab]
    assert said[:3] == ["run-started", "fault-injected", "failover-triggered"]


@pytest.mark.parametrize("finished", ["mirror-channel-cut"], indirect=True)
def test_a_flow_is_not_at_the_standby_when_the_channel_is_cut(finished: Finished) -> None:
    """Nothing stale is restored; the evidence begins with the unacknowledged mirror message."""
    only(finished, "RESET", "mirror-channel-down")
    for connection in finished.result["connections"]:
        [shown] = [e for e in connection["cause"]["evidence"] if "mirror message" in e["text"]]
        assert shown["time"] < finished.result["failover"]["triggered"] - 10
    journal = (finished.folder / "bigip-b.jsonl").read_text()
    assert "mirror-invalidated" in journal
    assert "flow-restored" not in journal


@pytest.mark.parametrize("finished", ["healthy"], indirect=True)
def test_nothing_is_invented_where_nothing_happened(finished: Finished) -> None:
    only(finished, "SURVIVED", None)
    assert finished.result["failover"] is None
    for connection in finished.result["connections"]:
        assert connection["cause"]["evidence"] == []
        assert connection["blackout_s"] == {"to_client": None, "to_server": None}


@every
def test_exit_status_says_as_expected(finished: Finished) -> None:
    assert finished.status == 0


@every
def test_every_byte_that_arrived_was_right(finished: Finished) -> None:
    """By the captures, and by the programs that sent and compared them."""
    for connection in finished.result["connections"]:
        count = connection["bytes"]
        assert count["altered"] == count["repeated"] == 0
        assert count["sent"] - count["delivered"] == count["missing"] or count["missing"] == 0
        assert connection["program"]["wrong_at"] is None
        assert connection["program"]["echoed_right"] > 500
        if connection["outcome"] == "SURVIVED":
            assert count["missing"] == 0
        else:
            assert count["missing"] > 0


@every
def test_captures_alone_give_the_same_verdict(finished: Finished) -> None:
    """No journal, no log, no scenario: one file of packets."""
    alone = judge(facts_of(finished.folder / "run.pcapng"))
    assert {v.name: (v.outcome, v.cause.id) for v in alone} == {
        c["name"]: (c["outcome"], c["cause"]["id"]) for c in finished.result["connections"]
    }


@every
def test_the_evidence_frames_are_what_the_text_says(finished: Finished) -> None:
    """Checked with another program: tshark reads the frames a reset was seen in."""
    frames = set()
    for connection in finished.result["connections"]:
        resets = [e["frame"] for e in connection["cause"]["evidence"] if "reset" in e["text"]]
        assert bool(resets) == (connection["outcome"] == "RESET")
        frames |= set(resets)
    if frames:
        wanted = f"frame.number in {{{', '.join(map(str, sorted(frames)))}}}"
        assert tshark(finished, wanted, "tcp.flags.reset") in (
            ["1"] * len(frames), ["True"] * len(frames),
        )  # fmt: skip


@every
def test_captures_begin_before_the_first_packet(finished: Finished) -> None:
    """Each session's SYN is in the capture, and no capture point is nameless."""
    syns = 'tcp.flags == 2 && frame.interface_name == "client eth0"'
    ports = tshark(finished, syns, "tcp.dstport")
    for connection in finished.result["connections"]:
        assert ports.count(str(PORTS[connection["name"]])) == 1
    named = subprocess.run(
        ["capinfos", "-I", "-M", str(finished.folder / "run.pcapng")],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    points = [line for line in named.splitlines() if "Name = " in line]
    assert len(points) == 20
    between = "switch a-ext" if "switch" in named else "router a-ext"
    assert {"client eth0", between, "bigip-b int"} <= {p.split("= ")[1] for p in points}


@every
def test_result_file_is_what_was_printed(finished: Finished) -> None:
    written = json.loads((finished.folder / "result.json").read_text())
    assert written == finished.result
    assert set(written) == {
        "schema", "scenario", "title", "void", "connections", "failover", "mirror", "host",
    }  # fmt: skip


@pytest.mark.parametrize("finished", ["article-snat-pool"], indirect=True)
def test_restored_before_routed(finished: Finished) -> None:
    """bigip-b's journal: every flow is restored before the route is asked for."""
    lines = (finished.folder / "bigip-b.jsonl").read_text().splitlines()
    story = [json.loads(line)["what"] for line in lines]
    story = story[story.index("active") :]
    assert story.count("flow-restored") == len(SESSIONS)
    last_restored = len(story) - 1 - story[::-1].index("flow-restored")
    assert last_restored < story.index("route-requested")


def test_progress_goes_to_stderr_only(scenario_runs: dict[str, Future[Finished]]) -> None:
    """stdout parsed as JSON already; the steps are told beside it."""
    assert "failover: force-standby" in scenario_runs["article"].result().stderr


def tshark(finished: Finished, display_filter: str, field: str = "frame.number") -> list[str]:
    """A field of each frame the filter selects, as tshark prints it."""
    argv = ["tshark", "-r", str(finished.folder / "run.pcapng"), "-Y", display_filter]
    done = subprocess.run(
        [*argv, "-T", "fields", "-e", field], capture_output=True, text=True, check=True
    )
    return done.stdout.split()
