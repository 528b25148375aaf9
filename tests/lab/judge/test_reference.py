"""The committed captures: real traffic, judged by packets alone, with the frames to look at."""

from __future__ import annotations

from pathlib import Path

import pytest

from emulator.lab.analysis import facts_of
from emulator.lab.capture import merge
from emulator.lab.judge.causes import CAUSES
from emulator.lab.judge.verdict import judge
from emulator.wire import pcapng
from emulator.wire.segment import RST, Segment

REFERENCE = Path(__file__).resolve().parents[3] / "captures" / "reference"


@pytest.mark.parametrize(
    ("name", "outcome", "cause"),
    [
        ("article-telnet", "RESET", "snat-address-changed"),
        ("article-snat-pool-telnet", "SURVIVED", None),
        ("article-no-mirroring-telnet", "RESET", "no-flow-reset"),
        ("onprem-telnet", "SURVIVED", None),
        ("onprem-no-garp-telnet", "STALLED", "route-never-moved"),
    ],
)
def test_reference_captures(name: str, outcome: str, cause: str | None) -> None:
    [verdict] = judge(facts_of(REFERENCE / f"{name}.pcapng"))
    assert (verdict.name, verdict.outcome, verdict.cause.id) == ("telnet", outcome, cause)
    assert verdict.bytes.altered == verdict.bytes.repeated == 0


def test_the_named_frame_is_the_reset() -> None:
    """Frame numbers are those Wireshark shows, from 1."""
    path = REFERENCE / "article-telnet.pcapng"
    [verdict] = judge(facts_of(path))
    with path.open("rb") as source:
        frames = list(pcapng.read(source))
    frame = frames[verdict.cause.evidence[-1].frame - 1]
    assert frame.interface.name == "client:eth0"
    assert Segment.parse(frame.data[14:]).flags & RST


def test_merging_keeps_every_frame_in_time_order(tmp_path: Path) -> None:
    """Two halves of a capture, swapped, merge into the capture."""
    source = REFERENCE / "article-telnet.pcapng"
    with source.open("rb") as file:
        frames = list(pcapng.read(file))
    halves = []
    for number, part in enumerate((frames[1::2], frames[::2])):
        points = list(dict.fromkeys(f.interface for f in part))
        blocks = [pcapng.section("test")]
        blocks += [pcapng.interface(p.name, p.description) for p in points]
        blocks += [
            pcapng.packet(points.index(f.interface), f.time_ns, f.data, f.original_length)
            for f in part
        ]
        halves.append(tmp_path / f"{number}.pcapng")
        halves[-1].write_bytes(b"".join(blocks))
    assert merge(halves, tmp_path / "merged.pcapng") == len(frames)
    with (tmp_path / "merged.pcapng").open("rb") as file:
        merged = list(pcapng.read(file))
    assert [f.time_ns for f in merged] == [f.time_ns for f in frames]
    assert sorted(f.data for f in merged) == sorted(f.data for f in frames)


def test_every_cause_has_its_one_line() -> None:
    assert all(text and "\n" not in text for text in CAUSES.values())
