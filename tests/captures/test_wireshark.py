"""The shipped Wireshark profile and dissector, by tshark, headless and without root.

A Lua error leaves tshark's exit status at 0: what it says on stderr is looked at as well.
"""

from __future__ import annotations

import re
import subprocess
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from emulator.core.heartbeatguard import HeartbeatGuard
from emulator.lab import wireshark
from emulator.lab.analysis import facts_of
from emulator.lab.annotate import annotate
from emulator.lab.judge.comments import comments
from emulator.lab.judge.verdict import judge
from emulator.wire import mirror, pcapng
from emulator.wire.heartbeat import Heartbeat
from emulator.wire.mirror import (
    Ack,
    FlowAcks,
    FlowDown,
    FlowRecord,
    FlowUp,
    Hello,
    LegBytes,
    LegState,
    Message,
    Mirrored,
    ResyncEnd,
    ResyncStart,
    SnatKind,
)
from emulator.wire.mirrorparts import PersistDown, PersistRecord, PersistUp
from emulator.wire.segment import ACK, PROTO_UDP, PSH, Endpoint, Segment
from emulator.wire.seqnum import SeqNum
from tests.support.tape import CLIENT, SERVER, VIP

REFERENCE = Path(__file__).resolve().parents[2] / "captures" / "reference"
LUA = wireshark.folder() / "plugins" / "mirrorlab.lua"
SNAT = Endpoint.of("10.88.0.10:40000")
A, B = Endpoint.of("10.0.12.11:50000"), Endpoint.of("10.0.22.11:1029")
INNER = Segment(CLIENT, VIP, SeqNum(7), SeqNum(8), PSH | ACK, 500, b"x" * 3000).emit()
SAMPLES = [
    Hello("bigip-a", "traffic-group-1", True),
    ResyncStart(),
    ResyncEnd(),
    FlowUp(FlowRecord("vs_alien", CLIENT, VIP, SNAT, SERVER, SnatKind.POOL, 300)),
    FlowDown(CLIENT, VIP),
    PersistUp(PersistRecord("vs_alien", CLIENT.address, SERVER, 180)),
    PersistDown("vs_alien", CLIENT.address),
    Ack(4),
    Mirrored(INNER),
    LegBytes(CLIENT, VIP, True, b"y" * 2000),
    LegState(
        CLIENT, VIP, True, SeqNum(1), SeqNum(2), SeqNum(3), SeqNum(4), 1460, 7, None, True, 5, True
    ),
    FlowAcks(CLIENT, VIP, SeqNum(11), SeqNum(12)),
]  # fmt: skip


def tshark(path: Path, *words: str) -> list[str]:
    """What tshark prints with the shipped profile; fails on any complaint of it or of Lua."""
    done = subprocess.run(
        ["tshark", "-C", wireshark.PROFILE, "-r", str(path), *words],
        capture_output=True, text=True, check=True, env=wireshark.environment({"PATH": "/usr/bin"}),
    )  # fmt: skip
    assert wireshark.said(done.stderr) == ""
    return done.stdout.splitlines()


def fields(path: Path, shown: str, *names: str) -> list[list[str]]:
    wanted = [word for name in names for word in ("-e", name)]
    lines = tshark(path, "-Y", shown, "-T", "fields", "-E", "aggregator=\x1f", *wanted)
    return [line.split("\t") for line in lines]


def types(path: Path) -> Counter[str]:
    """Mirror messages by their number."""
    found = fields(path, "mirrorlab.type", "mirrorlab.type")
    return Counter(number for [row] in found for number in row.split("\x1f"))


def stream(messages: Sequence[mirror.Body]) -> bytes:
    return b"".join(Message(n, body).emit() for n, body in enumerate(messages, 1))


def capture(
    path: Path, data: bytes, *, cuts: Sequence[int], order: Sequence[int] | None = None,
    points: int = 2, first: int = 1000,
) -> Path:  # fmt: skip
    """The channel's bytes as segments cut at `cuts`, each seen at every point, then a frame
    later at the next one, as on their way through the fabric."""
    edges = [0, *cuts, len(data)]
    segments = [
        Segment(A, B, SeqNum((first + start) % 2**32), SeqNum(1), PSH | ACK, 500, data[start:end])
        for start, end in zip(edges, edges[1:], strict=False)
    ]
    blocks = [pcapng.section("test")]
    blocks += [pcapng.interface(f"bigip-a ha{n}") for n in range(points)]
    chosen = order if order is not None else range(len(segments))
    time = 0
    for place, number in enumerate(chosen):
        segment = replace(segments[number], identification=place)
        frame = bytes(6) + b"\2\0\0\0\0\1" + b"\x08\x00" + segment.emit()
        for point in range(points):
            time += 1
            blocks.append(pcapng.packet(point, time, frame, len(frame)))
    path.write_bytes(b"".join(blocks))
    return path


def test_the_dissector_knows_every_message_type() -> None:
    """Numbers and names of wire/mirror.py, as the table in the Lua file has them. A new message
    needs an entry in its MESSAGES and a sample here."""
    table = LUA.read_text().partition("local MESSAGES = {")[2].partition("\n}\n")[0]
    known = {int(n): name for n, name in re.findall(r'\[(\d+)\] = \{ "(\w+)"', table)}
    assert known == {number: kind.__name__ for kind, number in mirror._TYPES.items()}
    assert {type(sample) for sample in SAMPLES} == set(mirror._TYPES)
    long = {number for number in known if mirror._limit(number) > mirror.MAX_BODY}
    entries = re.split(r"\n    (?=\[\d+\] = )", table)
    marked = {int(e.partition("]")[0].strip(" \n[")) for e in entries if "long = true" in e}
    assert marked == long


@pytest.mark.parametrize(("size", "first"), [(60_000, 1000), (700, 2**32 - 700), (13, 1)])
def test_every_message_is_dissected_however_it_is_cut(
    size: int, first: int, tmp_path: Path
) -> None:
    """One frame with all messages, a message over many frames, a cut inside a header; sequence
    numbers that wrap; at two points at once, which TCP's own reassembly takes for overlaps."""
    data = stream(SAMPLES)
    path = capture(tmp_path / "x.pcapng", data, cuts=range(size, len(data), size), first=first)
    names = ("mirrorlab.type", "_ws.expert.message", "tcp.checksum.status", "ip.checksum.status")
    rows = fields(path, "tcp", *names)
    found = Counter(number for row in rows for number in row[0].split("\x1f") if number)
    assert found == {str(number): 2 for number in mirror._TYPES.values()}
    assert {tuple(row[1:]) for row in rows} == {("", "1", "1")}


def test_what_the_fields_say(tmp_path: Path) -> None:
    path = capture(tmp_path / "x.pcapng", stream(SAMPLES), cuts=[], points=1)
    [row] = fields(
        path, "mirrorlab", "mirrorlab.device", "mirrorlab.traffic_group", "mirrorlab.active",
        "mirrorlab.virtual_server", "mirrorlab.snat", "mirrorlab.snat.port", "mirrorlab.snat_kind",
        "mirrorlab.idle_timeout", "mirrorlab.acknowledged", "mirrorlab.segment.src",
        "mirrorlab.segment.dstport", "mirrorlab.segment.seq", "mirrorlab.segment.len",
        "mirrorlab.mss", "mirrorlab.flags.fin", "mirrorlab.snd_wscale", "mirrorlab.by_server",
    )  # fmt: skip
    assert row == [
        "bigip-a", "traffic-group-1", "1", "vs_alien", "10.88.0.10", "40000", "2", "300", "4",
        "10.0.1.10", "23", "7", "3000", "1460", "1", "7", "12",
    ]  # fmt: skip
    [info] = fields(path, "mirrorlab", "_ws.col.Info")
    assert "Hello bigip-a traffic-group-1, ResyncStart, ResyncEnd, FlowUp 10.0.1.10:40000" in info[0]


def test_a_protocol_is_shown_where_it_is_not_tcp(tmp_path: Path) -> None:
    """A byte more behind a flow of datagrams' record, and behind its end's."""
    record = FlowRecord("vs_udp", CLIENT, VIP, SNAT, SERVER, SnatKind.POOL, 60, PROTO_UDP)
    data = stream([FlowUp(record), FlowDown(CLIENT, VIP, PROTO_UDP)])
    path = capture(tmp_path / "x.pcapng", data, cuts=[], points=1)
    [row] = fields(path, "mirrorlab", "mirrorlab.protocol", "mirrorlab.malformed")
    assert row == ["17\x1f17", ""]


def test_segments_out_of_order_and_sent_again(tmp_path: Path) -> None:
    data = stream(SAMPLES)
    order = [0, 2, 1, 1, 3, 0, 4]
    cuts = [len(data) * n // 5 for n in range(1, 5)]
    path = capture(tmp_path / "x.pcapng", data, cuts=cuts, order=order)
    assert types(path) == {str(number): 2 for number in mirror._TYPES.values()}
    assert len(tshark(path, "-Y", "mirrorlab.gap")) == 2
    again = [int(n) for [n] in fields(path, "mirrorlab_point.retransmission", "frame.number")]
    assert again == [5, 6, 7, 8, 11, 12]  # late or sent again: below what was seen before


def test_a_capture_that_begins_inside_a_message(tmp_path: Path) -> None:
    data = stream(SAMPLES)[5:]
    path = capture(tmp_path / "x.pcapng", data, cuts=[20], points=1)
    numbers = {str(number): 1 for number in mirror._TYPES.values()}
    del numbers["1"]
    assert types(path) == numbers
    assert tshark(path, "-Y", "mirrorlab.malformed") == []


def message(kind: int, body: bytes) -> bytes:
    return b"ML" + bytes([mirror.VERSION, kind]) + len(body).to_bytes(2, "big") + bytes(6) + body


BROKEN = {
    message(5, bytes(11)): "malformed",
    message(5, bytes(14)): "malformed",
    message(4, bytes(513)): "malformed",
    message(1, b"\1\5\5abc"): "malformed",
    message(7, b"no packet"): "malformed",
    message(2, b"")[:2] + b"\7" + message(2, b"")[3:]: "malformed",
    message(99, b"abc"): "unknown_type",
}


def test_what_is_no_message_is_said_and_the_next_one_read(tmp_path: Path) -> None:
    """Each between two good ones, all in one stream."""
    good = stream([FlowDown(CLIENT, VIP)])
    data = good + b"".join(broken + good for broken in BROKEN)
    path = capture(tmp_path / "x.pcapng", data, cuts=[], points=1)
    names = ("mirrorlab.malformed", "mirrorlab.unknown_type", "mirrorlab.client")
    [row] = fields(path, "mirrorlab", *names)
    kinds = Counter(BROKEN.values())
    assert [len(column.split("\x1f")) for column in row[:2]] == [
        kinds["malformed"], kinds["unknown_type"],
    ]  # fmt: skip
    assert len(row[2].split("\x1f")) >= len(BROKEN) + 1


def test_heartbeats(tmp_path: Path) -> None:
    """The third one is authenticated (failover.secure)."""
    said = [
        Heartbeat("bigip-a", True, False, 0, 9).emit(),
        Heartbeat("b", False, True, 1, 2, True, 5).emit(),
    ]
    guard = HeartbeatGuard(b"one", b"two", wall_us=0, tolerance_s=3)
    said.append(guard.seal(Heartbeat("c", True, False, 2, 3).emit(), 77))
    path = tmp_path / "x.pcapng"
    blocks = [pcapng.section("test"), pcapng.interface("bigip-a ha")]
    for data in [*said, b"HB\1\2", b"nonsense as long as one"]:
        udp = b"\x04\x02\x04\x02" + (8 + len(data)).to_bytes(2, "big") + bytes(2) + data
        ip = b"\x45\0" + (20 + len(udp)).to_bytes(2, "big") + bytes(4) + b"\x40\x11" + bytes(10)
        frame = bytes(12) + b"\x08\x00" + ip + udp
        blocks.append(pcapng.packet(0, 1, frame, len(frame)))
    path.write_bytes(b"".join(blocks))
    names = ("mirrorlab_hb.device", "mirrorlab_hb.active", "mirrorlab_hb.resigned")
    shown = [f"mirrorlab_hb.{n}" for n in ("order", "sequence", "heir", "takeovers")]
    assert fields(path, "mirrorlab_hb.device", *names, *shown) == [
        ["bigip-a", "1", "0", "0", "9", "0", "0"], ["b", "0", "1", "1", "2", "1", "5"],
        ["c", "1", "0", "2", "3", "0", "0"],
    ]  # fmt: skip
    assert fields(path, "mirrorlab_hb.tag", "mirrorlab_hb.counter") == [["77"]]
    assert len(tshark(path, "-Y", "mirrorlab_hb.malformed")) == 2


def test_a_secured_channel_is_named_and_not_taken_for_nonsense(tmp_path: Path) -> None:
    """Also where a record's bytes look like a message's beginning."""
    record = b"\x17\x03\x03\x01\x00" + b"ML\x01" + b"\x5a" * 253
    data = b"\x16\x03\x01\x00\x05hello" + record * 3
    path = capture(tmp_path / "x.pcapng", data, cuts=[10, 100, 300])
    assert tshark(path, "-Y", "mirrorlab.type || mirrorlab.malformed") == []
    assert len(tshark(path, "-Y", "mirrorlab.part")) == 8
    assert "statemirror.secure" in tshark(path)[0]


@pytest.mark.parametrize("name", ["article-snat-pool-telnet", "onprem-telnet"])
def test_a_run_as_the_profile_shows_it(name: str, tmp_path: Path) -> None:
    """Nothing malformed, the channel's messages dissected at each point they pass, comments on
    the frames they are about, names instead of addresses."""
    path = tmp_path / "run.pcapng"
    path.write_bytes((REFERENCE / f"{name}.pcapng").read_bytes())
    facts = facts_of(path)
    told = comments(facts, judge(facts))
    addresses = {VIP.address: ["vip"], CLIENT.address: ["client"]}
    annotate(path, told, section=name, names=addresses)
    names = ("frame.number", "frame.comment", "mirrorlab.type", "_ws.expert.message", "ip.dst_host")
    rows = fields(path, "frame", *names)
    assert not any("alformed" in row[3] for row in rows)
    found = Counter(number for row in rows for number in row[2].split("\x1f") if number)
    assert {"1", "2", "3", "4", "6"} <= set(found)
    assert all(count % 4 == 0 for count in found.values()), found
    assert {int(row[0]): row[1].split("\x1f") for row in rows if row[1]} == told
    [taken] = [texts for texts in told.values() if "takeover: first heartbeat" in texts[0]]
    assert "bigip-b as the active device" in taken[0]
    assert any(row[4] == "vip" for row in rows)


def test_buttons_and_colours_are_filters_tshark_knows() -> None:
    profile = wireshark.folder() / "profiles" / wireshark.PROFILE
    buttons = [
        [word.replace('\\"', '"') for word in re.findall(r'"((?:[^"\\]|\\.)*)"', line)]
        for line in (profile / "dfilter_buttons").read_text().splitlines()
        if line.startswith('"')
    ]
    assert all(len(row) == 4 and row[0] == "TRUE" for row in buttons)
    assert {"Story", "Resets", "Mirroring", "bigip-a", "client", "router"} <= {r[1] for r in buttons}
    rules = [
        line.split("@")[1:3]
        for line in (profile / "colorfilters").read_text().splitlines()
        if line.startswith("@")
    ]
    everything = [row[2] for row in buttons] + [rule[1] for rule in rules]
    either = " || ".join(f"({expression})" for expression in everything)
    assert tshark(REFERENCE / "article-telnet.pcapng", "-Y", either)


def test_it_is_installed_beside_what_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file of the user's that differs is never overwritten without being told to."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    monkeypatch.delenv("WIRESHARK_CONFIG_DIR", raising=False)
    lines = wireshark.install()
    assert len(lines) == 4
    assert all(line.endswith(": written") for line in lines)
    assert all(line.startswith(str(tmp_path)) for line in lines)
    done = subprocess.run(
        ["tshark", "-C", "mirrorlab", "-r", str(REFERENCE / "article-telnet.pcapng"),
         "-Y", "mirrorlab.type"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert wireshark.said(done.stderr) == ""
    assert done.stdout
    assert all("as shipped already" in line for line in wireshark.install())
    [mine] = tmp_path.rglob("colorfilters")
    mine.write_text("@mine@tcp@[1,1,1][0,0,0]\n")
    with pytest.raises(wireshark.WiresharkError, match="colorfilters"):
        wireshark.install()
    assert mine.read_text().startswith("@mine@")
    assert any("colorfilters.before" in line for line in wireshark.install(replace=True))
    assert mine.with_name("colorfilters.before").read_text().startswith("@mine@")
