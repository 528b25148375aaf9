"""What became of single packets, from captures alone."""

from __future__ import annotations

from ipaddress import IPv4Address

import pytest
from scapy.layers.inet import IP, TCP

from emulator.lab.judge.tracing import trace
from emulator.lab.replay.fates import Fate, Sent, fates
from emulator.lab.replay.packets import describe, rewrite
from emulator.wire import pcapng

CLIENT = (IPv4Address("10.0.1.10"), 40001)
MACS = {
    name: bytes([2, n, 0, 0, 0, 0]) for n, name in enumerate(("client", "bigip-a", "backend-1"))
}
SENT = Sent(7, False, 1.0, 0x4000, 100, "A")


def frame(node: str, sender: str, packet: bytes, time_s: float) -> pcapng.Frame:
    point = pcapng.Interface(f"{node}:eth0", f"mac={MACS[node].hex(':')}", 1, 1)
    data = bytes(6) + MACS[sender] + b"\x08\x00" + packet
    return pcapng.Frame(point, int(time_s * 1e9), data, len(data))


def packet(source: str = "10.0.1.10") -> bytes:
    made = IP(src=source, dst="10.99.0.10", id=0x4000) / TCP(sport=40001, dport=23, seq=100)
    return bytes(made)


def reset() -> bytes:
    return bytes(IP(src="10.99.0.10", dst="10.0.1.10") / TCP(sport=23, dport=40001, flags="R"))


OUT = frame("client", "client", packet(), 1.0)
IN_A = frame("bigip-a", "client", packet(), 1.001)
OUT_A = frame("bigip-a", "bigip-a", packet("10.88.0.10"), 1.002)
ARRIVED = frame("backend-1", "bigip-a", packet("10.88.0.10"), 1.003)
RESET_A = frame("bigip-a", "bigip-a", reset(), 1.004)
RESET_IN = frame("client", "bigip-a", reset(), 1.005)
FEW = (OUT, IN_A, RESET_A)
SAID = {"node": "bigip-a", "seq": 100, "time": 1.002, "cause": "No flow found for ACK"}


def fate(*frames: pcapng.Frame) -> Fate:
    (found,) = fates([SENT], frames, trace(frames), CLIENT, [SAID])
    return found


def test_passed_and_translated() -> None:
    found = fate(OUT, IN_A, OUT_A, ARRIVED)
    assert (found.what, found.frames) == ("passed", (1, 2, 3, 4))
    assert found.text == "passed by bigip-a to backend-1 as 10.88.0.10:40001 -> 10.99.0.10:23"


def test_reset_dropped_and_lost_on_the_way() -> None:
    found = fate(OUT, IN_A, RESET_A, RESET_IN)
    assert (found.what, found.text) == (
        "reset", 'answered by a reset from bigip-a ("No flow found for ACK")',
    )  # fmt: skip
    assert fate(OUT, IN_A).text == 'dropped in bigip-a ("No flow found for ACK")'
    assert fate(OUT, IN_A, OUT_A).text == "left bigip-a and did not arrive"
    assert fate().what == "not seen"


def test_a_reset_is_that_of_the_end_that_sent_it_first() -> None:
    """The server's, which the device passed on with the addresses of the other side."""
    inner = bytes(IP(src="10.0.31.100", dst="10.88.0.10") / TCP(sport=23, dport=40001, flags="R"))
    back = (
        frame("backend-1", "backend-1", inner, 1.0035),
        frame("bigip-a", "backend-1", inner, 1.0037),
    )
    found = fate(OUT, IN_A, OUT_A, ARRIVED, *back, RESET_A, RESET_IN)
    assert found.text.endswith("; answered by a reset from backend-1")


def test_only_the_packet_sent_last_is_answered() -> None:
    later = Sent(8, False, 1.0045, 0x4001, 101, "A")
    first, second = fates([SENT, later], FEW, trace(FEW), CLIENT)
    assert (first.what, second.what) == ("reset", "not seen")


@pytest.mark.parametrize("flags", ["S", "A", "RA", "FPU", ""])
def test_rewritten_packets_keep_what_is_odd_about_them(flags: str) -> None:
    odd = IP(src="192.0.2.1", dst="192.0.2.2", ttl=9, options=b"\x94\x04\0\0") / TCP(
        sport=1, dport=2, seq=5, ack=6, flags=flags, urgptr=3, window=0, options=[("MSS", 7)]
    )
    made = IP(rewrite(bytes(odd / b"data"), IPv4Address("10.99.0.10"), CLIENT[0], 23, 77))
    assert (made.src, made.dst, made.id, made.ttl) == ("10.0.1.10", "10.99.0.10", 77, 9)
    kept = (made[TCP].seq, made[TCP].urgptr, made[TCP].window, made[TCP].options)
    assert kept == (5, 3, 0, [("MSS", 7)])
    again = IP(bytes(made))
    sums = (again.chksum, again[TCP].chksum)
    del again.chksum, again[TCP].chksum
    again = IP(bytes(again))
    assert (again.chksum, again[TCP].chksum) == sums
    assert "seq 5 ack 6 window 0, 4 bytes" in describe(bytes(made))
