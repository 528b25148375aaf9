"""Annotating a capture file: nothing but comments and names changes."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from emulator.lab.analysis import facts_of
from emulator.lab.annotate import annotate, names_in
from emulator.lab.capture import points_of
from emulator.lab.deployment import entry_address, world
from emulator.lab.judge.comments import comments
from emulator.lab.judge.verdict import judge
from emulator.lab.scenario_file import find, load, names
from emulator.wire import pcapng

REFERENCE = Path(__file__).resolve().parents[2] / "captures" / "reference"


def frames(path: Path) -> list[pcapng.Frame]:
    with path.open("rb") as source:
        return list(pcapng.read(source))


@pytest.mark.parametrize("name", ["article-telnet", "article-snat-pool-telnet", "onprem-telnet"])
def test_frames_and_verdict_stay_as_they_were(name: str, tmp_path: Path) -> None:
    path = tmp_path / "run.pcapng"
    path.write_bytes((REFERENCE / f"{name}.pcapng").read_bytes())
    before, facts = frames(path), facts_of(path)
    verdicts = judge(facts)
    told = comments(facts, verdicts)
    assert told
    annotate(path, told, section="what it is", names={IPv4Address("10.99.0.10"): ["vip"]})
    assert frames(path) == before
    again = facts_of(path)
    assert [replace(v, connection=v.connection) for v in judge(again)] == verdicts
    assert comments(again, verdicts) == told  # and may be written again
    assert list(tmp_path.iterdir()) == [path]
    shown = subprocess.run(
        ["tshark", "-r", str(path), "-Y", "frame.comment", "-T", "fields", "-e", "frame.number",
         "-e", "frame.comment", "-E", "aggregator=\x1f"],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    seen = dict(line.split("\t") for line in shown.splitlines())
    assert {int(n): text.split("\x1f") for n, text in seen.items()} == told


def test_first_and_last_frame_take_comments(tmp_path: Path) -> None:
    path = tmp_path / "x.pcapng"
    blocks = [pcapng.section("t"), pcapng.interface("a b")]
    blocks += [
        pcapng.packet(0, n, bytes(61 + n), 61 + n, "old" if n == 2 else "") for n in range(3)
    ]
    path.write_bytes(b"".join(blocks))
    annotate(path, {1: ["one", "zwei: ü"], 3: ["new"]}, section="s", names={})
    data = path.read_bytes()
    assert [len(f.data) for f in frames(path)] == [61, 62, 63]
    assert data.count(b"old") == data.count(b"new") == data.count("zwei: ü".encode()) == 1
    subprocess.run(["capinfos", str(path)], check=True, capture_output=True)


def test_a_file_that_is_none_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "x.pcapng"
    good = pcapng.section("t") + pcapng.interface("a b") + pcapng.packet(0, 1, b"abc", 3)
    path.write_bytes(good[:-2])
    with pytest.raises(pcapng.PcapngError):
        annotate(path, {1: ["x"]}, section="s", names={})
    assert path.read_bytes() == good[:-2]
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("name", names())
def test_every_scenario_has_names_for_its_addresses(name: str) -> None:
    scenario = load(find(name))
    built = world(scenario, "x")
    known = names_in(built, scenario)
    assert [a for a, called in known.items() if "vip" in called] == [entry_address(scenario)]
    assert {i.address for i in built.interfaces} <= set(known)
    for address in scenario.virtual_server.snat_pool:
        assert "snat-pool" in known[address]
    for called in known.values():
        assert all(word and not set(word) & set(" \0") for word in called)


@pytest.mark.parametrize("name", ["article", "onprem", "secondary-ip"])
def test_capture_points_say_where_they_are(name: str) -> None:
    """Each interface once at either end; the notes analysis reads are still there."""
    built = world(load(find(name)), "x")
    points = [p for node in built.nodes for p in points_of(built, node)]
    assert len({p.name for p in points}) == len(points) == 20
    [outer] = [p for p in points if p.name == "bigip-a ext"]
    subnet = built.interface("bigip-a", "ext").subnet
    assert f"{subnet.name} {subnet.network} mac=" in outer.description
    assert f"address={built.interface('bigip-a', 'ext').address}" in outer.description
