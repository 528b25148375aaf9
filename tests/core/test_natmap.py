"""Carrier-grade NAT: port blocks are nobody else's, and both devices compute the same."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network
from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulator.core.addresses import NoAddress, Selector
from emulator.core.config import ServerType, Snat
from emulator.core.natmap import FIRST_PORT, LEAST_BLOCK, PORTS, PortBlocks, PortSequence
from emulator.wire.segment import Endpoint
from tests.support.pair import A, B, config, server
from tests.support.segments import CLIENT, MEMBER, VIRTUAL, examples

NETWORK = IPv4Network("198.51.100.0/24")
POOL = (IPv4Address("192.0.2.1"), IPv4Address("192.0.2.2"), IPv4Address("192.0.2.3"))
BLOCKS = PortBlocks(NETWORK, POOL)


@st.composite
def blocks(draw: st.DrawFn) -> PortBlocks:
    """Any mapping there can be: a network of up to 4096 subscribers, up to 8 addresses."""
    prefix = draw(st.integers(20, 32))
    base = int(draw(st.ip_addresses(v=4))) & ~((1 << (32 - prefix)) - 1)
    network = IPv4Network((base, prefix))
    least = -(-network.num_addresses * LEAST_BLOCK // PORTS)
    first = draw(st.integers(1 << 24, 1 << 30))
    count = draw(st.integers(max(1, 2 * least), 8 + 2 * least))
    return PortBlocks(network, tuple(IPv4Address(first + n) for n in range(count)))


@given(blocks())
@examples(40)
def test_no_two_subscribers_share_a_port(mapping: PortBlocks) -> None:
    """And every block is as large as every other, inside the ports there are."""
    taken: set[tuple[IPv4Address, int]] = set()
    for subscriber in mapping.subscribers:
        address, ports = mapping.block(subscriber)
        assert len(ports) == mapping.block_size >= LEAST_BLOCK
        assert ports[0] >= FIRST_PORT
        assert ports[-1] < 65536
        ends = {(address, ports[0]), (address, ports[-1])}
        assert not ends & taken
        taken |= ends


@given(blocks(), st.data())
@examples(200)
def test_a_public_port_tells_whose_it_is(mapping: PortBlocks, data: st.DataObject) -> None:
    number = data.draw(st.integers(0, mapping.subscribers.num_addresses - 1))
    subscriber = mapping.subscribers[number]
    client = Endpoint(subscriber, data.draw(st.integers(0, 65535)))
    for public in islice(mapping.candidates(client), 3):
        assert mapping.subscriber(public) == subscriber


@given(blocks(), st.ip_addresses(v=4), st.integers(0, 65535))
@examples(200)
def test_what_is_nobodys_is_nobodys(mapping: PortBlocks, address: IPv4Address, port: int) -> None:
    owner = mapping.subscriber(Endpoint(address, port))
    assert (owner is None) or port in mapping.block(owner)[1]


def test_within_a_block_the_ports_of_one_client_are_all_different() -> None:
    client = Endpoint(NETWORK[7], 40000)
    offered = [public.port for public in BLOCKS.candidates(client)]
    assert sorted(offered) == list(BLOCKS.block(NETWORK[7])[1])


def test_a_pool_too_small_is_refused() -> None:
    with pytest.raises(ValueError, match="65536 subscribers"):
        PortBlocks(IPv4Network("10.0.0.0/16"), POOL)
    with pytest.raises(ValueError, match="0 pool addresses"):
        PortBlocks(NETWORK, ())


def test_a_stranger_has_no_block() -> None:
    with pytest.raises(ValueError, match="no subscriber"):
        BLOCKS.block(IPv4Address("10.0.0.1"))


# As a virtual server uses it.

DETERMINISTIC = replace(
    server(snat=Snat.DETERMINISTIC, mirroring=False), snat_pool=POOL, subscribers=NETWORK
)
CHANGED = replace(server(snat=Snat.POOL, mirroring=False), snat_pool=POOL[:1], change_port=True)


def nothing_taken(member: Endpoint, snat: Endpoint) -> bool:
    return False


@given(st.integers(0, 255), st.integers(1, 65535))
@examples(100)
def test_both_devices_agree_without_a_word(number: int, port: int) -> None:
    client = Endpoint(NETWORK[number], port)
    chosen = [
        Selector(config(name, DETERMINISTIC)).select(DETERMINISTIC, client, VIRTUAL, nothing_taken)
        for name in (A, B)
    ]
    assert chosen[0] == chosen[1]
    assert BLOCKS.subscriber(chosen[0].snat) == client.address


def test_a_subscribers_block_can_be_full() -> None:
    selector = Selector(config(A, DETERMINISTIC))
    with pytest.raises(NoAddress, match="No available SNAT addr"):
        selector.select(DETERMINISTIC, CLIENT, VIRTUAL, lambda member, snat: True)
    stranger = Endpoint.of("10.9.9.9:40000")
    with pytest.raises(NoAddress, match="No available SNAT addr"):
        selector.select(DETERMINISTIC, stranger, VIRTUAL, nothing_taken)


def test_changed_ports_are_the_devices_own() -> None:
    """The same client, asked of both: not the client's port, and not each other's."""
    first, second = (
        Selector(config(name, CHANGED)).select(CHANGED, CLIENT, VIRTUAL, nothing_taken).snat
        for name in (A, B)
    )
    assert first.address == second.address == POOL[0]
    assert len({first.port, second.port, CLIENT.port}) == 3


def test_a_sequence_offers_every_port_once() -> None:
    offered = [public.port for public in PortSequence("bigip-a").candidates(POOL[0])]
    assert sorted(offered) == list(range(FIRST_PORT, 65536))


def test_a_forwarding_server_sends_a_packet_where_it_is_addressed() -> None:
    wildcard = replace(
        DETERMINISTIC, type=ServerType.FORWARDING, network=IPv4Network("0.0.0.0/0"), pool=()
    )
    chosen = Selector(config(A, wildcard)).select(wildcard, CLIENT, MEMBER, nothing_taken)
    assert (chosen.virtual, chosen.member) == (MEMBER, MEMBER)
    assert BLOCKS.subscriber(chosen.snat) == CLIENT.address
