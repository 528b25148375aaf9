"""Capture files as people have them: cut, corrupt, empty, compressed, of several points."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import pytest

from emulator.lab.replay.account import comparison, ended, flow_recorded, with_replay
from emulator.lab.replay.flows import CLIENT, SERVER, Flow
from emulator.lab.replay.origin import differences
from emulator.lab.replay.packets import replay_packets
from emulator.lab.replay.prepare import Wish, chosen, prepare
from emulator.lab.replay.recording import Moment, RecordingError, survey
from emulator.lab.replay.script import DATA, FIN, ScriptWriter, read
from emulator.lab.scenario_file import find, load
from emulator.wire.segment import ACK, SYN, Endpoint, Segment
from emulator.wire.segment import FIN as FIN_FLAG
from emulator.wire.seqnum import SeqNum

REFERENCE = Path(__file__).resolve().parents[3] / "captures" / "reference"
ENDS = (Endpoint.of("192.0.2.1:50000"), Endpoint.of("198.51.100.2:23"))


def talk(turns: int = 4, *, closed: bool = True) -> list[bytes]:
    """A conversation, a turn a second: IP packets."""
    at, found = [100, 200], []

    def say(who: int, flags: int, payload: bytes = b"") -> None:
        seq, ack = SeqNum(at[who]), SeqNum(at[1 - who])
        segment = Segment(ENDS[who], ENDS[1 - who], seq, ack, flags, payload=payload)
        found.append(segment.emit())
        at[who] += segment.octets

    say(CLIENT, SYN)
    say(SERVER, SYN | ACK)
    for turn in range(turns):
        say(turn % 2, ACK, f"turn {turn}".encode())
    if closed:
        say(CLIENT, FIN_FLAG | ACK)
        say(SERVER, FIN_FLAG | ACK)
    return found


def file(packets: list[bytes]) -> bytes:
    head = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 101)
    frames = (struct.pack("<IIII", n, 0, len(p), len(p)) + p for n, p in enumerate(packets))
    return head + b"".join(frames)


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    path = tmp_path / "my.pcap"
    path.write_bytes(file(talk()))
    return path


def test_script_and_mark_of_a_recording(recording: Path, tmp_path: Path) -> None:
    """Who says what, when; the failover after the frame that was asked for."""
    scenario = load(find("article"))
    wish = Wish(moment=Moment(frame=4))
    found = survey(recording, wish.moment)
    replay = prepare(found, None, chosen(found, None), scenario, wish, tmp_path)
    (part,) = replay.parts
    said = [(s.who, s.kind, s.data, s.time_s) for s in read(part.script)]
    turns = [(n % 2, DATA, f"turn {n}".encode(), n + 2.0) for n in range(4)]
    assert said == [*turns, (CLIENT, FIN, b"", 6.0), (SERVER, FIN, b"", 7.0)]
    assert (replay.mark, part.name, part.end_s) == ((4, 3.0), "flow-1", 7.0)
    assert replay.recorded["flows"][0]["bytes"] == {"to_server": 12, "to_client": 12}


def test_without_a_wish_the_failover_comes_in_the_middle_of_the_bytes(
    recording: Path, tmp_path: Path
) -> None:
    found = survey(recording)
    replay = prepare(found, None, chosen(found, None), load(find("article")), Wish(), tmp_path)
    assert replay.mark == (4, 3.0)
    found = survey(recording)
    healthy = load(find("healthy"))
    other = tmp_path / "other"
    other.mkdir()
    assert prepare(found, None, chosen(found, None), healthy, Wish(), other).mark is None


def test_a_packet_no_link_carries_is_named_before_anything_is_built(tmp_path: Path) -> None:
    """As a capture has it that was made before the network card cut it up."""
    big = Segment(*ENDS, SeqNum(101), SeqNum(201), ACK, payload=bytes(2000)).emit()
    path = tmp_path / "my.pcap"
    path.write_bytes(file([*talk(closed=False), big]))
    found = survey(path)
    scenario = load(find("article"))
    with pytest.raises(RecordingError, match="frame 7 has 2040 bytes of IP"):
        replay_packets(scenario, found, found.flows[0], tmp_path / "runs", print)
    assert not (tmp_path / "runs").exists()


def test_a_cut_file_is_read_as_far_as_it_goes(recording: Path) -> None:
    recording.write_bytes(recording.read_bytes()[:-30])
    found = survey(recording)
    assert (found.frames, len(found.flows)) == (7, 1)
    assert found.warning.endswith("the file ends inside a frame; good up to frame 7")


def test_a_compressed_file_is_read_and_a_cut_one_too(recording: Path) -> None:
    packed = gzip.compress(recording.read_bytes())
    recording.write_bytes(packed)
    assert survey(recording).frames == 8
    recording.write_bytes(packed[:-30])
    assert "good up to frame" in survey(recording).warning


ETHERNET_UDP = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1) + struct.pack(
    "<IIII", 0, 0, 60, 60
) + bytes(12) + b"\x08\x00\x45" + bytes(8) + b"\x11" + bytes(36)  # fmt: skip


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "my.pcap: empty"),
        (b"#!/bin/sh\n", "my.pcap: neither pcap nor pcapng"),
        (file([]), "my.pcap: no frame in it"),
        (file(talk())[:30], "my.pcap: no frame in it: offset 24: the file ends inside a record"),
        (file(talk()) + b"\xff" * 16, "my.pcap: corrupt after frame 8: offset"),
        (ETHERNET_UDP, "my.pcap: no TCP flow in 1 frames"),
        (file([b"\x60"]).replace(b"\x65\0\0\0", b"\x93\0\0\0", 1), "link type 147, which"),
    ],
    ids=["empty", "script", "no frames", "cut", "corrupt", "udp", "link type"],
)
def test_what_cannot_be_replayed_says_why_in_a_line(
    tmp_path: Path, content: bytes, says: str
) -> None:
    path = tmp_path / "my.pcap"
    path.write_bytes(content)
    with pytest.raises(RecordingError, match=says) as raised:
        survey(path)
    assert "\n" not in str(raised.value)


def test_frames_seconds_and_flows_that_are_not_there(recording: Path) -> None:
    with pytest.raises(RecordingError, match="frame 9 is not in it: it has frames 1 to 8"):
        survey(recording, Moment(frame=9))
    with pytest.raises(RecordingError, match=r"7\.5 s is not in it: it lasts 7\.000 s"):
        survey(recording, Moment(seconds=7.5))
    with pytest.raises(RecordingError, match="no flow is 2; it has 1"):
        chosen(survey(recording), "2")
    recording.write_bytes(file(talk(0)))
    with pytest.raises(RecordingError, match="flow 1 has no payload"):
        chosen(survey(recording), None)


def test_a_labs_recording_gives_its_clients_flows_once() -> None:
    """The same segments are in it up to eight times."""
    found = survey(REFERENCE / "article-telnet.pcapng")
    (flow,) = found.flows
    assert (flow.point, flow.octets) == ("client:eth0", (983, 815))
    assert ended(flow_recorded(flow, found.first_ns, found.last_ns)).startswith(
        "reset from the server's side"
    )


def test_a_script_of_more_flows_than_open_files(tmp_path: Path) -> None:
    writer = ScriptWriter(tmp_path, 0)
    flows = [Flow(n, "", (b"", b""), 1, 0) for n in range(100)]
    for second in range(3):
        for flow in flows:
            writer.data(flow, CLIENT, second * 10**9, second, b"x" * 70_000)
    writer.close()
    for flow in flows:
        assert sum(s.octets for s in read(writer.path(flow.number))) == 210_000


def test_the_settings_that_differ_and_no_more() -> None:
    then, now = load(find("article")), load(find("article-no-mirroring"))
    found = differences(then, now)
    assert [c["setting"] for c in found] == ["virtual_server.mirroring", "virtual_server.snat"]
    assert (found[1]["recorded"], found[1]["replayed"]) == ("automap", "pool")


RESET, OPEN = {"end": "reset"}, {"end": "open"}
CHANGED = [{"setting": "virtual_server.snat", "recorded": "automap", "replayed": "pool"}]


@pytest.mark.parametrize(
    ("flow", "outcome", "changes", "says"),
    [
        (RESET, "SURVIVED", CHANGED, "recorded when it was reset, lives when virtual_server.snat "
         "is pool, not automap  (new; recorded under old)."),
        (RESET, "RESET", [], "recorded when it was reset, dies again under new, with the settings"),
        (OPEN, "STALLED", None, "which lived in the recording, dies under new (recorded under"),
        (OPEN, "CLOSED", CHANGED, "which lived in the recording, lives when"),
    ],
)  # fmt: skip
def test_then_and_now(flow: dict[str, str], outcome: str, changes: object, says: str) -> None:
    recording = {"scenario": "new", "recorded_under": "old", "differences": changes}
    assert says in comparison({"recording": flow, "outcome": outcome}, recording, True)


def test_only_bytes_found_right_count_and_probes_apart() -> None:
    flow = {"number": 1, "application": "ssh", "bytes": {"to_server": 10, "to_client": 20}}
    records = [
        {"session": "flow-1", "what": "server-progress", "node": "server", "received": 7},
        {"session": "flow-1", "what": "progress", "node": "client", "received": 95},
        {"session": "flow-1", "what": "over", "node": "client", "received": 20},
    ]
    found = with_replay({"connections": [{"name": "flow-1"}]}, {"flows": [flow]}, records)
    replay = found["connections"][0]["replay"]
    assert replay["right"] == {"to_server": 7, "to_client": 20}
    assert (replay["probes"]["to_client"], replay["complete"]) == (75, False)
    assert found["recording"]["not_begun"] == []
