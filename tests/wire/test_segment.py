"""IPv4 and TCP headers: fixed bytes, inverse functions, a second opinion, and nonsense."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulator.wire.segment import (
    ACK,
    FIN,
    PSH,
    RST,
    SYN,
    Endpoint,
    Segment,
    SegmentError,
    checksum,
    parse_headers,
    reset_for,
)
from emulator.wire.seqnum import SeqNum
from tests.support.segments import endpoints, examples, mutated, segments

# A client's SYN, options as Linux sends them: MSS, SACK, timestamps, window scale.
SYN_BYTES = bytes.fromhex(
    "4500003c1c4640003d06bb2dc633640acb00710a"  # IPv4: TTL 61, checksum bb2d
    "9c400016fffffff000000000a002faf073e50000"  # TCP: 40000 > 22, checksum 73e5
    "020405b40402080a0012d6870000000001030307"
)
SYN_SEGMENT = Segment(
    source=Endpoint.of("198.51.100.10:40000"),
    destination=Endpoint.of("203.0.113.10:22"),
    seq=SeqNum(0xFFFFFFF0),
    ack=SeqNum(0),
    flags=SYN,
    window=64240,
    options=SYN_BYTES[40:],
    ttl=61,
    identification=0x1C46,
)

# A server's first line: PSH and ACK, eleven bytes (an odd number: the checksum pads).
DATA_BYTES = bytes.fromhex(
    "45000033beef4000400647b60a0014150a000c0b"
    "00169c4001020304fffffff1501801f559750000"
    "5353482d322e302d780d0a"
)
DATA_SEGMENT = Segment(
    source=Endpoint.of("10.0.20.21:22"),
    destination=Endpoint.of("10.0.12.11:40000"),
    seq=SeqNum(0x01020304),
    ack=SeqNum(0xFFFFFFF1),
    flags=PSH | ACK,
    window=501,
    payload=b"SSH-2.0-x\r\n",
    identification=0xBEEF,
)

FIXED = pytest.mark.parametrize(
    ("packet", "segment"),
    [(SYN_BYTES, SYN_SEGMENT), (DATA_BYTES, DATA_SEGMENT)],
    ids=["syn", "data"],
)


@FIXED
def test_parse_fixed_bytes(packet, segment):
    assert Segment.parse(packet) == segment


@FIXED
def test_emit_fixed_bytes(packet, segment):
    assert segment.emit() == packet


@given(segments)
@examples(200)
def test_parse_is_the_inverse_of_emit(segment):
    assert Segment.parse(segment.emit()) == segment


@given(segments, st.binary(min_size=1, max_size=26))
@examples(50)
def test_bytes_after_the_packet_are_ethernet_padding(segment, padding):
    assert Segment.parse(segment.emit() + padding) == segment


@given(segments)
@examples(100)
def test_both_checksums_verify(segment):
    """RFC 1071: a sum over data that holds its own checksum is zero."""
    packet = segment.emit()
    pseudo = packet[12:20] + b"\0\x06" + (len(packet) - 20).to_bytes(2, "big")
    assert checksum(packet[:20]) == 0
    assert checksum(pseudo + packet[20:]) == 0


@given(segments)
@examples(60)
def test_scapy_reads_what_emit_wrote(segment):
    """An independent parser sees the same fields and computes the same checksums."""
    from scapy.layers.inet import IP, TCP, in4_chksum

    packet = segment.emit()
    seen = IP(packet)
    tcp = seen[TCP]
    assert (seen.src, tcp.sport) == (str(segment.source.address), segment.source.port)
    assert (seen.dst, tcp.dport) == (str(segment.destination.address), segment.destination.port)
    assert (tcp.seq, tcp.ack) == (segment.seq.value, segment.ack.value)
    assert (int(tcp.flags), tcp.window) == (segment.flags, segment.window)
    assert (seen.ttl, seen.id, seen.len) == (segment.ttl, segment.identification, len(packet))
    assert packet[20 + tcp.dataofs * 4 :] == segment.payload
    unsummed = packet[20:36] + b"\0\0" + packet[38:]
    assert tcp.chksum == in4_chksum(6, seen, unsummed)
    del seen.chksum
    assert bytes(seen)[:20] == packet[:20]


@given(endpoints, endpoints, st.integers(0, 0xFFFFFFFF), st.binary(max_size=40), st.integers(0, 3))
@examples(60)
def test_parse_reads_what_scapy_wrote(source, destination, seq, payload, ip_options):
    """IP options, which this package never emits, included."""
    from scapy.layers.inet import IP, TCP, IPOption_NOP

    ip = IP(
        src=str(source.address), dst=str(destination.address), options=[IPOption_NOP()] * ip_options
    )
    tcp = TCP(sport=source.port, dport=destination.port, seq=seq, flags="PA", options=[("MSS", 9)])
    segment = Segment.parse(bytes(ip / tcp / payload))
    assert (segment.source, segment.destination) == (source, destination)
    assert (segment.seq.value, segment.flags) == (seq, PSH | ACK)
    assert segment.options == b"\x02\x04\0\x09"
    assert segment.payload == payload


@given(st.one_of(st.binary(max_size=120), mutated(segments.map(Segment.emit))))
@examples(400)
def test_nonsense_is_a_segment_error_or_a_segment(data):
    for parse in (Segment.parse, parse_headers):
        try:
            segment = parse(data)
        except SegmentError:
            continue
        assert Segment.parse(segment.emit()) == segment


@given(segments, st.data())
@examples(60)
def test_a_cut_packet_is_never_half_a_segment(segment, draw):
    packet = segment.emit()
    cut = draw.draw(st.integers(0, len(packet) - 1))
    with pytest.raises(SegmentError):
        Segment.parse(packet[:cut])


@pytest.mark.parametrize(
    ("at", "value", "why"),
    [
        (0, b"\x65", "not an IPv4 packet"),
        (0, b"\x44", "IP header length 16"),
        (0, b"\x4f", "IP header length 60"),
        (2, b"\0\x13", "total length 19"),
        (2, b"\0\x27", "cut"),
        (6, b"\x20\0", "fragment"),
        (6, b"\0\x01", "fragment"),
        (9, b"\x11", "protocol 17"),
        (32, b"\x40", "TCP header length 16"),
        (32, b"\xf0", "TCP header length 60"),
    ],
)
def test_what_is_wrong_is_said(at, value, why):
    packet = bytearray(DATA_BYTES)
    packet[at : at + len(value)] = value
    with pytest.raises(SegmentError, match=why):
        Segment.parse(bytes(packet))


@given(segments)
@examples(60)
def test_a_header_only_copy_keeps_every_length(segment):
    """NFQUEUE hands over the headers: payload becomes zeros, sequence space stays right."""
    headers = segment.emit()[: 40 + len(segment.options)]
    assert parse_headers(headers) == replace(segment, payload=bytes(len(segment.payload)))


def test_a_super_packet_of_64_kib_has_its_length():
    """GSO packets reach the queue whole, their headers only."""
    segment = replace(DATA_SEGMENT, payload=bytes(0xFFFF - 40))
    assert parse_headers(segment.emit()[:128]).end == segment.seq + (0xFFFF - 40)


@pytest.mark.parametrize("payload_bytes", [0xFFFF - 39, 0xFFFF - 19, 0xFFFF, 1 << 17])
def test_emit_refuses_what_no_ip_packet_can_hold(payload_bytes):
    """The length in the pseudo-header overflows at a different size than the IP length."""
    with pytest.raises(SegmentError, match="longer than an IP packet"):
        replace(DATA_SEGMENT, payload=bytes(payload_bytes)).emit()


@pytest.mark.parametrize("options", [b"\x01", bytes(44)], ids=["odd", "too many"])
def test_emit_refuses_options_that_do_not_fit(options):
    with pytest.raises(SegmentError, match="bytes of options"):
        replace(DATA_SEGMENT, options=options).emit()


@pytest.mark.parametrize(
    ("flags", "payload", "octets"),
    [(ACK, b"", 0), (SYN, b"", 1), (FIN | ACK, b"abc", 4), (SYN | FIN, b"", 2), (RST, b"", 0)],
)
def test_syn_and_fin_take_a_place_in_sequence_space(flags, payload, octets):
    segment = replace(DATA_SEGMENT, flags=flags, payload=payload, seq=SeqNum(0xFFFFFFFF))
    assert segment.octets == octets
    assert segment.end == SeqNum((0xFFFFFFFF + octets) % (1 << 32))


def test_flags_have_the_rfcs_names():
    assert replace(DATA_SEGMENT, flags=SYN | ACK).flag_names == "SYN,ACK"
    assert replace(DATA_SEGMENT, flags=PSH).flag_names == "none"


def test_the_reset_for_an_ack_takes_its_sequence_number():
    """RFC 9293, 3.10.7.1: <SEQ=SEG.ACK><CTL=RST>."""
    reset = reset_for(DATA_SEGMENT)
    assert (reset.source, reset.destination) == (DATA_SEGMENT.destination, DATA_SEGMENT.source)
    assert (reset.seq, reset.flags, reset.payload) == (DATA_SEGMENT.ack, RST, b"")


def test_the_reset_for_a_syn_acknowledges_it():
    """RFC 9293, 3.10.7.1: <SEQ=0><ACK=SEG.SEQ+SEG.LEN><CTL=RST,ACK>, here across the wrap."""
    reset = reset_for(replace(SYN_SEGMENT, seq=SeqNum(0xFFFFFFFF), payload=b"abc"))
    assert (reset.seq, reset.ack, reset.flags) == (SeqNum(0), SeqNum(3), RST | ACK)


@given(endpoints)
@examples(50)
def test_an_endpoint_survives_bytes_and_text(endpoint):
    assert Endpoint.unpack(endpoint.pack()) == endpoint
    assert Endpoint.of(str(endpoint)) == endpoint


@pytest.mark.parametrize(
    "text", ["", "10.0.0.1", "10.0.0.1:", "10.0.0.1:65536", "10.0.0.1:-1", "10.0.0.256:1", ":22"]
)
def test_text_that_is_no_endpoint(text):
    with pytest.raises(SegmentError, match="not ADDRESS:PORT"):
        Endpoint.of(text)


@given(st.binary(max_size=9).filter(lambda data: len(data) != 6))
@examples(20)
def test_an_endpoint_is_six_bytes(data):
    with pytest.raises(SegmentError):
        Endpoint.unpack(data)


def test_an_endpoint_prints_as_it_is_written():
    assert str(Endpoint(IPv4Address("10.0.1.10"), 22)) == "10.0.1.10:22"


def test_checksum_of_the_rfcs_own_example():
    """RFC 1071, section 3: 0001 f203 f4f5 f6f7 sum to ddf2."""
    assert checksum(bytes.fromhex("0001f203f4f5f6f7")) == 0xFFFF - 0xDDF2
