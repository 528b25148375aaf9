"""What stands in the fabric, by the user's own command: one scenario a row, and its verdicts.

The few that show the most run always, all of them with --long.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from emulator.lab.analysis import facts_of
from emulator.lab.judge.facts import Record
from emulator.lab.judge.verdict import judge
from tests.e2e.conftest import Finished, run_cli
from tests.e2e.test_scenarios import tshark

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]
LIVES = ("SURVIVED", None)
EXPECTED: dict[str, dict[str, tuple[str, str | None]]] = {
    "security-group-no-mirror-ports": dict.fromkeys(
        ["ssh", "telnet", "echo"], ("RESET", "mirror-channel-down")
    ),
    "security-group-lost-state": {
        "ssh": LIVES, "echo": LIVES, "feed": ("STALLED", "security-group-lost-state"),
    },
    "security-group-strict": dict.fromkeys(
        ["ssh", "echo", "feed"], ("STALLED", "security-group-lost-state")
    ),
    "security-group-idle": {"echo": LIVES, "pausing": ("STALLED", "security-group-lost-state")},
    "firewall-lost-state": dict.fromkeys(
        ["ssh", "telnet", "echo"], ("STALLED", "firewall-lost-state")
    ),
    "elastic-ip": dict.fromkeys(["ssh", "telnet", "echo"], ("RESET", "vip-address-changed")),
    "load-balancer-nlb": dict.fromkeys(
        ["ssh", "telnet", "echo"], ("RESET", "load-balancer-reset")
    ),
    "load-balancer-gwlb": dict.fromkeys(
        ["ssh", "telnet", "echo"], ("STALLED", "load-balancer-pinned")
    ),
    "load-balancer-gwlb-rebalance": dict.fromkeys(["ssh", "telnet", "echo"], LIVES),
    "load-balancer-azure": dict.fromkeys(
        ["ssh", "telnet", "echo"], ("STALLED", "load-balancer-pinned")
    ),
    "load-balancer-gcp": dict.fromkeys(
        ["ssh", "telnet", "echo"], ("STALLED", "load-balancer-pinned")
    ),
    "load-balancer-gcp-never-persist": dict.fromkeys(["ssh", "telnet", "echo"], LIVES),
    "load-balancer-gcp-no-mirroring": dict.fromkeys(
        ["ssh", "telnet", "echo"], ("RESET", "no-flow-reset")
    ),
    "half-done-server-side": dict.fromkeys(
        ["ssh", "telnet", "echo"], ("STALLED", "asymmetric-route")
    ),
    "trigger-lost": dict.fromkeys(["ssh", "telnet", "echo"], ("STALLED", "route-never-moved")),
    "flapping": dict.fromkeys(["ssh", "telnet", "echo"], LIVES),
    "secondary-ip": dict.fromkeys(["ssh", "telnet", "echo"], LIVES),
    "secondary-ip-no-mirroring": dict.fromkeys(
        ["ssh", "telnet", "echo"], ("RESET", "no-flow-reset")
    ),
    "secondary-ip-half-done": dict.fromkeys(
        ["ssh", "telnet", "echo"], ("STALLED", "address-unassigned")
    ),
}  # fmt: skip
ALWAYS = {
    "security-group-no-mirror-ports", "security-group-lost-state", "elastic-ip",
    "load-balancer-nlb", "load-balancer-azure", "load-balancer-gcp-never-persist",
    "secondary-ip",
}  # fmt: skip
# Captures are taken at the fabric's edge, and filters are inside: what took a segment there (or
# that nobody was there to get it) only
# the fabric's own log can tell, never a setting. Everything else is seen in captures.
NEEDS_THE_FABRICS_LOG = {
    "security-group-denied", "security-group-lost-state", "firewall-lost-state",
    "address-unassigned",
}  # fmt: skip
every = pytest.mark.parametrize(
    "ended",
    [pytest.param(n, marks=[] if n in ALWAYS else pytest.mark.long) for n in EXPECTED],
    indirect=True,
)


@pytest.fixture(scope="module")
def runs(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Future[Finished]]]:
    """The scenarios of the tests that were asked for, two at a time: a run mostly waits."""
    here = [i for i in request.session.items if getattr(i, "module", None) is request.module]
    wanted = {i.callspec.params["ended"] for i in here if hasattr(i, "callspec")}
    with ThreadPoolExecutor(max_workers=3) as pool:
        yield {n: pool.submit(run_cli, n, tmp_path_factory.mktemp(n)) for n in sorted(wanted)}


@pytest.fixture
def ended(request: pytest.FixtureRequest, runs: dict[str, Future[Finished]]) -> Finished:
    """The run of the scenario named by the test's parameter."""
    return runs[request.param].result()


def verdicts(finished: Finished) -> dict[str, tuple[str, str | None]]:
    return {n: (o, finished.causes[n]) for n, o in finished.outcomes.items()}


def log(finished: Finished, *names: str) -> list[Record]:
    """The lines of these of the run's logs."""
    paths = [p for n in names if (p := finished.folder / f"{n}.jsonl").exists()]
    return [json.loads(line) for p in paths for line in p.read_text().splitlines()]


@every
def test_outcomes_and_causes(ended: Finished) -> None:
    assert ended.result["void"] is None
    assert verdicts(ended) == EXPECTED[ended.result["scenario"]]
    assert ended.status == 0


@every
def test_every_byte_that_arrived_was_right(ended: Finished) -> None:
    for connection in ended.result["connections"]:
        count = connection["bytes"]
        assert count["altered"] == count["repeated"] == 0
        assert bool(count["missing"]) == (connection["outcome"] != "SURVIVED")
        assert connection["program"]["wrong_at"] is None
        assert connection["program"]["echoed_right"] > 300


@every
def test_captures_and_the_fabrics_log_give_the_same_verdict(ended: Finished) -> None:
    """No journal of a device or a program, no scenario."""
    assert judged(ended.folder, log(ended, "fabric", "dataplane")) == verdicts(ended)


@every
def test_captures_alone_give_the_same_verdict_but_for_what_filters_took(ended: Finished) -> None:
    expected = {
        name: (outcome, "unknown" if cause in NEEDS_THE_FABRICS_LOG else cause)
        for name, (outcome, cause) in verdicts(ended).items()
    }
    assert judged(ended.folder, []) == expected


def judged(folder: Path, records: list[Record]) -> dict[str, tuple[str, str | None]]:
    found = judge(facts_of(folder / "run.pcapng", records))
    return {v.name: (v.outcome, v.cause.id) for v in found}


@pytest.mark.parametrize("ended", ["security-group-no-mirror-ports"], indirect=True)
def test_the_channels_syns_reach_nobody_and_are_counted(ended: Finished) -> None:
    """By another program's eyes, and by the fabric's log."""
    syns = 'tcp.dstport == 1029 && tcp.flags == 2 && frame.interface_name == "bigip-a ha"'
    assert len(tshark(ended, syns)) >= 2
    assert tshark(ended, "tcp.srcport == 1029 && tcp.flags.syn == 1") == []
    counters = {r["counter"] for r in log(ended, "dataplane") if r["what"] == "dropped"}
    assert "security-group-denied/b-ha" in counters


@pytest.mark.parametrize("ended", ["elastic-ip"], indirect=True)
def test_the_new_device_is_met_at_another_address(ended: Finished) -> None:
    for device, address in (("bigip-a", "10.0.10.100"), ("bigip-b", "10.0.20.100")):
        there = f'frame.interface_name == "{device} ext" && tcp.dstport == 22'
        assert tshark(ended, f"{there} && ip.dst == {address}")
        assert not tshark(ended, f"{there} && ip.dst != {address}")
    assert tshark(ended, 'frame.interface_name == "client eth0" && ip.dst == 198.51.100.10')


@pytest.mark.parametrize("ended", ["load-balancer-nlb"], indirect=True)
def test_the_load_balancers_reset_comes_from_nobody_else(ended: Finished) -> None:
    to_client = "tcp.flags.reset == 1 && ip.dst == 10.0.1.10"
    assert len(tshark(ended, f'{to_client} && frame.interface_name == "client eth0"')) >= 3
    assert tshark(ended, f'{to_client} && frame.interface_name == "bigip-a ext"') == []
    assert tshark(ended, f'{to_client} && frame.interface_name == "bigip-b ext"') == []


@pytest.mark.parametrize("ended", ["load-balancer-gcp-never-persist"], indirect=True)
def test_flows_are_diverted_after_the_probes_have_failed_and_not_before(ended: Finished) -> None:
    lines = log(ended, "dataplane")
    [down] = [
        r["time"]
        for r in lines
        if r["what"] == "target-health" and (r["target"], r["state"]) == ("bigip-a", "unhealthy")
        and float(str(r["time"])) > ended.result["failover"]["triggered"]
    ]  # fmt: skip
    diverted = [r for r in lines if r["what"] == "flow-diverted"]
    assert len(diverted) == 3
    assert all(float(str(r["time"])) >= float(str(down)) for r in diverted)
    assert {(r["from"], r["target"]) for r in diverted} == {("bigip-a", "bigip-b")}


@pytest.mark.parametrize("ended", ["secondary-ip"], indirect=True)
def test_both_devices_are_met_at_the_same_addresses(ended: Finished) -> None:
    """Taken from one interface, then given to the other, each after the propagation delay."""
    for interface, address in (("ext", "10.0.10.100"), ("int", "10.0.11.100")):
        for device in ("bigip-a", "bigip-b"):
            there = f'frame.interface_name == "{device} {interface}" && ip.dst == {address}'
            assert tshark(ended, f"{there} && tcp.port == 22")
        moved = [r for r in log(ended, "fabric") if r.get("address") == address]
        told = [(r["what"], r.get("taken_from"), r.get("target")) for r in moved]
        taken, given = f"eni-bigip-a-{interface}", f"eni-bigip-b-{interface}"
        assert told == [
            ("accepted", taken, None), ("accepted", None, given),
            ("effective", taken, None), ("effective", None, given),
        ]  # fmt: skip
    failover = ended.result["failover"]
    assert failover["mechanism"] == "secondary-ip"
    assert failover["effective"] - failover["api_accepted"] >= 4.0
    assert failover["first_byte"] > failover["effective"]
    for connection in ended.result["connections"]:
        assert min(connection["blackout_s"].values()) >= 4.0
