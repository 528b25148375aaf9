"""A capture file, read twice: once to see what flows it has, once to take the chosen ones out.

pcap and pcapng, also compressed by gzip; read as a stream, so that its size does not matter.
"""

from __future__ import annotations

import gzip
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from emulator.lab.replay.flows import Flow, FlowTable, Sink, at_one_point
from emulator.wire import pcap, pcapng
from emulator.wire.linklayer import LINKTYPES, NoSegment, network_layer, segment_in

_EVERY = 2000  # frames between two words on progress
_GZIP = b"\x1f\x8b"
LAB_CLIENT = "client:"  # how the lab's own capture points at the client are named

Progress = Callable[[int, int], None]  # bytes of the file that are read, and its size


class RecordingError(ValueError):
    """Nothing can be replayed from this file; one line says why."""


@dataclass(slots=True)
class Recording:
    """What is in a capture file. `warning`: what of it could not be read."""

    path: Path
    frames: int = 0
    first_ns: int = 0
    last_ns: int = 0
    warning: str = ""
    of_lab: bool = False  # its capture points are those of a lab
    flows: list[Flow] = field(default_factory=list)  # each at one capture point
    other: Counter[NoSegment] = field(default_factory=Counter)
    linktypes: set[int] = field(default_factory=set)
    left_out: int = 0  # segments of flows beyond the bound on their number
    at_frame: int = 0  # the last frame up to the moment that was looked for; 0: none
    at_ns: int = 0

    @property
    def duration_s(self) -> float:
        return (self.last_ns - self.first_ns) / 1e9


@dataclass(frozen=True, slots=True)
class Moment:
    """A place in a recording: a frame, or seconds after its first one, or a time (since 1970)
    that may lie outside of it."""

    frame: int | None = None
    seconds: float | None = None
    clock_ns: int | None = None


def survey(path: Path, moment: Moment | None = None, progress: Progress | None = None) -> Recording:
    """What flows the file has, and which frame is the last one up to `moment`.

    Raises RecordingError when there is nothing to replay, OSError.
    """
    found = Recording(path)
    table = FlowTable()
    _feed(found, table, moment, progress)
    if found.frames == 0:
        raise RecordingError(f"{path}: no frame in it{_because(found.warning)}")
    if not table.flows:
        raise RecordingError(f"{path}: no TCP flow in {found.frames} frames ({_what(found)})")
    found.left_out = table.left_out
    at_client = [f for f in table.flows if f.point.startswith(LAB_CLIENT)]
    found.flows = at_one_point(at_client if found.of_lab else table.flows)
    if not found.flows:
        raise RecordingError(f"{path}: a lab's recording without its client's capture points")
    _check(found, moment)
    return found


def extract(
    found: Recording, numbers: frozenset[int], sink: Sink, progress: Progress | None
) -> None:
    """Give the bytes of these flows to `sink`, and put what is known of them now in the place of
    what the survey knew. Raises RecordingError, OSError."""
    table = FlowTable(sink, numbers)
    _feed(Recording(found.path), table, None, progress)
    known = {flow.number: flow for flow in table.flows if flow.number in numbers}
    found.flows = [known.get(flow.number, flow) for flow in found.flows]


def packets_of(found: Recording, flow: Flow) -> list[tuple[int, bytes]]:
    """The whole IPv4 packets of a flow's client, with their frames' numbers, later fragments
    among them; raises RecordingError, OSError."""
    client, server = flow.ends
    pair = client[:-2] + server[:-2]
    packets = []
    for number, frame in enumerate(_frames(found.path, None), 1):
        start = network_layer(frame.interface.linktype, frame.data)
        if number < flow.first_frame or frame.interface.name != flow.point or start is None:
            continue
        packet = frame.data[start:]
        if len(packet) < 40 or packet[0] >> 4 != 4 or packet[12:20] != pair or packet[9] != 6:
            continue
        packet = packet[: int.from_bytes(packet[2:4], "big")]
        header = (packet[0] & 15) * 4
        later = int.from_bytes(packet[6:8], "big") & 0x1FFF
        if later or packet[header : header + 4] == client[-2:] + server[-2:]:
            packets.append((number, packet))
    return packets


def _feed(
    found: Recording, table: FlowTable, moment: Moment | None, progress: Progress | None
) -> None:
    """Every segment of the file into the table; a file that is cut is read as far as it goes."""
    try:
        for frame in _frames(found.path, progress):
            found.frames += 1
            time_ns = frame.time_ns or found.last_ns
            if found.frames == 1:
                found.first_ns = found.last_ns = time_ns
                found.of_lab = _of_lab(frame.interface)
            found.last_ns = max(found.last_ns, time_ns)
            if moment is not None:
                _look_for(moment, found, time_ns)
            kind = frame.interface.linktype
            found.linktypes.add(kind)
            seen = segment_in(kind, frame.data, frame.original_length)
            if isinstance(seen, NoSegment):
                found.other[seen] += 1
            else:
                table.add(frame.interface.name, found.frames, time_ns, seen)
    except (pcap.PcapCut, pcapng.PcapngCut, EOFError) as error:
        found.warning = f"{error}; good up to frame {found.frames}"
    except (pcap.PcapError, pcapng.PcapngError, zlib.error, gzip.BadGzipFile) as error:
        raise RecordingError(
            f"{found.path}: corrupt after frame {found.frames}: {error}"
        ) from error
    table.finish()


def _look_for(moment: Moment, found: Recording, time_ns: int) -> None:
    if moment.frame is not None:
        past = found.frames > moment.frame
    elif moment.clock_ns is not None:
        past = time_ns > moment.clock_ns
    else:
        past = time_ns - found.first_ns > (moment.seconds or 0.0) * 1e9
    if not past:
        found.at_frame, found.at_ns = found.frames, time_ns


def _check(found: Recording, moment: Moment | None) -> None:
    if moment is None:
        return
    if moment.frame is not None and not 1 <= moment.frame <= found.frames:
        raise RecordingError(
            f"{found.path}: frame {moment.frame} is not in it: it has frames 1 to {found.frames}"
        )
    if moment.seconds is not None:
        if not 0 <= moment.seconds <= found.duration_s:
            raise RecordingError(
                f"{found.path}: {moment.seconds:g} s is not in it: "
                f"it lasts {found.duration_s:.3f} s"
            )
        found.at_ns = found.first_ns + int(moment.seconds * 1e9)
    if moment.clock_ns is not None:
        inside = found.first_ns <= moment.clock_ns <= found.last_ns
        found.at_frame, found.at_ns = (found.at_frame, moment.clock_ns) if inside else (0, 0)


@contextmanager
def _opened(path: Path) -> Iterator[tuple[pcapng.Source, Callable[[], int], bytes]]:
    """The file, or what is compressed in it; where we are in the file; its first four bytes."""
    with path.open("rb") as raw:
        magic = raw.read(4)
        raw.seek(0)
        if magic[:2] != _GZIP:
            yield raw, raw.tell, magic
            return
        with gzip.open(raw) as inside:
            try:
                magic = inside.read(4)
            except (EOFError, zlib.error, gzip.BadGzipFile):
                magic = b""
            inside.seek(0)
            yield inside, raw.tell, magic


def _frames(path: Path, progress: Progress | None) -> Iterator[pcapng.Frame]:
    size = path.stat().st_size
    if size == 0:
        raise RecordingError(f"{path}: empty")
    with _opened(path) as (source, place, magic):
        if pcap.is_pcap(magic):
            frames = pcap.read(source)
        elif magic == b"\x0a\x0d\x0d\x0a":
            frames = pcapng.read(source)
        else:
            raise RecordingError(f"{path}: neither pcap nor pcapng")
        for number, frame in enumerate(frames):
            if progress is not None and number % _EVERY == 0:
                progress(place(), size)
            yield frame
        if progress is not None:
            progress(size, size)


def _of_lab(point: pcapng.Interface) -> bool:
    """Whether a lab's capture point describes itself as `lab.capture` has it."""
    return ":" in point.name and "mac=" in point.description


def _what(found: Recording) -> str:
    """What the frames were, where there was no segment."""
    unknown = found.linktypes - LINKTYPES
    if unknown:
        return f"link type {min(unknown)}, which this cannot read"
    return ", ".join(f"{count} {why.value}" for why, count in found.other.most_common()) or "none"


def _because(warning: str) -> str:
    return f": {warning}" if warning else ""
