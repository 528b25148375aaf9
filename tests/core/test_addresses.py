"""Address selection: which virtual server, which member, which source address and port."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulator.core.addresses import NoAddress, Selector
from emulator.core.config import ANY_PORT, SelfIp, Snat
from emulator.wire.mirror import SnatKind
from emulator.wire.segment import Endpoint
from tests.support.pair import B, client, config, server
from tests.support.segments import (
    CLIENT,
    MEMBER,
    SNAT_A,
    SNAT_B,
    VIRTUAL,
    examples,
    record,
)

OTHER_MEMBER = Endpoint.of("10.0.30.22:22")
POOL = (IPv4Address("192.0.2.1"), IPv4Address("192.0.2.2"), IPv4Address("192.0.2.3"))
FLOATING = IPv4Address("10.0.2.100")


def nothing_taken(member: Endpoint, snat: Endpoint) -> bool:
    return False


def taken_ports(*ports: int):
    """These SNAT ports are in use, towards MEMBER."""
    return lambda member, snat: member == MEMBER and snat.port in ports


def select(vs, source=CLIENT, taken=nothing_taken, virtual=VIRTUAL):
    return Selector(config(server=vs)).select(vs, source, virtual, taken)


def test_the_record_has_all_four_ends():
    chosen = select(server())
    assert (chosen.client, chosen.virtual) == (CLIENT, VIRTUAL)
    assert (chosen.snat, chosen.member) == (SNAT_A, MEMBER)
    assert (chosen.virtual_server, chosen.idle_timeout_s) == ("vs_ssh", 300)


def test_no_pool_is_a_reset_with_f5s_words():
    with pytest.raises(NoAddress, match=r"^No pool member available$"):
        select(server(pool=()))


def test_the_pool_is_used_in_turn():
    vs = server(pool=(MEMBER, OTHER_MEMBER))
    selector = Selector(config(server=vs))
    members = [
        selector.select(vs, client(n), VIRTUAL, nothing_taken).member.address for n in range(4)
    ]
    assert members == [MEMBER.address, OTHER_MEMBER.address] * 2


def test_a_member_of_any_port_takes_the_port_the_client_asked_for():
    vs = server(
        destination=Endpoint(VIRTUAL.address, ANY_PORT), pool=(Endpoint(MEMBER.address, ANY_PORT),)
    )
    assert select(vs, virtual=Endpoint(VIRTUAL.address, 2222)).member.port == 2222


def test_the_exact_port_comes_before_any_port():
    every = server(name="every", destination=Endpoint(VIRTUAL.address, ANY_PORT))
    ssh = server()
    for servers in ((every, ssh), (ssh, every)):
        selector = Selector(replace(config(), virtual_servers=servers))
        assert selector.virtual_server(VIRTUAL) is ssh
        assert selector.virtual_server(Endpoint(VIRTUAL.address, 80)) is every


def test_other_destinations_have_no_virtual_server():
    selector = Selector(config())
    assert selector.virtual_server(Endpoint(VIRTUAL.address, 23)) is None
    assert selector.virtual_server(Endpoint.of("10.99.0.11:22")) is None


def test_without_snat_the_member_sees_the_client():
    chosen = select(server(snat=Snat.NONE))
    assert (chosen.snat, chosen.snat_kind) == (CLIENT, SnatKind.NONE)


def test_automap_is_the_self_ip_the_member_is_reached_by():
    chosen = select(server(pool=(Endpoint.of("8.8.8.8:22"),)))
    assert (chosen.snat.address, chosen.snat_kind) == (IPv4Address("10.0.1.11"), SnatKind.AUTOMAP)
    assert select(server()).snat == SNAT_A


def test_automap_without_a_way_to_the_member_is_no_route():
    lost = config(self_ips=(SelfIp("int", SNAT_A.address, (IPv4Network("10.0.2.0/24"),)),))
    with pytest.raises(NoAddress, match=r"^No route to host$"):
        Selector(lost).select(server(), CLIENT, VIRTUAL, nothing_taken)


def test_a_snat_pool_gives_a_client_the_same_address_every_time():
    vs = server(snat=Snat.POOL, snat_pool=POOL)
    first = select(vs)
    assert (first.snat_kind, first.snat.port) == (SnatKind.POOL, CLIENT.port)
    assert select(vs, client(1)).snat.address == first.snat.address
    hosts = [Endpoint(IPv4Address(int(CLIENT.address) + n), 40000) for n in range(3)]
    assert {select(vs, host).snat.address for host in hosts} == set(POOL)


def test_an_empty_snat_pool_has_no_address():
    with pytest.raises(NoAddress, match=r"^No available SNAT addr$"):
        select(server(snat=Snat.POOL))


def test_the_source_port_is_preserved_when_it_is_free():
    assert select(server(), client(7)).snat.port == client(7).port
    assert select(server(), Endpoint(CLIENT.address, 22)).snat.port == 22


def test_a_taken_port_gives_way_to_the_next():
    assert select(server(), taken=taken_ports(40000, 40001)).snat.port == 40002


def test_the_search_goes_round_and_leaves_out_the_low_ports():
    source = Endpoint(CLIENT.address, 65535)
    assert select(server(), source, taken=taken_ports(65535)).snat.port == 1024


def test_when_no_port_is_left_there_is_no_address():
    with pytest.raises(NoAddress, match=r"^No available SNAT addr$"):
        select(server(), taken=lambda member, snat: True)


@given(st.integers(0, 65535), st.sets(st.integers(0, 65535), max_size=20), st.integers(0, 3))
@examples(100)
def test_the_port_chosen_is_free_and_no_privileged_one(port, used, following):
    """Whatever is taken; the ports right after the client's are taken more often than chance."""
    used = used | {port + step for step in range(following)}
    chosen = select(server(), Endpoint(CLIENT.address, port), taken_ports(*used)).snat.port
    assert chosen not in used
    assert chosen == port or 1024 <= chosen < 65536
    assert (chosen == port) == (port not in used)


class TestAdopt:
    """What a takeover makes of a mirrored record."""

    def test_the_peers_automap_address_becomes_our_own(self):
        """F5: "you cannot mirror SNAT connections on non-floating self IPs"."""
        adopted = Selector(config(B)).adopt(record(snat=SNAT_A), nothing_taken)
        assert adopted == record(snat=SNAT_B)

    def test_unless_the_device_is_told_to_keep_it(self):
        kept = Selector(config(B, rebuild_automap=False)).adopt(record(), nothing_taken)
        assert kept == record(snat=SNAT_A)

    @pytest.mark.parametrize("kind", [SnatKind.NONE, SnatKind.POOL])
    def test_an_address_of_no_device_is_kept(self, kind):
        """A SNAT pool's, or the client's own: both devices can serve it."""
        mirrored = record(snat=Endpoint(POOL[0], 40000), kind=kind)
        assert Selector(config(B)).adopt(mirrored, lambda member, snat: True) == mirrored

    def test_a_port_taken_here_is_changed(self):
        adopted = Selector(config(B)).adopt(record(), taken_ports(40000))
        assert adopted.snat == Endpoint(SNAT_B.address, 40001)

    def test_a_floating_self_ip_is_kept_with_its_port(self):
        """The address is ours already: the member must go on seeing the very same tuple,
        also where the port had been changed because the client's was taken."""
        both = SelfIp("int", FLOATING, (IPv4Network("10.0.30.0/24"),))
        mirrored = record(snat=Endpoint(FLOATING, 40001))
        selector = Selector(config(B, self_ips=(both, *config(B).self_ips)))
        assert selector.adopt(mirrored, nothing_taken) == mirrored
