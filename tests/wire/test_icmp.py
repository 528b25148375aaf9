"""The ICMP message by which a sender is told to try again now."""

from __future__ import annotations

from emulator.wire.icmp import host_unreachable
from emulator.wire.segment import ACK, Endpoint, Segment, checksum
from emulator.wire.seqnum import SeqNum

QUOTED = Segment(
    Endpoint.of("10.0.1.10:40000"), Endpoint.of("10.99.0.10:22"), SeqNum(0x01020304), SeqNum(9), ACK
)


def test_fixed_bytes() -> None:
    packet = host_unreachable(QUOTED)
    assert packet[:10] == bytes.fromhex("45000038 00000000 4001")
    assert packet[12:20] == bytes.fromhex("0a63000a 0a00010a")  # from where the segment was to go
    assert packet[20:22] == bytes.fromhex("0301")
    assert packet[28:] == QUOTED.emit()[:28]
    assert packet[48:] == bytes.fromhex("9c40 0016 01020304")  # ports, sequence number


def test_both_checksums_are_right() -> None:
    packet = host_unreachable(QUOTED)
    assert checksum(packet[:20]) == 0
    assert checksum(packet[20:]) == 0
