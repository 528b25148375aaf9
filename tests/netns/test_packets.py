"""Headers as the fabric reads them, checked against another program's."""

from __future__ import annotations

from ipaddress import IPv4Address

import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP

from netns.cloud.packets import ACK, FIN, RST, SYN, parse, reset_for

ENDS = {"src": "10.0.1.10", "dst": "10.99.0.10"}


def test_tcp() -> None:
    packet = parse(bytes(IP(**ENDS) / TCP(sport=4, dport=5, flags="PA", seq=7, ack=9) / b"abc"))
    assert (packet.source, packet.destination) == (
        IPv4Address("10.0.1.10"), IPv4Address("10.99.0.10"),
    )  # fmt: skip
    assert (packet.source_port, packet.destination_port) == (4, 5)
    assert (packet.seq, packet.ack, packet.size) == (7, 9, 3)
    assert not packet.opens


def test_udp_and_icmp() -> None:
    udp = parse(bytes(IP(**ENDS) / UDP(sport=4, dport=5)))
    assert (udp.source_port, udp.destination_port, udp.opens) == (4, 5, True)
    ping = parse(bytes(IP(**ENDS) / ICMP(type=8, id=77)))
    assert ping.key[2] == ping.reverse_key[2] == 77
    assert parse(bytes(IP(**ENDS) / ICMP(type=3, code=1))).icmp_error


@pytest.mark.parametrize("data", [b"", b"\x60" + bytes(40), bytes(IP(**ENDS) / TCP())[:30]])
def test_what_is_cut_or_no_ipv4_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"header"):
        parse(data)


@pytest.mark.parametrize(
    ("flags", "payload", "expected"),
    [
        (ACK, b"abc", (9, 0, RST)),
        (SYN, b"", (0, 8, RST | ACK)),
        (FIN, b"ab", (0, 10, RST | ACK)),
    ],
)
def test_the_reset_the_sender_will_believe(
    flags: int, payload: bytes, expected: tuple[int, int, int]
) -> None:
    segment = bytes(IP(**ENDS) / TCP(sport=4, dport=5, flags=flags, seq=7, ack=9) / payload)
    reset = IP(reset_for(parse(segment)))
    assert (reset.src, reset.dst, reset[TCP].sport, reset[TCP].dport) == (
        "10.99.0.10", "10.0.1.10", 5, 4,
    )  # fmt: skip
    assert (reset[TCP].seq, reset[TCP].ack, int(reset[TCP].flags)) == expected
    given = reset[TCP].chksum
    del reset[TCP].chksum, reset.len
    assert IP(bytes(reset))[TCP].chksum == given
