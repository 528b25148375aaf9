"""What became of single packets: from the captures, packet by packet. Pure.

The packets are known by their IP identification, which neither forwarding nor address
translation changes. A reset belongs to the packet sent last before it, and to the node that
sent it first.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address

from emulator.lab.judge.tracing import Sighting, Trace, is_device, is_end
from emulator.wire import pcapng
from emulator.wire.segment import PROTO_TCP, RST

Record = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Sent:
    """A packet that was sent: what it is, when, and by which identification it is known."""

    number: int  # of its frame in the recording
    after_failover: bool
    time_s: float
    ident: int
    seq: int  # -1: a later fragment, which has none
    text: str


@dataclass(frozen=True, slots=True)
class _Sighting:
    frame: int
    time_s: float
    node: str
    outgoing: bool
    packet: bytes


@dataclass(frozen=True, slots=True)
class Fate:
    """`what`: passed, reset, dropped (and by whom), or not seen."""

    sent: Sent
    what: str
    text: str
    frames: tuple[int, ...]


def fates(
    sent: Sequence[Sent],
    frames: Iterable[pcapng.Frame],
    traced: Trace,
    client: tuple[IPv4Address, int],
    records: Sequence[Record] = (),
) -> list[Fate]:
    """What became of each, in the order they were sent. `client`: where they came from."""
    wanted = {s.ident for s in sent}
    seen: dict[int, list[_Sighting]] = {}
    for number, frame in enumerate(frames, 1):
        packet = frame.data[14:]
        if frame.data[12:14] != b"\x08\x00" or len(packet) < 20 or packet[9] != PROTO_TCP:
            continue
        point = traced.points[frame.interface.name]
        node = point.name.partition(":")[0]
        outgoing = point.outgoing(frame.data)
        sighting = _Sighting(number, frame.time_ns / 1e9, node, outgoing, packet)
        if (ident := int.from_bytes(packet[4:6], "big")) in wanted and not _is_to(packet, client):
            seen.setdefault(ident, []).append(sighting)
    resets = [
        t.origin
        for t in traced.transmissions
        if t.segment.flags & RST and t.last.segment.destination == client
    ]
    ends = [*(s.time_s for s in sent[1:]), float("inf")]
    return [
        _fate(s, seen.get(s.ident, []), _between(resets, s.time_s, end), records)
        for s, end in zip(sent, ends, strict=True)
    ]


def _between(resets: Iterable[Sighting], start_s: float, end_s: float) -> list[Sighting]:
    return [r for r in resets if start_s <= r.time_s < end_s]


def _fate(
    sent: Sent, way: list[_Sighting], resets: list[Sighting], records: Sequence[Record]
) -> Fate:
    frames = tuple(s.frame for s in way)
    if not way:
        return Fate(sent, "not seen", "it never left the client", ())
    last, device = way[-1], next((s.node for s in way if is_device(s.node)), "")
    by = f" by {device}" if device else ""
    text = f"passed{by} to {last.node}{_translated(way)}"
    arrived = not last.outgoing and is_end(last.node)
    if resets:
        origin = resets[0].node
        said = _said(origin, sent, records)
        before = f"{text}; " if arrived else ""
        return Fate(sent, "reset", f"{before}answered by a reset from {origin}{said}", frames)
    if arrived:
        return Fate(sent, "passed", text, frames)
    if last.outgoing:
        return Fate(sent, "dropped", f"left {last.node} and did not arrive", frames)
    return Fate(sent, "dropped", f"dropped in {last.node}{_said(last.node, sent, records)}", frames)


def _said(node: str, sent: Sent, records: Sequence[Record]) -> str:
    """The device's own word on it, by its sequence number, within a second after it was sent."""
    for record in records:
        time_s = float(str(record.get("time", 0)))
        its = record.get("node") == node and record.get("seq") == sent.seq
        if its and 0 <= time_s - sent.time_s < 1 and "cause" in record:
            return f' ("{record["cause"]}")'
    return ""


def _translated(way: Sequence[_Sighting]) -> str:
    first, last = _ends(way[0].packet), _ends(way[-1].packet)
    return "" if first == last else f" as {last}"


def _ends(packet: bytes) -> str:
    at = _tcp(packet)
    hosts = [str(IPv4Address(packet[i : i + 4])) for i in (12, 16)]
    if int.from_bytes(packet[6:8], "big") & 0x1FFF or len(packet) < at + 4:
        return " -> ".join(hosts)  # a later fragment has no ports
    ports = (int.from_bytes(packet[i : i + 2], "big") for i in (at, at + 2))
    return " -> ".join(f"{host}:{port}" for host, port in zip(hosts, ports, strict=True))


def _is_to(packet: bytes, client: tuple[IPv4Address, int]) -> bool:
    at = _tcp(packet)
    port = int.from_bytes(packet[at + 2 : at + 4], "big")
    return packet[16:20] == client[0].packed and port == client[1] and len(packet) >= at + 20


def _tcp(packet: bytes) -> int:
    return (packet[0] & 15) * 4
