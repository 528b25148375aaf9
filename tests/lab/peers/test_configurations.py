"""What the peers are told, and what they cannot be asked for."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from pydantic import ValidationError

from emulator.core.config import Config
from emulator.lab import deployment
from emulator.lab.peers import conntrackd, haproxy, rules
from emulator.lab.peers.dataplane import Peer
from emulator.lab.settings.scenario import Scenario
from netns.build import build, destroy
from netns.execute import run
from netns.plan import AddNamespace

NO_SNAT = [
    {"table": "rtb-client", "destination": "10.99.0.0/24", "interface": "ext"},
    {"table": "rtb-backend", "destination": "10.0.1.0/24", "interface": "int"},
]


def told(node: str = "bigip-a", world: str = "cloud", **server: object) -> Config:
    plain: dict[str, object] = {"title": "t", "world": world, "virtual_server": server}
    if server.get("snat") == "none" and world == "cloud":
        plain["cloud"] = {"routes": NO_SNAT}
    scenario = Scenario.model_validate(plain)
    return deployment.device_config(scenario, deployment.world(scenario, "x"), node)


def nat(config: Config) -> str:
    return rules.nat(config, config.virtual_servers[0])


# Addresses.


@pytest.mark.parametrize(
    ("config", "source"),
    [
        (told(snat="automap"), "10.0.11.11"),
        (told("bigip-b", snat="automap"), "10.0.21.11"),
        (told(snat="automap", world="onprem"), "10.88.0.1"),
        (told("bigip-b", snat="automap", world="onprem"), "10.88.0.1"),
        (told(snat="pool"), "10.88.0.10"),
        (told("bigip-b", snat="pool"), "10.88.0.10"),
    ],
)
def test_the_servers_peer_is_the_address_our_own_device_takes(config: Config, source: str) -> None:
    [server] = config.virtual_servers
    assert str(rules.snat_address(config, server)) == source
    assert f"snat to {source}\n" in nat(config)
    assert f"    source {source}\n" in haproxy.configuration(config, server, [22])


def test_without_snat_the_server_sees_the_client() -> None:
    config = told(snat="none", type="standard")
    [server] = config.virtual_servers
    assert "snat to" not in nat(config)
    assert "source 0.0.0.0 usesrc clientip" in haproxy.configuration(config, server, [22])
    assert "ip saddr 10.0.31.100 meta l4proto tcp meta mark set 1" in rules.proxy(config, server)
    assert "rule add fwmark 1 lookup 66" in rules.addresses(config, server)


def test_what_moves_with_the_group_is_the_kernels_own() -> None:
    config = told(snat="pool")
    listed = rules.addresses(config, config.virtual_servers[0])
    assert "address replace 10.99.0.10/32 dev lo" in listed
    assert "address replace 10.88.0.10/32 dev lo" in listed
    assert "10.88.0.10" not in rules.addresses(told(snat="automap"), told().virtual_servers[0])


def test_members_take_turns() -> None:
    config = told(pool=["backend-1", "backend-2"])
    in_turn = "dnat to numgen inc mod 2 map { 0 : 10.0.31.100, 1 : 10.0.32.100 }"
    assert in_turn in nat(config)
    text = haproxy.configuration(config, config.virtual_servers[0], [22])
    assert "server member-2 10.0.32.100\n" in text


def test_what_is_unknown_is_reset_or_dropped() -> None:
    scenario = Scenario.model_validate({"title": "t", "devices": {"reject_unmatched": False}})
    silent = deployment.device_config(scenario, deployment.world(scenario, "x"), "bigip-a")
    dropped = "iifname { ext, int } meta l4proto tcp drop"
    assert dropped in nat(silent)
    assert dropped not in nat(told())


# conntrackd.


def test_conntrackd_speaks_to_the_other_one_beside_our_own_ports() -> None:
    config = told("bigip-b")
    text = conntrackd.configuration(config, "/lab/bigip-b-conntrackd")
    assert "IPv4_address 10.0.22.11\n" in text
    assert "IPv4_Destination_Address 10.0.12.11\n" in text
    assert conntrackd.PORT not in (config.heartbeat_port, config.mirror_port)
    assert "Path /lab/bigip-b-conntrackd.ctl\n" in text
    assert "LockFile /lab/bigip-b-conntrackd.lock\n" in text


def called(script: str, role: str, folder: Path) -> list[str]:
    """The script with programs that write down how they were called."""
    for name in ("conntrackd", "nft"):
        (folder / name).write_text(f'#!/bin/sh\necho {name} "$@" >> {folder}/calls\n')
        (folder / name).chmod(0o700)
    environment = {"PATH": f"{folder}:/usr/bin:/bin"}
    subprocess.run(["sh", "-c", script, "sh", role], env=environment, check=True)
    return (folder / "calls").read_text().splitlines()


def test_connections_are_committed_before_the_gate_opens(tmp_path: Path) -> None:
    script = conntrackd.role_script("gate.nft", "d.conf")
    assert called(script, "active", tmp_path) == [
        *(f"conntrackd -C d.conf {flag}" for flag in ("-c", "-f", "-R", "-B")),
        "nft delete table ip standby",
    ]


def test_the_gate_closes_before_entries_are_let_expire(tmp_path: Path) -> None:
    script = conntrackd.role_script("gate.nft", "d.conf")
    calls = called(script, "standby", tmp_path)
    assert calls == ["nft -f gate.nft", "conntrackd -C d.conf -t", "conntrackd -C d.conf -n"]


def test_unmirrored_conntrackd_is_not_called(tmp_path: Path) -> None:
    calls = called(conntrackd.role_script("gate.nft", None), "active", tmp_path)
    assert calls == ["nft delete table ip standby"]


def test_established_entries_are_counted() -> None:
    dump = (
        "tcp      6 ESTABLISHED src=10.0.1.10 dst=10.99.0.10 sport=4000 dport=22 [ASSURED]\n"
        "tcp      6 TIME_WAIT src=10.0.1.10 dst=10.99.0.10 sport=4001 dport=22\n"
    )
    assert conntrackd.entries(dump) == 1
    assert conntrackd.entries("") == 0


# The device beside them.


def test_our_process_keeps_the_role_and_leaves_the_packets() -> None:
    ours = told()
    config = Peer("conntrackd", "ns", ours, Path("/lab")).device_config
    assert config.virtual_servers == ()
    assert config.data_plane == ("/lab/bigip-a-role.sh",)
    assert config.cloud_failover == ours.cloud_failover
    assert config.floating == ours.floating


def test_conntrackd_runs_only_where_something_is_mirrored() -> None:
    mirrored = Peer("conntrackd", "ns", told(), Path("/lab"))
    assert list(mirrored.programs) == ["bigip-a-conntrackd"]
    assert Peer("conntrackd", "ns", told(mirroring=False), Path("/lab")).programs == {}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"virtual_server": {"type": "standard"}}, "beside a fastL4"),
        ({"devices": {"data_plane": "haproxy"}}, "beside a standard"),
        (
            {"devices": {"data_plane": "haproxy"}, "virtual_server": {"type": "standard"}},
            "mirrors nothing",
        ),
        ({"mirror_channel": {"fault": "cut"}}, "no channel on TCP 1029"),
        ({"virtual_server": {"loose_close": True}}, "no loose close"),
        ({"devices": {"data_plane": "conntrackd", "takeover_kick": True}}, "kicks nobody"),
        ({"virtual_server": {"snat_pool": ["10.88.0.10", "10.88.0.11"]}}, "one address"),
        ({"virtual_server": {"protocol": "any"}}, "serves TCP"),
        ({"virtual_server": {"protocol": "udp"}, "sessions": ["udp"]}, "serves TCP"),
        ({"virtual_server": {"snat": "deterministic"}}, "knows no port blocks"),
        ({"virtual_server": {"snat": "pool", "source_port": "change"}}, "as its kernel does"),
        ({"virtual_server": {"idle_timeout_s": 20}}, "keeps idle flows"),
        ({"virtual_server": {"persistence": "source-address"}}, "takes members in turn"),
    ],
)
def test_what_a_peer_does_not_have_is_refused(changes: dict[str, object], words: str) -> None:
    plain = {"title": "t", "devices": {"data_plane": "conntrackd"}, **changes}
    with pytest.raises(ValidationError, match=words):
        Scenario.model_validate(plain)


# Whether the programs take it.


@pytest.mark.root
@pytest.mark.parametrize("snat", ["automap", "pool", "none"])
@pytest.mark.parametrize("kind", ["fastL4", "standard"])
def test_the_kernel_takes_rules_and_addresses(kind: str, snat: str) -> None:
    config = told(snat=snat, type=kind, pool=["backend-1", "backend-2"])
    [server] = config.virtual_servers
    namespace = f"ml-peers{kind.lower()[:4]}{snat}-probe"
    build([AddNamespace(namespace)])
    try:
        text = rules.proxy(config, server) if server.standard else nat(config)
        run(namespace, ["nft", "-f", "-"], stdin=text)
        for _ in range(2):  # closed once more does no harm
            run(namespace, ["nft", "-f", "-"], stdin=rules.gate(config))
        run(namespace, rules.OPEN_GATE.split())
        run(namespace, ["ip", "-batch", "-"], stdin=rules.addresses(config, server))
    finally:
        destroy([namespace])


@pytest.mark.parametrize("snat", ["automap", "pool", "none"])
def test_haproxy_takes_its_configuration(tmp_path: Path, snat: str) -> None:
    program = shutil.which("haproxy", path="/usr/sbin:/usr/bin")
    if program is None:
        pytest.skip("haproxy is not installed (make differential does)")
    config = told(snat=snat, type="standard")
    path = tmp_path / "haproxy.cfg"
    path.write_text(haproxy.configuration(config, config.virtual_servers[0], [7, 22]))
    done = subprocess.run([program, "-c", "-f", str(path)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr
