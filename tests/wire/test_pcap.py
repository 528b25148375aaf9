"""Classic pcap files, and the segments in frames of any link type."""

from __future__ import annotations

import contextlib
import io
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulator.wire import pcap, pcapng
from emulator.wire.linklayer import NoSegment, Seen, segment_in
from emulator.wire.segment import ACK, Endpoint, Segment
from emulator.wire.seqnum import SeqNum

CLIENT, SERVER = Endpoint.of("192.0.2.1:50000"), Endpoint.of("198.51.100.2:22")
IP = Segment(CLIENT, SERVER, SeqNum(7), SeqNum(9), ACK, payload=b"hello").emit()
IPV6 = (
    struct.pack("!IHBB", 6 << 28, 25, 6, 64) + bytes(15) + b"\1" + bytes(15) + b"\2" + IP[20:]
)  # fmt: skip


def file(order: str, magic: int, *frames: tuple[int, int, bytes], linktype: int = 1) -> bytes:
    head = struct.pack(order + "IHHiIII", magic, 2, 4, 0, 0, 262144, linktype)
    return head + b"".join(
        struct.pack(order + "IIII", s, part, len(data), len(data)) + data
        for s, part, data in frames
    )


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(("magic", "scale"), [(0xA1B2C3D4, 1000), (0xA1B23C4D, 1)])
def test_both_byte_orders_and_both_resolutions(order: str, magic: int, scale: int) -> None:
    (frame,) = pcap.read(io.BytesIO(file(order, magic, (3, 5, b"abc"), linktype=113)))
    assert (frame.time_ns, frame.data) == (3_000_000_000 + 5 * scale, b"abc")
    assert frame.interface.linktype == 113


def test_a_cut_file_gives_its_whole_frames_first() -> None:
    whole = file("<", 0xA1B2C3D4, (1, 0, b"abc"), (2, 0, b"defg"))
    for missing in (1, 4, 15, 19):
        frames = pcap.read(io.BytesIO(whole[:-missing]))
        assert next(frames).data == b"abc"
        with pytest.raises(pcap.PcapCut):
            next(frames)


def test_a_length_nobody_captures_is_corrupt() -> None:
    bad = file("<", 0xA1B2C3D4) + struct.pack("<IIII", 0, 0, 1 << 30, 1 << 30)
    with pytest.raises(pcap.PcapError, match="offset 24: a frame of 1073741824 bytes") as raised:
        list(pcap.read(io.BytesIO(bad)))
    assert not isinstance(raised.value, pcap.PcapCut)


@given(st.binary(max_size=300))
def test_whatever_follows_the_magic_only_its_own_error_is_raised(rest: bytes) -> None:
    for magic in (b"\xd4\xc3\xb2\xa1", b"\xa1\xb2\x3c\x4d", b"\x34\xcd\xb2\xa1"):
        with contextlib.suppress(pcap.PcapError):
            list(pcap.read(io.BytesIO(magic + rest)))


def test_pcapng_blocks_of_other_programs() -> None:
    """A simple packet block, and the obsolete one."""
    head = pcapng.section("x") + pcapng.interface("eth0")
    simple = struct.pack("<III", 3, 20, 3) + b"abc\0" + struct.pack("<I", 20)
    body = struct.pack("<HHIIII", 0, 0, 0, 5, 4, 4) + b"defg"
    old = struct.pack("<II", 2, 12 + len(body)) + body + struct.pack("<I", 12 + len(body))
    frames = list(pcapng.read(io.BytesIO(head + simple + old)))
    assert [(f.data, f.time_ns) for f in frames] == [(b"abc", 0), (b"defg", 5)]


ETHER = bytes(12)
LINKS = {
    "ethernet": (1, ETHER + b"\x08\x00"),
    "vlan": (1, ETHER + b"\x81\x00\x00\x07\x08\x00"),
    "two vlans": (1, ETHER + b"\x88\xa8\x00\x07\x81\x00\x00\x08\x08\x00"),
    "mpls": (1, ETHER + b"\x88\x47\x00\x01\x00\x40\x00\x01\x01\x40"),
    "pppoe": (1, ETHER + b"\x88\x64\x11\x00\x00\x01\x00\x40\x00\x21"),
    "cooked": (113, bytes(14) + b"\x08\x00"),
    "cooked 2": (276, b"\x08\x00" + bytes(18)),
    "raw": (101, b""),
    "null": (0, b"\x02\x00\x00\x00"),
    "loop": (108, b"\x00\x00\x00\x02"),
    "ppp": (9, b"\xff\x03\x00\x21"),
}


@pytest.mark.parametrize(("linktype", "head"), LINKS.values(), ids=LINKS)
def test_every_link_type_leads_to_the_segment(linktype: int, head: bytes) -> None:
    data = head + IP
    seen = segment_in(linktype, data, len(data))
    assert seen == Seen(CLIENT.pack(), SERVER.pack(), 7, 9, ACK, b"hello", 5)


def test_ipv6_and_what_was_cut_off() -> None:
    seen = segment_in(101, IPV6, len(IPV6))
    assert isinstance(seen, Seen)
    assert (len(seen.source), seen.payload) == (18, b"hello")
    cut = segment_in(101, IP[:-3], len(IP))
    assert isinstance(cut, Seen)
    assert (cut.payload, cut.octets) == (b"he", 5)


def test_what_is_no_segment_is_told_apart() -> None:
    udp, fragment = bytearray(IP), bytearray(IP)
    udp[9], fragment[7] = 17, 9
    assert segment_in(101, bytes(udp), len(udp)) is NoSegment.NOT_TCP
    assert segment_in(101, bytes(fragment), len(fragment)) is NoSegment.FRAGMENT
    assert segment_in(101, IP[:30], len(IP)) is NoSegment.CUT
    assert segment_in(1, ETHER + b"\x08\x06" + bytes(28), 42) is NoSegment.NOT_IP
    assert segment_in(147, IP, len(IP)) is NoSegment.NOT_IP


@given(st.sampled_from([0, 1, 9, 101, 108, 113, 276]), st.binary(max_size=120))
def test_no_frame_is_too_strange(linktype: int, data: bytes) -> None:
    for frame in (data, IP[: len(data)] + data, ETHER + b"\x08\x00" + data, IPV6[:40] + data):
        found = segment_in(linktype, frame, len(frame))
        assert isinstance(found, Seen | NoSegment)
