"""Mirror messages: fixed bytes, inverse functions, a stream cut anywhere, nonsense."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulator.wire.mirror import (
    MAX_BODY,
    Ack,
    Decoder,
    FlowAcks,
    FlowDown,
    FlowRecord,
    FlowUp,
    Hello,
    LegBytes,
    LegState,
    Message,
    MirrorError,
    ResyncEnd,
    ResyncStart,
    SnatKind,
)
from emulator.wire.mirrorparts import PersistDown, PersistRecord, PersistUp
from emulator.wire.segment import PROTO_TCP, PROTO_UDP, Endpoint
from emulator.wire.seqnum import SeqNum
from tests.support.segments import (
    CLIENT,
    MEMBER,
    VIRTUAL,
    endpoints,
    examples,
    mutated,
    names,
    persist_records,
    record,
    records,
)

FLOW_UP_BYTES = bytes.fromhex(
    "4d4c 01 04 0024 0000 00000007"  # "ML", version 1, FLOW-UP, 36 bytes, message 7
    "c633640a 9c40  0a63000a 0016"  # client and virtual server
    "0a00020b 9c40  0a001e15 0016"  # SNAT address and member
    "01 0000012c 06"  # automap, idle timeout 300 s, a name of 6 bytes
    "76735f737368"
)
ACK_BYTES = bytes.fromhex("4d4c 01 06 0000 0000 01020304")

FIXED = [
    (Message(7, FlowUp(record())), FLOW_UP_BYTES),
    (Message(0, Ack(0x01020304)), ACK_BYTES),
    (
        Message(1, Hello("bigip-a", "tg", True)),
        bytes.fromhex("4d4c 01 01 000c 0000 00000001 01 07 02") + b"bigip-atg",
    ),
    (Message(2, ResyncStart()), bytes.fromhex("4d4c 01 02 0000 0000 00000002")),
    (Message(3, ResyncEnd()), bytes.fromhex("4d4c 01 03 0000 0000 00000003")),
    (
        Message(9, FlowDown(CLIENT, VIRTUAL)),
        bytes.fromhex("4d4c 01 05 000c 0000 00000009 c633640a 9c40 0a63000a 0016"),
    ),
    (
        Message(12, FlowAcks(CLIENT, VIRTUAL, SeqNum(5), SeqNum(6))),
        bytes.fromhex(
            "4d4c 01 0a 0014 0000 0000000c c633640a 9c40 0a63000a 0016 00000005 00000006"
        ),
    ),
    (
        Message(13, FlowDown(CLIENT, VIRTUAL, PROTO_UDP)),
        bytes.fromhex("4d4c 01 05 000d 0000 0000000d c633640a 9c40 0a63000a 0016 11"),
    ),
    (
        Message(14, PersistUp(PersistRecord("vs", CLIENT.address, MEMBER, 180))),
        bytes.fromhex("4d4c 01 0b 0010 0000 0000000e c633640a 0a001e15 0016 000000b4 7673"),
    ),
    (
        Message(15, PersistDown("vs", CLIENT.address)),
        bytes.fromhex("4d4c 01 0c 0006 0000 0000000f c633640a 7673"),
    ),
    (
        Message(10, LegBytes(CLIENT, VIRTUAL, True, b"rest")),
        bytes.fromhex("4d4c 01 08 0011 0000 0000000a c633640a 9c40 0a63000a 0016 01") + b"rest",
    ),
    (
        Message(
            11,
            LegState(
                CLIENT,
                VIRTUAL,
                False,
                SeqNum(1),
                SeqNum(2),
                SeqNum(3),
                SeqNum(4),
                1460,
                7,
                None,
                True,
                0x05060708,
                False,
            ),
        ),
        bytes.fromhex(
            "4d4c 01 09 0025 0000 0000000b c633640a 9c40 0a63000a 0016"
            "0a 07 ff 05b4 00000001 00000002 00000003 00000004 05060708"
        ),
    ),
]

numbers = st.integers(0, 0xFFFFFFFF)
seqs = st.builds(SeqNum, numbers)
scales = st.none() | st.integers(0, 14)
bodies = st.one_of(
    st.builds(Hello, names, names, st.booleans()),
    st.just(ResyncStart()),
    st.just(ResyncEnd()),
    st.builds(FlowUp, records),
    st.builds(FlowDown, endpoints, endpoints, st.sampled_from((PROTO_TCP, PROTO_UDP))),
    st.builds(PersistUp, persist_records),
    st.builds(PersistDown, names, st.ip_addresses(v=4)),
    st.builds(FlowAcks, endpoints, endpoints, seqs, seqs),
    st.builds(LegBytes, endpoints, endpoints, st.booleans(), st.binary(max_size=2000)),
    st.builds(
        LegState,
        endpoints,
        endpoints,
        st.booleans(),
        seqs,
        seqs,
        seqs,
        seqs,
        st.integers(0, 65535),
        scales,
        scales,
        st.booleans(),
        st.none() | numbers,
        st.booleans(),
    ),
)
messages = st.one_of(
    st.builds(Message, numbers, bodies), st.builds(lambda n: Message(0, Ack(n)), numbers)
)


@pytest.mark.parametrize(("message", "data"), FIXED, ids=lambda v: type(v).__name__)
def test_fixed_bytes(message, data):
    """As they were before there was a check; such are in older captures."""
    emitted = message.emit()
    assert emitted[:6] + bytes(2) + emitted[8:] == data
    assert Decoder().feed(data) == Decoder().feed(emitted) == [message]


def test_the_check_is_the_end_of_a_crc_32():
    assert Message(7, FlowUp(record())).emit()[6:8].hex() == "9783"


@given(messages, st.data())
@examples(200)
def test_a_byte_altered_on_the_way_is_noticed(message, data):
    """Also where TCP's checksums were made right again: it must not reach an end."""
    sent = bytearray(message.emit())
    sent[data.draw(st.integers(8, len(sent) - 1))] ^= data.draw(st.integers(1, 255))
    with pytest.raises(MirrorError, match="check is wrong"):
        Decoder().feed(bytes(sent))


@given(records)
@examples(100)
def test_a_flow_record_survives(flow_record):
    assert FlowRecord.parse(flow_record.emit()) == flow_record


@given(st.lists(messages, max_size=6), st.data())
@examples(150)
def test_a_stream_cut_anywhere_gives_the_messages_sent(sent, data):
    """In order, none twice, and each as soon as its last byte is there."""
    stream = b"".join(message.emit() for message in sent)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    decoder, got, complete = Decoder(), [], 0
    ends = [len(b"".join(m.emit() for m in sent[: n + 1])) for n in range(len(sent))]
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        got += decoder.feed(stream[start:end])
        complete = sum(e <= end for e in ends)
        assert got == sent[:complete]
    assert got == sent


def test_one_byte_at_a_time():
    decoder = Decoder()
    pieces = [decoder.feed(FLOW_UP_BYTES[i : i + 1]) for i in range(len(FLOW_UP_BYTES))]
    assert pieces == [[]] * 47 + [[Message(7, FlowUp(record()))]]


@given(st.one_of(st.binary(max_size=80), mutated(st.lists(messages, max_size=3).map(
    lambda sent: b"".join(m.emit() for m in sent)))))  # fmt: skip
@examples(400)
def test_nonsense_is_a_mirror_error_or_messages(data):
    try:
        got = Decoder().feed(data)
    except MirrorError:
        return
    for message in got:
        assert Decoder().feed(message.emit()) == [message]


@given(st.one_of(st.binary(max_size=80), mutated(records.map(FlowRecord.emit))))
@examples(200)
def test_a_nonsense_record_is_a_mirror_error_or_a_record(data):
    try:
        flow_record = FlowRecord.parse(data)
    except MirrorError:
        return
    assert flow_record.emit() == data


@given(st.one_of(st.binary(max_size=80), mutated(persist_records.map(PersistRecord.emit))))
@examples(200)
def test_a_nonsense_persistence_record_is_a_mirror_error_or_a_record(data):
    try:
        found = PersistRecord.parse(data)
    except MirrorError:
        return
    assert found.emit() == data


@given(mutated(st.builds(PersistDown, names, st.ip_addresses(v=4)).map(
    lambda down: Message(1, down).emit())))  # fmt: skip
@examples(200)
def test_a_nonsense_end_of_persistence_is_a_mirror_error_or_messages(data):
    try:
        got = Decoder().feed(data)
    except MirrorError:
        return
    for message in got:
        assert Decoder().feed(message.emit()) == [message]


def test_a_long_body_is_refused_before_it_has_come():
    """A peer cannot make the receiver wait for, or keep, more than MAX_BODY."""
    header = bytes.fromhex("4d4c 01 04") + (MAX_BODY + 1).to_bytes(2, "big") + bytes(6)
    with pytest.raises(MirrorError, match="513 bytes"):
        Decoder().feed(header)


@pytest.mark.parametrize(
    "data",
    [
        b"LM" + ACK_BYTES[2:],
        ACK_BYTES[:2] + b"\x02" + ACK_BYTES[3:],
        ACK_BYTES[:3] + b"\x08" + ACK_BYTES[4:],
        ACK_BYTES[:3] + b"\0" + ACK_BYTES[4:],
        ACK_BYTES[:5] + b"\x01" + ACK_BYTES[6:] + b"x",
        bytes.fromhex("4d4c 01 05 000b 0000 00000009") + bytes(11),
        bytes.fromhex("4d4c 01 01 0004 0000 00000001 01 05 00 61"),
        bytes.fromhex("4d4c 01 01 0004 0000 00000001 02 01 00 61"),
        bytes.fromhex("4d4c 01 01 0004 0000 00000001 01 01 00 ff"),
        FLOW_UP_BYTES[:36] + b"\x03" + FLOW_UP_BYTES[37:],
        FLOW_UP_BYTES[:41] + b"\x05" + FLOW_UP_BYTES[42:],
        FLOW_UP_BYTES[:-1] + b"\xff",
        FLOW_UP_BYTES[:5] + b"\x25" + FLOW_UP_BYTES[6:] + b"\x06",
        bytes.fromhex("4d4c 01 0b 000d 0000 00000009") + bytes(13),
        bytes.fromhex("4d4c 01 0b 000f 0000 00000009") + bytes(14) + b"\xff",
        bytes.fromhex("4d4c 01 0c 0003 0000 00000009") + bytes(3),
        bytes.fromhex("4d4c 01 0c 0005 0000 00000009") + bytes(4) + b"\xff",
        bytes.fromhex("4d4c 01 0c 00cd 0000 00000009") + bytes(4) + b"v" * 201,
    ],
    ids=[
        "magic", "version", "type 8", "type 0", "an ack with a body", "short flow key",
        "hello does not add up", "hello role", "hello not UTF-8", "SNAT kind", "name length",
        "name not UTF-8", "TCP said in so many words", "short persistence record",
        "persistence record not UTF-8", "short persistence key", "persistence key not UTF-8",
        "persistence key's name too long",
    ],
)  # fmt: skip
def test_what_is_no_message(data):
    with pytest.raises(MirrorError):
        Decoder().feed(data)


def test_names_too_long_are_refused_on_the_way_out():
    with pytest.raises(MirrorError, match="at most 200"):
        replace(record(), virtual_server="ä" * 101).emit()


def test_the_longest_names_fit():
    hello = Message(1, Hello("d" * 200, "g" * 200, False))
    assert Decoder().feed(hello.emit()) == [hello]


def test_the_four_columns_are_kept_apart():
    """No two of the four ends, nor address and port, change places."""
    ends = [Endpoint.of(f"10.0.0.{i}:{i}") for i in range(1, 5)]
    client, virtual, snat, member = ends
    sent = FlowRecord("v", client, virtual, snat, member, SnatKind.POOL, 7)
    got = FlowRecord.parse(sent.emit())
    assert [got.client, got.virtual, got.snat, got.member] == ends
