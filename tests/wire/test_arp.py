"""ARP frames: what is written is what another program reads, and back."""

from __future__ import annotations

from ipaddress import IPv4Address

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.l2 import ARP, Ether

from emulator.wire.arp import (
    BROADCAST,
    NOBODY,
    REPLY,
    REQUEST,
    Arp,
    ArpError,
    announcement,
    answer,
)

VIP, ROUTER = IPv4Address("10.99.0.10"), IPv4Address("10.99.0.1")
OURS, THEIRS = "02:00:00:00:00:0a", "02:00:00:00:00:01"
macs = st.binary(min_size=6, max_size=6).map(lambda raw: raw.hex(":"))
packets = st.builds(
    Arp, st.integers(0, 65535), macs, st.ip_addresses(v=4), macs, st.ip_addresses(v=4), macs
)


@given(packets)
def test_parse_is_the_inverse_of_emit(packet: Arp) -> None:
    assert Arp.parse(packet.emit()) == packet
    assert Arp.parse(packet.emit() + bytes(18)) == packet  # padded to 60 bytes on a wire


def test_scapy_reads_an_announcement_as_one() -> None:
    frame = Ether(announcement(OURS, VIP).emit())
    assert (frame.dst, frame.src) == (BROADCAST, OURS)
    assert (frame[ARP].op, frame[ARP].psrc, frame[ARP].pdst) == (REQUEST, str(VIP), str(VIP))
    assert (frame[ARP].hwsrc, frame[ARP].hwdst) == (OURS, NOBODY)


def test_an_answer_goes_to_the_one_who_asked() -> None:
    request = Arp(REQUEST, THEIRS, ROUTER, NOBODY, VIP)
    reply = answer(request, OURS)
    assert reply == Arp(REPLY, OURS, VIP, THEIRS, ROUTER, THEIRS)
    assert not reply.gratuitous
    assert announcement(OURS, VIP).gratuitous


def test_a_probe_announces_nothing() -> None:
    """RFC 5227: a probe's sender is 0.0.0.0."""
    nobody = IPv4Address("0.0.0.0")
    assert not Arp(REQUEST, OURS, nobody, NOBODY, VIP).gratuitous
    assert not Arp(REQUEST, OURS, nobody, NOBODY, nobody).gratuitous


@given(st.binary(max_size=80))
def test_what_is_no_arp_is_refused(data: bytes) -> None:
    with pytest.raises(ArpError):
        Arp.parse(data[:12] + b"\x08\x00" + data[14:])
