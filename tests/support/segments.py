"""Packets as a script names them, and hypothesis strategies for the values on the wire.

The one connection most tests talk about::

    CLIENT 198.51.100.10:40000 -> VIRTUAL 10.99.0.10:22      client-side flow
           SNAT_A 10.0.2.11:40000 -> MEMBER 10.0.30.21:22    server-side flow, on bigip-a
"""

from __future__ import annotations

from ipaddress import IPv4Address

from hypothesis import settings
from hypothesis import strategies as st

from emulator.core.events import PacketQueued
from emulator.wire.mirror import FlowRecord, SnatKind
from emulator.wire.mirrorparts import PersistRecord
from emulator.wire.segment import ACK, FIN, PROTO_TCP, PROTO_UDP, PSH, RST, SYN, Endpoint, Segment
from emulator.wire.seqnum import SeqNum

CLIENT = Endpoint.of("198.51.100.10:40000")
VIRTUAL = Endpoint.of("10.99.0.10:22")
MEMBER = Endpoint.of("10.0.30.21:22")
SNAT_A = Endpoint.of("10.0.2.11:40000")
SNAT_B = Endpoint.of("10.0.12.12:40000")


def record(
    client: Endpoint = CLIENT,
    snat: Endpoint = SNAT_A,
    *,
    member: Endpoint = MEMBER,
    virtual: Endpoint = VIRTUAL,
    kind: SnatKind = SnatKind.AUTOMAP,
    server: str = "vs_ssh",
) -> FlowRecord:
    """The flow of the drawing above, or one near it."""
    return FlowRecord(server, client, virtual, snat, member, kind, 300)


def segment(
    flags: int,
    source: Endpoint = CLIENT,
    destination: Endpoint = VIRTUAL,
    *,
    seq: int = 0,
    ack: int = 0,
    payload: bytes = b"",
) -> Segment:
    return Segment(source, destination, SeqNum(seq), SeqNum(ack), flags, 64240, payload)


def syn(source: Endpoint = CLIENT, destination: Endpoint = VIRTUAL, *, seq: int = 1000) -> Segment:
    return segment(SYN, source, destination, seq=seq)


def data(
    source: Endpoint = CLIENT,
    destination: Endpoint = VIRTUAL,
    *,
    seq: int = 1001,
    ack: int = 5001,
    payload: bytes = b"x",
) -> Segment:
    return segment(PSH | ACK, source, destination, seq=seq, ack=ack, payload=payload)


def fin(
    source: Endpoint = CLIENT, destination: Endpoint = VIRTUAL, *, seq: int = 1001, ack: int = 5001
) -> Segment:
    return segment(FIN | ACK, source, destination, seq=seq, ack=ack)


def rst(source: Endpoint = CLIENT, destination: Endpoint = VIRTUAL, *, seq: int = 1001) -> Segment:
    return segment(RST, source, destination, seq=seq)


def queued(packet_id: int, what: Segment, interface: str = "ext") -> PacketQueued:
    """The kernel asks for a verdict on `what`."""
    return PacketQueued(packet_id, interface, what)


def examples(count: int) -> settings:
    """As many examples on every run, the same ones: a test fails for a change, not for luck."""
    return settings(max_examples=count, deadline=None, derandomize=True, database=None)


addresses = st.integers(0, 0xFFFFFFFF).map(IPv4Address)
ports = st.integers(0, 0xFFFF)
endpoints = st.builds(Endpoint, addresses, ports)
seqnums = st.integers(0, 0xFFFFFFFF).map(SeqNum)
names = st.text(max_size=40)

segments = st.builds(
    Segment,
    source=endpoints,
    destination=endpoints,
    seq=seqnums,
    ack=seqnums,
    flags=st.integers(0, 0xFF),
    window=st.integers(0, 0xFFFF),
    payload=st.binary(max_size=80),
    options=st.integers(0, 10).flatmap(lambda n: st.binary(min_size=4 * n, max_size=4 * n)),
    ttl=st.integers(0, 255),
    identification=st.integers(0, 0xFFFF),
)

records = st.builds(
    FlowRecord,
    virtual_server=names,
    client=endpoints,
    virtual=endpoints,
    snat=endpoints,
    member=endpoints,
    snat_kind=st.sampled_from(SnatKind),
    idle_timeout_s=st.integers(0, 0xFFFFFFFF),
    protocol=st.sampled_from((PROTO_TCP, PROTO_UDP)),
)
persist_records = st.builds(
    PersistRecord, names, st.ip_addresses(v=4), endpoints, st.integers(0, 0xFFFFFFFF)
)


@st.composite
def mutated(draw: st.DrawFn, valid: st.SearchStrategy[bytes]) -> bytes:
    """Valid bytes, then some of them changed, and the whole perhaps cut or grown."""
    raw = bytearray(draw(valid))
    for _ in range(draw(st.integers(1, 4))):
        if raw:
            raw[draw(st.integers(0, len(raw) - 1))] = draw(st.integers(0, 255))
    cut = draw(st.one_of(st.none(), st.integers(0, len(raw))))
    return bytes(raw[:cut]) + draw(st.sampled_from((b"", b"\0", b"\xff" * 7)))
