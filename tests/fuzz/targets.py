"""What is fuzzed: every parser, each with the errors that are its own, and real samples.

A target takes bytes and returns nothing. Anything it raises but the errors named here is a
finding, and so is a property that does not hold: what is parsed and emitted again is the same,
a stream is the same however it is cut, reassembly gives what a list of bytes gives.
"""

from __future__ import annotations

import io
import json
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from emulator.core import declaration
from emulator.core.events import PacketQueued, PeerMessages
from emulator.core.fastpath import datagram, established
from emulator.core.reassembly import Reassembly
from emulator.device import tmsh
from emulator.device.control import ControlServer
from emulator.lab.inputs.mapping import Source, translate
from emulator.lab.inputs.tree import InputError
from emulator.lab.replay.recording import RecordingError, survey
from emulator.lab.scenario_file import ScenarioError, load
from emulator.wire import pcap, pcapng
from emulator.wire.arp import Arp, ArpError
from emulator.wire.datagram import Datagram
from emulator.wire.heartbeat import Heartbeat, HeartbeatError
from emulator.wire.linklayer import segment_in
from emulator.wire.mirror import Decoder, MirrorError
from emulator.wire.options import Options
from emulator.wire.segment import Segment, SegmentError, parse_headers
from netns.cloud.fabric import ApiError
from netns.cloud.front import Front, Key, Settings
from netns.cloud.throttle import Throttle
from tests.captures.test_wireshark import SAMPLES as MESSAGES
from tests.captures.test_wireshark import stream
from tests.support.inputs import ARTICLE
from tests.support.inputs import SAMPLES as INPUTS
from tests.support.pair import active_device, config
from tests.support.segments import syn

ROOT = Path(__file__).resolve().parents[2]
_SCRATCH = Path(tempfile.gettempdir())


@dataclass(frozen=True)
class Target:
    """`run` on bytes; `samples`: real ones to begin with."""

    run: Callable[[bytes], None]
    own: tuple[type[Exception], ...]
    samples: Callable[[], Iterator[bytes]]


def _frames() -> Iterator[bytes]:
    for path in sorted((ROOT / "captures/reference").glob("*.pcapng")):
        with path.open("rb") as source:
            for number, frame in enumerate(pcapng.read(source)):
                if number % 40 == 0:
                    yield frame.data


def _packets() -> Iterator[bytes]:
    yield syn().emit()
    yield from (frame[14:] for frame in _frames())


def _captures() -> Iterator[bytes]:
    for path in sorted((ROOT / "captures/reference").glob("*.pcapng")):
        yield path.read_bytes()[:20_000]
    header = bytes.fromhex("d4c3b2a1020004000000000000000000ffff000001000000")
    frame = next(_frames())
    size = len(frame).to_bytes(4, "little")
    yield header + bytes(8) + size + size + frame


def _segment(data: bytes) -> None:
    found = Segment.parse(data)
    again = Segment.parse(found.emit())
    assert again == found, (found, again)


def _datagram(data: bytes) -> None:
    found = Datagram.parse(data)
    if len(found.payload) == found.octets:  # else it was cut, which emit cannot say
        assert Datagram.parse(found.emit()) == found


def _arp(data: bytes) -> None:
    found = Arp.parse(data)
    assert Arp.parse(found.emit()) == found


def _heartbeat(data: bytes) -> None:
    found = Heartbeat.parse(data)
    assert Heartbeat.parse(found.emit()) == found


def _mirror(data: bytes) -> None:
    """All at once, and cut at places the data itself names."""
    try:
        whole = Decoder().feed(data)
    except MirrorError:
        whole = None
    decoder, pieces, at = Decoder(), [], 0
    try:
        while at < len(data):
            size = 1 + data[at] % 37
            pieces += decoder.feed(data[at : at + size])
            at += size
    except MirrorError:
        assert whole is None, "cut up it is malformed, whole it is not"
        return
    assert pieces == whole, "cut up it is something else"
    for message in pieces:
        assert Decoder().feed(message.emit()) == [message]


def _linklayer(data: bytes) -> None:
    for linktype in (0, 1, 12, 101, 113, 228, 229, 276):
        segment_in(linktype, data, len(data))


def _fastpath(data: bytes) -> None:
    established({}, data, 0.0)
    datagram({}, data, 0.0)


def _recording(data: bytes) -> None:
    path = _SCRATCH / "fuzz-recording"
    path.write_bytes(data)
    survey(path)


def _scenario(data: bytes) -> None:
    path = _SCRATCH / "fuzz-scenario.yaml"
    path.write_bytes(data)
    load(path)


def _input(kind: str) -> Callable[[bytes], None]:
    def run(data: bytes) -> None:
        try:
            text = data.decode()
        except UnicodeDecodeError:
            return  # said by the command itself, with the line
        translate([Source(kind, "x", text)])

    return run


def _declaration(data: bytes) -> None:
    try:
        raw = json.loads(data)
    except (ValueError, RecursionError):
        return
    if isinstance(raw, dict):
        declaration.read(raw)


def _tmsh(data: bytes) -> None:
    line = data.decode(errors="replace")
    device = active_device(config())
    tmsh.completions(device, line)
    tmsh.execute(device, line, 1.0)


def _control(data: bytes) -> None:
    server = ControlServer.__new__(ControlServer)
    server._handler = lambda request: {"text": str(sorted(map(str, request)))}
    json.dumps(server._answer(data))


def _front(data: bytes) -> None:
    """A request of which every part is the input's: method, address, headers, body."""
    parts = [*data.split(b"\n", 5), b"", b"", b"", b"", b""]
    method, path, query, authorization, kind, body = (
        p.decode("latin-1") if n < 5 else p for n, p in enumerate(parts[:6])
    )
    environ: dict[str, Any] = {
        "REQUEST_METHOD": method, "PATH_INFO": path or "/", "QUERY_STRING": query,
        "HTTP_AUTHORIZATION": authorization, "CONTENT_TYPE": kind, "HTTP_HOST": "10.0.2.10:5000",
        "CONTENT_LENGTH": str(len(body)), "wsgi.input": io.BytesIO(body),  # type: ignore[arg-type]
        "RAW_URI": f"{path}?{query}",
    }  # fmt: skip
    settings = Settings("us-east-1", {"AKIAX": Key("bigip-a", "secret")}, throttle=Throttle({}))
    seen: list[str] = []
    front = Front(settings, lambda *_: [b""], lambda *_: None)
    b"".join(front(environ, lambda status, headers: seen.append(status)))


def _device_packet(data: bytes) -> None:
    """An active device takes what comes to it, whatever it is."""
    device = active_device(config())
    for number in range(2):
        device.handle(PacketQueued(number, "ext", Segment.parse(data), data), 1.0 + number)


def _device_peer(data: bytes) -> None:
    device = active_device(config())
    device.handle(PeerMessages(tuple(Decoder().feed(data))), 1.0)


def _reassembly(data: bytes) -> None:
    """Insertions and trims the data names, against a dictionary of bytes."""
    stream, oracle, floor = Reassembly(), dict[int, int](), 0
    for at in range(0, len(data) - 3, 4):
        kind, low, high, size = data[at : at + 4]
        offset = low | (high & 3) << 8
        if kind & 7 == 7:
            end = stream.end
            stream.trim(offset)
            floor = max(floor, min(offset, end))
        else:
            # One content for each place: which of two different copies counts is for a unit test.
            piece = bytes((offset + i) * 7 & 0xFF for i in range(size % 64))
            stream.insert(offset, piece)
            oracle.update({offset + i: byte for i, byte in enumerate(piece)})
        end = floor
        while end in oracle:
            end += 1
        assert (stream.start, stream.end) == (floor, end)
        assert stream.read(floor, end) == bytes(oracle[i] for i in range(floor, end))


def _files(folder: Path, pattern: str) -> Callable[[], Iterator[bytes]]:
    return lambda: (path.read_bytes() for path in sorted(folder.glob(pattern)))


def _inputs(prefix: str, *also: str) -> Callable[[], Iterator[bytes]]:
    def found() -> Iterator[bytes]:
        for folder in (INPUTS, ARTICLE):
            for pattern in (prefix, *also):
                yield from (path.read_bytes() for path in sorted(folder.glob(pattern)))

    return found


_SIGNED = (
    b"POST\n/\nAction=DescribeRouteTables\nAWS4-HMAC-SHA256 Credential=AKIAX/20260101/us-east-1/"
    b"ec2/aws4_request, SignedHeaders=host;x-amz-date, Signature=" + b"0" * 64 +
    b"\napplication/x-www-form-urlencoded; charset=utf-8\nAction=ReplaceRoute&RouteTableId=rtb-1"
)  # fmt: skip
_LINES = (
    b"show sys connection type mirror", b"modify ltm virtual vs_alien mirror disabled",
    b"run sys failover standby", b"show sys connection cs-server-port 22 all-properties",
    b"list ltm virtual", b"modify sys db tm.rejectunmatched value false", b"show cm traffic-group",
)  # fmt: skip
_REQUESTS = (b'{"status": true}', b'{"tmsh": "show sys failover"}', b'{"complete": "sh"}')
_BEAT = Heartbeat("bigip-a", True, False, 0, 9).emit()
TARGETS = {
    "segment": Target(_segment, (SegmentError,), _packets),
    "headers": Target(lambda d: void(parse_headers(d)), (SegmentError,), _packets),
    "options": Target(lambda d: void(Options.parse(d)), (), lambda: iter([syn().emit()[40:]])),
    "datagram": Target(_datagram, (SegmentError,), _packets),
    "arp": Target(_arp, (ArpError,), _frames),
    "heartbeat": Target(_heartbeat, (HeartbeatError,), lambda: iter([_BEAT])),
    "mirror": Target(_mirror, (MirrorError,), lambda: iter([stream(MESSAGES)])),
    "linklayer": Target(_linklayer, (), _frames),
    "fastpath": Target(_fastpath, (), _packets),
    "pcap": Target(lambda d: void(pcap.read(io.BytesIO(d))), (pcap.PcapError,), _captures),
    "pcapng": Target(lambda d: void(pcapng.read(io.BytesIO(d))), (pcapng.PcapngError,), _captures),
    "recording": Target(_recording, (RecordingError,), _captures),
    "scenario": Target(_scenario, (ScenarioError,), _files(ROOT / "emulator/scenarios", "*.yaml")),
    "as3": Target(_input("as3"), (InputError,), _inputs("as3*.json")),
    "cfe": Target(_input("cfe"), (InputError,), _inputs("cfe*.json")),
    "do": Target(_input("do"), (InputError,), _inputs("do*.json")),
    "bigip-conf": Target(_input("bigip-conf"), (InputError,), _inputs("*.conf", "*.tmsh")),
    "declaration": Target(
        _declaration, (declaration.DeclarationError,), _inputs("cfe*.json")
    ),
    "tmsh": Target(_tmsh, (tmsh.TmshError,), lambda: iter(_LINES)),
    "control": Target(_control, (), lambda: iter(_REQUESTS)),
    "ec2-front": Target(_front, (ApiError,), lambda: iter([_SIGNED])),
    "device-packet": Target(_device_packet, (SegmentError,), _packets),
    "device-peer": Target(_device_peer, (MirrorError,), lambda: iter([stream(MESSAGES)])),
    "reassembly": Target(_reassembly, (), lambda: iter([bytes(range(64))])),
}  # fmt: skip


def void(value: object) -> None:
    """Use a parser's whole answer."""
    if isinstance(value, Iterator):
        for _ in value:
            pass
