"""pcapng: what is written is read back; other writers' files; cut and nonsense files."""

from __future__ import annotations

import io
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulator.wire import pcapng
from emulator.wire.pcapng import Frame, Interface, PcapngError
from tests.support.segments import examples, mutated

# One section, one interface "ext", one frame of three bytes, written by hand from the draft.
SECTION_BYTES = bytes.fromhex(
    "0a0d0d0a 28000000 4d3c2b1a 0100 0000 ffffffffffffffff"
    "0400 0300 6c616200 00000000"  # shb_userappl "lab"
    "28000000"
)
INTERFACE_BYTES = bytes.fromhex(
    "01000000 28000000 0100 0000 00000000"
    "0200 0300 65787400"  # if_name "ext"
    "0900 0100 09000000"  # if_tsresol 10^-9
    "00000000 28000000"
)
PACKET_BYTES = bytes.fromhex(
    "06000000 24000000 00000000"
    "3fe7a917 15cd5b07"  # 0x17a9e73f_075bcd15 ns
    "03000000 05000000 61626300"
    "24000000"
)
EXT = Interface("ext", "", pcapng.LINKTYPE_ETHERNET, 1_000_000_000)
FRAME = Frame(EXT, 0x17A9E73F_075BCD15, b"abc", 5)

texts = st.text(max_size=30)
points = st.builds(Interface, texts, texts, st.integers(0, 0xFFFF), st.just(1_000_000_000))


@st.composite
def captures(draw):
    """What a capture holds, and its bytes: interfaces first, then frames on any of them."""
    interfaces = draw(st.lists(points, min_size=1, max_size=3))
    blocks = [pcapng.section(draw(texts), draw(texts))]
    blocks += [pcapng.interface(p.name, p.description, p.linktype) for p in interfaces]
    frames = []
    for _ in range(draw(st.integers(0, 4))):
        index = draw(st.integers(0, len(interfaces) - 1))
        data = draw(st.binary(max_size=40))
        frame = Frame(
            interfaces[index],
            draw(st.integers(0, (1 << 64) - 1)),
            data,
            len(data) + draw(st.integers(0, 1500)),
        )
        frames.append(frame)
        blocks.append(pcapng.packet(index, frame.time_ns, data, frame.original_length, draw(texts)))
    return frames, blocks


def read(data: bytes) -> list[Frame]:
    return list(pcapng.read(io.BytesIO(data)))


def block(order: str, kind: int, body: bytes) -> bytes:
    length = 12 + len(body)
    return struct.pack(order + "II", kind, length) + body + struct.pack(order + "I", length)


def section(order: str = "<") -> bytes:
    return block(order, 0x0A0D0D0A, struct.pack(order + "IHHq", 0x1A2B3C4D, 1, 0, -1))


def described(order: str, *options: tuple[int, bytes]) -> bytes:
    """An interface block with these options, written here, not by the module under test."""
    body = struct.pack(order + "HHI", 1, 0, 0)
    for code, value in options:
        body += struct.pack(order + "HH", code, len(value)) + value + bytes(-len(value) % 4)
    return block(order, 1, body)


def frame(order: str, ticks: int, data: bytes = b"abcd", index: int = 0) -> bytes:
    head = struct.pack(
        order + "IIIII", index, ticks >> 32, ticks & 0xFFFFFFFF, len(data), len(data)
    )
    return block(order, 6, head + data + bytes(-len(data) % 4))


def test_emit_fixed_bytes():
    assert pcapng.section("lab") == SECTION_BYTES
    assert pcapng.interface("ext") == INTERFACE_BYTES
    assert pcapng.packet(0, FRAME.time_ns, b"abc", 5) == PACKET_BYTES


def test_parse_fixed_bytes():
    assert read(SECTION_BYTES + INTERFACE_BYTES + PACKET_BYTES) == [FRAME]


@given(captures())
@examples(100)
def test_what_is_written_is_read_back(capture):
    frames, blocks = capture
    assert read(b"".join(blocks)) == frames


@given(captures())
@examples(30)
def test_every_block_says_its_length_twice(capture):
    """What lets a reader walk backwards; multiples of four, as the draft wants."""
    for written in capture[1]:
        (length,) = struct.unpack_from("<I", written, 4)
        assert written[-4:] == written[4:8]
        assert (length, length % 4) == (len(written), 0)


def test_scapy_reads_the_same_frames_and_the_comment():
    from scapy.layers.inet import TCP  # noqa: F401 - loads what the reader needs
    from scapy.utils import RawPcapNgReader

    story = pcapng.packet(0, FRAME.time_ns, b"abc", 5, "bigip-a took this one")
    file = pcapng.section("lab", "a run") + pcapng.interface("ext", "x=1") + story
    data, meta = next(RawPcapNgReader(io.BytesIO(file)))
    assert (data, meta.wirelen, meta.ifname) == (b"abc", 5, b"ext")
    assert (meta.tshigh << 32) | meta.tslow == FRAME.time_ns
    assert meta.comments == [b"bigip-a took this one"]


@pytest.mark.parametrize("order", ["<", ">"], ids=["little-endian", "big-endian"])
def test_either_byte_order(order):
    data = section(order) + described(order, (2, b"int")) + frame(order, 1_500_000)
    (got,) = read(data)
    assert (got.interface.name, got.time_ns, got.data) == ("int", 1_500_000_000, b"abcd")


@pytest.mark.parametrize(
    ("resolution", "ticks", "time_ns"),
    [
        (None, 1_000_001, 1_000_001_000),
        (9, 5, 5),
        (3, 7, 7_000_000),
        (0x80 | 10, 1536, 1_500_000_000),
    ],
    ids=["microseconds unless said", "nanoseconds", "milliseconds", "2^-10 s"],
)
def test_the_interface_says_how_long_a_tick_is(resolution, ticks, time_ns):
    options = [] if resolution is None else [(9, bytes([resolution]))]
    (got,) = read(section() + described("<", *options) + frame("<", ticks))
    assert got.time_ns == time_ns


def test_other_blocks_are_skipped():
    """Name resolution, interface statistics, and whatever comes later."""
    other = block("<", 4, b"\0" * 8) + block("<", 5, b"\xff" * 12) + block("<", 0x0BAD, b"")
    data = section() + other + described("<") + other + frame("<", 1)
    assert len(read(data)) == 1


def test_a_new_section_begins_with_no_interfaces_and_its_own_byte_order():
    second = section(">") + described(">", (2, b"second")) + frame(">", 1)
    first = section("<") + described("<", (2, b"first")) + described("<") + frame("<", 1)
    assert [f.interface.name for f in read(first + second)] == ["first", "second"]
    with pytest.raises(PcapngError, match="interface 1 was never described"):
        read(first + section() + described("<") + frame("<", 1, index=1))


def test_an_option_after_the_end_of_options_is_not_read():
    body = struct.pack("<HHI", 1, 0, 0) + bytes(4) + struct.pack("<HH", 2, 4) + b"late"
    (got,) = read(section() + block("<", 1, body) + frame("<", 1))
    assert got.interface.name == ""


@given(captures(), st.data())
@examples(100)
def test_a_cut_file_gives_its_whole_frames_then_an_error(capture, data):
    """Cut between two blocks it is a shorter file; cut inside one it is never silent."""
    frames, blocks = capture
    whole = b"".join(blocks)
    cut = data.draw(st.integers(1, len(whole)))
    boundaries = [len(b"".join(blocks[:n])) for n in range(len(blocks) + 1)]
    got = []
    reader = pcapng.read(io.BytesIO(whole[:cut]))
    if cut in boundaries:
        got = list(reader)
    else:
        with pytest.raises(PcapngError):
            got.extend(reader)
    complete = sum(boundary <= cut for boundary in boundaries) - 1
    expected = frames[: max(0, complete - (len(blocks) - len(frames)))]
    assert got == expected


nonsense = st.one_of(
    st.binary(max_size=80),
    st.binary(max_size=80).map(lambda tail: section() + tail),
    st.binary(max_size=60).map(lambda b: section() + block("<", 1, b + bytes(-len(b) % 4))),
    mutated(captures().map(lambda capture: b"".join(capture[1]))),
)


@given(nonsense)
@examples(400)
def test_nonsense_is_a_pcapng_error_or_frames(data):
    try:
        frames = read(data)
    except PcapngError:
        return
    assert all(isinstance(frame, Frame) for frame in frames)


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"GIF89a..", "offset 0: not a pcapng file"),
        (section()[:8] + b"\0\0\0\0", "not a pcapng section header"),
        (section()[:20], "offset 0: the file ends inside a block"),
        (section() + b"\x01", "offset 28: the file ends inside a block header"),
        (section() + struct.pack("<II", 1, 0), "offset 28: a block of 0 bytes"),
        (section() + struct.pack("<II", 1, 1 << 25), "offset 28: a block of 33554432 bytes"),
        (section() + block("<", 1, bytes(4)), "offset 28: an interface block of 4 bytes"),
        (section() + block("<", 6, bytes(16)), "offset 28: a packet block of 16 bytes"),
        (section() + frame("<", 1), "offset 28: interface 0 was never described"),
        (
            section() + described("<") + block("<", 6, struct.pack("<5I", 0, 0, 0, 5, 5) + b"abcd"),
            "offset 48: 5 bytes captured do not fit",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_wrong_is_said_with_its_offset(data, why):
    with pytest.raises(PcapngError, match=why):
        read(data)


def test_an_empty_file_has_no_frames():
    """A capture killed before its first block; whether that is a fault is the lab's to say."""
    assert read(b"") == []


def test_frames_come_as_they_are_read():
    """Memory stays bounded: a frame before the damage is seen before the error."""
    reader = pcapng.read(io.BytesIO(SECTION_BYTES + INTERFACE_BYTES + PACKET_BYTES + b"\x06"))
    assert next(reader) == FRAME
    with pytest.raises(PcapngError):
        next(reader)


@pytest.mark.parametrize("size", range(60, 65))
@pytest.mark.parametrize("before", ["", "already there"])
def test_comments_are_added_to_a_block(size: int, before: str) -> None:
    head = pcapng.section("x") + pcapng.interface("a b")
    block = pcapng.packet(0, 5, bytes(size), size + 3, before)
    more = pcapng.with_comments(block, ["first", "second"])
    assert read(head + more) == read(head + block)
    assert [more.count(t) for t in (b"first", b"second", b"already")] == [1, 1, int(bool(before))]
    assert len(more) % 4 == 0


@pytest.mark.parametrize("block", [pcapng.section("x"), pcapng.packet(0, 1, b"", 0)[:-4] + b"...."])
def test_only_packet_blocks_take_comments(block: bytes) -> None:
    broken = block if block.endswith(b"\0") or block[:1] == b"\n" else block[:-8]
    with pytest.raises(PcapngError):
        pcapng.with_comments(broken, ["x"])
