"""Joining a proxy's two connections: by the journal, by the handshake, by sequence numbers."""

from __future__ import annotations

from dataclasses import replace

import pytest

from emulator.lab.judge.legs import Joiner, Record
from emulator.lab.judge.tracing import Sighting, Transmission
from emulator.wire.segment import ACK, RST, SYN, Endpoint, Segment
from emulator.wire.seqnum import SeqNum

CLIENT, OTHER = Endpoint.of("10.0.1.10:40000"), Endpoint.of("10.0.1.10:40001")
VIP = Endpoint.of("10.99.0.10:22")
SNAT, MEMBER = Endpoint.of("10.88.0.10:40000"), Endpoint.of("10.0.31.100:22")
T0 = 1_000_000_000


def sent(
    node: str, source: Endpoint, target: Endpoint, flags: int, *, seq: int = 1, ack: int = 0,
    at: float = 0.0, payload: bytes = b"",
) -> Transmission:  # fmt: skip
    """A segment that left `node`, seen there only."""
    segment = Segment(source, target, SeqNum(seq), SeqNum(ack), flags, 500, payload)
    return Transmission([Sighting(1, int((T0 + at) * 1e9), f"{node}:int", True, segment)])


def into(node: str, client: Endpoint = CLIENT, virtual: Endpoint = VIP) -> Transmission:
    """A client's SYN that went into a device and did not come out."""
    segment = Segment(client, virtual, SeqNum(1), SeqNum(0), SYN, 500)
    return Transmission(
        [
            Sighting(1, T0 * 10**9, "client:eth0", True, segment),
            Sighting(2, T0 * 10**9, f"{node}:ext", False, segment),
        ]
    )


def line(node: str = "bigip-a", client: Endpoint = CLIENT, at: float = 0.0) -> Record:
    return {
        "time": T0 + at, "node": node, "what": "flow-created", "client": str(client),
        "virtual": str(VIP), "snat": str(SNAT), "member": str(MEMBER),
    }  # fmt: skip


def test_the_journal_names_all_four_ends() -> None:
    joiner = Joiner([line()])
    assert joiner.join(sent("bigip-a", SNAT, MEMBER, SYN)) == (CLIENT, VIP)


def test_a_journal_speaks_for_its_own_device_only() -> None:
    joiner = Joiner([line("bigip-b")])
    assert joiner.join(sent("bigip-a", SNAT, MEMBER, SYN)) is None


def test_ports_used_again_belong_to_the_latest_line_before() -> None:
    joiner = Joiner([line(at=0), line(client=OTHER, at=10)])
    assert joiner.join(sent("bigip-a", SNAT, MEMBER, SYN, at=5)) == (CLIENT, VIP)
    assert joiner.join(sent("bigip-a", SNAT, MEMBER, SYN, at=11)) == (OTHER, VIP)


def test_without_a_journal_the_client_whose_syn_the_device_swallowed() -> None:
    joiner = Joiner([])
    joiner.client_syn(into("bigip-a"))
    assert joiner.join(sent("bigip-a", SNAT, MEMBER, SYN)) == (CLIENT, VIP)


def test_a_call_to_the_clouds_api_serves_no_client() -> None:
    """To port 80, while a client's SYN for port 80 went into a device that stands by."""
    joiner = Joiner([])
    joiner.client_syn(into("bigip-a", virtual=Endpoint.of("10.99.0.10:80")))
    api = sent("bigip-a", Endpoint.of("10.0.12.11:38420"), Endpoint.of("10.0.2.10:80"), SYN)
    [sighting] = api.sightings
    api.sightings = [replace(sighting, point="bigip-a:ha")]
    assert joiner.join(api) is None


def test_a_device_that_swallowed_no_syn_serves_nobody() -> None:
    joiner = Joiner([])
    joiner.client_syn(into("bigip-b"))
    assert joiner.join(sent("bigip-a", SNAT, MEMBER, SYN)) is None


def test_of_several_clients_the_one_with_the_same_ports() -> None:
    joiner = Joiner([])
    joiner.client_syn(into("bigip-a"))
    joiner.client_syn(into("bigip-a", OTHER))
    assert joiner.join(sent("bigip-a", SNAT, MEMBER, SYN)) == (CLIENT, VIP)
    second = Endpoint(SNAT.address, OTHER.port)
    assert joiner.join(sent("bigip-a", second, MEMBER, SYN)) == (OTHER, VIP)


def test_a_client_that_is_served_is_not_taken_for_another_connection() -> None:
    joiner = Joiner([])
    joiner.client_syn(into("bigip-a"))
    joiner.join(sent("bigip-a", SNAT, MEMBER, SYN))
    stranger = Endpoint(SNAT.address, 50000)
    assert joiner.join(sent("bigip-a", stranger, MEMBER, SYN)) is None


def joined() -> Joiner:
    """The server-side connection is known, and stands at 5101 / 9001."""
    joiner = Joiner([])
    joiner.client_syn(into("bigip-a"))
    joiner.join(sent("bigip-a", SNAT, MEMBER, SYN, seq=5000))
    joiner.follow(
        Segment(SNAT, MEMBER, SeqNum(5001), SeqNum(9001), ACK, 500, bytes(100)),
    )
    return joiner


def test_after_a_takeover_from_another_address_the_numbers_go_on() -> None:
    changed = Endpoint.of("10.0.21.11:40000")
    moved = sent("bigip-b", changed, MEMBER, ACK, seq=5101, ack=9001, payload=b"x")
    assert joined().join(moved) == (CLIENT, VIP)


@pytest.mark.parametrize(("seq", "ack"), [(5101 + (1 << 25), 9001), (5101, 9001 + (1 << 25))])
def test_numbers_far_off_are_another_connections(seq: int, ack: int) -> None:
    changed = Endpoint.of("10.0.21.11:40000")
    assert joined().join(sent("bigip-b", changed, MEMBER, ACK, seq=seq, ack=ack)) is None


def test_the_same_numbers_to_another_server_are_another_connections() -> None:
    other = Endpoint.of("10.0.32.100:22")
    assert joined().join(sent("bigip-b", SNAT, other, ACK, seq=5101, ack=9001)) is None


def test_a_reset_and_an_ends_own_segment_join_nothing() -> None:
    assert joined().join(sent("bigip-b", SNAT, MEMBER, RST, seq=5101, ack=9001)) is None
    assert joined().join(sent("client", SNAT, MEMBER, ACK, seq=5101, ack=9001)) is None
