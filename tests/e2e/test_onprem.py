"""The on-premises control: where addresses move on a wire, mirroring works; by packets."""

from __future__ import annotations

import json
import secrets
import subprocess
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from emulator.lab.analysis import facts_of
from emulator.lab.instance import Lab
from emulator.lab.judge.verdict import judge
from emulator.lab.runner import run_scenario
from emulator.lab.scenario_file import find, load
from emulator.lab.settings.scenario import Scenario
from emulator.lab.wait import wait_until
from netns.execute import run
from netns.onprem import MASQUERADE_MAC, onprem
from tests.e2e.conftest import MIRRORLAB, Finished, run_cli

pytestmark = pytest.mark.e2e
SESSIONS = {"ssh", "telnet", "echo"}
WORLD = onprem("x")
MAC_A, MAC_B = (WORLD.interface(node, "ext").mac for node in ("bigip-a", "bigip-b"))


def only(finished: Finished, outcome: str, cause: str | None) -> None:
    assert finished.result["void"] is None
    assert finished.outcomes == dict.fromkeys(SESSIONS, outcome)
    assert finished.causes == dict.fromkeys(SESSIONS, cause)


def sent_to(finished: Finished) -> list[str]:
    """The MACs to which the router sent the virtual server's segments, as they changed."""
    wanted = 'frame.interface_name == "router ext" && ip.dst == 10.99.0.10 && tcp'
    argv = ["tshark", "-r", str(finished.folder / "run.pcapng"), "-Y", wanted]
    argv += ["-T", "fields", "-e", "eth.dst"]
    lines = subprocess.run(argv, capture_output=True, text=True, check=True).stdout.split()
    return [mac for n, mac in enumerate(lines) if n == 0 or lines[n - 1] != mac]


@pytest.mark.parametrize("finished", ["onprem"], indirect=True)
def test_with_mirroring_a_power_off_is_survived(finished: Finished) -> None:
    """The addresses are announced once all is restored, and the router believes it at once."""
    only(finished, "SURVIVED", None)
    failover = finished.result["failover"]
    assert (failover["how"], failover["mechanism"]) == ("power-off", "gratuitous-arp")
    assert failover["api_accepted"] is None
    assert failover["takeover"] <= failover["effective"] <= failover["first_byte"]
    for connection in finished.result["connections"]:
        assert connection["snat"].startswith("10.88.0.1:")  # the floating self IP
        assert connection["blackout_s"]["to_server"] >= 2.0  # the peer was missed first
        assert any("gratuitous ARP" in e["text"] for e in connection["cause"]["evidence"])
    assert sent_to(finished) == [MAC_A, MAC_B]
    story = [
        json.loads(line)["what"]
        for line in (finished.folder / "bigip-b.jsonl").read_text().splitlines()
    ]
    story = story[story.index("active") :]
    assert story.count("flow-restored") == len(SESSIONS)
    last_restored = len(story) - 1 - story[::-1].index("flow-restored")
    assert last_restored < story.index("addresses-announced")


@pytest.mark.parametrize("finished", ["onprem-no-mirroring"], indirect=True)
def test_without_mirroring_it_is_not(finished: Finished) -> None:
    only(finished, "RESET", "no-flow-reset")
    assert sent_to(finished) == [MAC_A, MAC_B]


@pytest.mark.parametrize("finished", ["onprem-no-garp"], indirect=True)
def test_without_gratuitous_arp_the_router_goes_on_to_the_dead_device(finished: Finished) -> None:
    only(finished, "STALLED", "route-never-moved")
    assert sent_to(finished) == [MAC_A]
    assert finished.result["failover"]["effective"] is None
    for connection in finished.result["connections"]:
        assert "No other device ever announced 10.99.0.10" in connection["cause"]["text"]


@pytest.mark.parametrize("finished", ["onprem-mac-masquerade"], indirect=True)
def test_with_mac_masquerade_no_cache_changes(finished: Finished) -> None:
    only(finished, "SURVIVED", None)
    assert sent_to(finished) == [MASQUERADE_MAC]


@pytest.fixture
def name() -> Iterator[str]:
    chosen = f"t{secrets.token_hex(3)}"
    yield chosen
    mirrorlab("down", "--name", chosen)


def mirrorlab(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*MIRRORLAB, *words], capture_output=True, text=True, timeout=60)


def test_by_hand_up_exec_power_off_exec_down(name: str) -> None:
    """`--world onprem` on a cloud's scenario; the new active device serves new connections."""
    at = ("--name", name)
    up = mirrorlab("up", "article", "--world", "onprem", *at)
    assert up.returncode == 0
    assert "switch:a-ext" in up.stdout
    assert mirrorlab("exec", "client", *at, "--", "ssh", "vip", "echo", "one").stdout == "one\n"
    assert mirrorlab("failover", "--how", "power-off", *at).stdout == "bigip-a: power-off\n"

    def active() -> bool:
        states = json.loads(mirrorlab("status", "--format", "json", *at).stdout)["devices"]
        return states["bigip-b"].get("role") == "active"

    wait_until("bigip-b to be active", active, timeout_s=20)
    assert mirrorlab("exec", "client", *at, "--", "ssh", "vip", "echo", "two").stdout == "two\n"
    cache = json.loads(mirrorlab("exec", "router", *at, "--", "ip", "-j", "neigh").stdout)
    assert {e["dst"]: e.get("lladdr") for e in cache}["10.99.0.10"] == MAC_B
    assert mirrorlab("down", *at).stdout == f"lab {name}: down\n"


def test_dry_run_shows_the_switch(name: str) -> None:
    done = mirrorlab("up", "onprem", "--dry-run", "--name", name)
    assert f"ip -n ml-{name}-switch link set a-ext master external" in done.stdout
    assert "floating   ext   10.99.0.5" in done.stdout


# Minutes: with a standard virtual server, by every kind of failover; caches that expire.

STANDARD = ("--virtual-server", "standard")
SYNC = (*STANDARD, "--commit", "sync")
HOWS = ("power-off", "force-standby", "process-crash", "link-down")
LONG: dict[str, tuple[str, tuple[str, ...], str, str | None]] = {
    **{f"sync {how}": ("onprem", (*SYNC, "--how", how), "SURVIVED", None) for how in HOWS},
    **{
        f"masquerade sync {how}": (
            "onprem-mac-masquerade", (*SYNC, "--how", how), "SURVIVED", None,
        )
        for how in HOWS
    },
    **{
        f"standard, no mirroring {how}": (
            "onprem-no-mirroring", (*STANDARD, "--how", how), "RESET", "no-flow-reset",
        )
        for how in HOWS
    },
    "standard, no gratuitous ARP": (
        "onprem-no-garp", SYNC, "STALLED", "route-never-moved",
    ),
    "the article's experiment": ("article", ("--world", "onprem"), "SURVIVED", None),
    "a SNAT pool": (
        "article-snat-pool", ("--world", "onprem", "--how", "power-off"), "SURVIVED", None,
    ),
    "no SNAT": (
        "article-no-snat", ("--world", "onprem", "--how", "power-off"), "SURVIVED", None,
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def long_runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Future[Finished]]:
    pool = ThreadPoolExecutor(max_workers=2)
    return {
        name: pool.submit(run_cli, scenario, tmp_path_factory.mktemp("onprem"), *options)
        for name, (scenario, options, _, _) in LONG.items()
    }


@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("name", LONG)
def test_variants(name: str, long_runs: dict[str, Future[Finished]]) -> None:
    """Outcome and cause, the same from the captures alone, and every byte right."""
    done = long_runs[name].result()
    _, _, outcome, cause = LONG[name]
    only(done, outcome, cause)
    alone = judge(facts_of(done.folder / "run.pcapng"))
    assert {(v.outcome, v.cause.id) for v in alone} == {(outcome, cause)}
    for connection in done.result["connections"]:
        count = connection["bytes"]
        assert count["altered"] == count["repeated"] == 0
        assert connection["program"]["wrong_at"] is None
        assert outcome != "SURVIVED" or count["missing"] == 0


def lose_arp_on_the_switch(lab: Lab) -> None:
    """What a filter in the network may do: the announcement leaves the device and gets nowhere."""
    text = (
        "table bridge lost {\n    chain forward {\n"
        "    type filter hook forward priority 0; policy accept;\n    ether type arp drop\n"
        "    }\n}\n"
    )
    run(lab.world.namespace("switch"), ["nft", "-f", "-"], stdin=text)


@pytest.mark.long
def test_an_announcement_lost_on_the_wire_is_told_from_one_never_made(tmp_path: Path) -> None:
    """The scenario expects life; the packets say who said what, and who heard it."""
    plain = load(find("onprem")).model_dump() | {"sessions": ["telnet"], "expect": {}}
    chosen = Scenario.model_validate(plain)
    result = run_scenario(chosen, tmp_path, behind=lose_arp_on_the_switch).result
    assert result["void"] is None
    [telnet] = result["connections"]  # type: ignore[misc]
    assert (telnet["outcome"], telnet["cause"]["id"]) == ("STALLED", "route-never-moved")
    assert "The gratuitous ARP for 10.99.0.10 reached no neighbour" in telnet["cause"]["text"]
    assert result["failover"]["effective"] is not None  # type: ignore[index]


@pytest.mark.long
@pytest.mark.parametrize("options", [(), SYNC], ids=["fastL4", "standard"])
def test_without_a_floating_self_ip_automap_is_fatal_on_premises_too(
    options: tuple[str, ...], tmp_path: Path
) -> None:
    """The control's control: everything else moves, and the SNAT address does not."""
    mine = tmp_path / "no-float.yaml"
    plain = find("onprem").read_text().split("expect:")[0]
    mine.write_text(f"{plain}onprem: {{floating_self_ips: false}}\n")
    only(run_cli(str(mine), tmp_path / "runs", *options), "RESET", "snat-address-changed")


@pytest.mark.long
def test_a_lost_announcement_is_made_good_when_the_caches_expire(tmp_path: Path) -> None:
    """Linux asks again, first the old MAC, then everybody: seconds after the entry is stale."""
    short = tmp_path / "short.yaml"
    plain = find("onprem-no-garp").read_text().split("expect:")[0]
    short.write_text(
        f"{plain}onprem: {{router_arp_cache_s: 1, backend_arp_cache_s: 1}}\nobserve_s: 40\n"
        "expect: {ssh: SURVIVED, telnet: SURVIVED, echo: SURVIVED}\n"
    )
    assert load(short).onprem.router_arp_cache_s == 1
    done = run_cli(str(short), tmp_path / "runs")
    only(done, "SURVIVED", None)
    assert sent_to(done)[-1] == MAC_B
