"""Source-address persistence: one device's records, and what of them the other one holds."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address

import pytest

from emulator.core.persistence import Persistence
from emulator.wire.segment import Endpoint
from tests.support.pair import A, B, Pair, client, server
from tests.support.segments import CLIENT, MEMBER

OTHER = Endpoint.of("10.0.30.22:22")
FIRST_CLIENT = Endpoint.of("198.51.100.9:1111")
SERVER = replace(
    server(mirroring=False), pool=(MEMBER, OTHER), persistence_s=180, persistence_mirroring=True
)
UNMIRRORED = replace(SERVER, persistence_mirroring=False)


def persistence() -> Persistence:
    return Persistence((SERVER,))


def members(pair: Pair, name: str) -> dict[Endpoint, Endpoint]:
    return {record.client: record.member for record in pair.nodes[name].flows}


def held(pair: Pair, name: str) -> dict[str, str]:
    records = pair.nodes[name].device.traffic.persistence.listing(pair.now)
    return {str(r["client"]): str(r["member"]) for r in records}


def running(vs=SERVER) -> Pair:
    pair = Pair(vs).power_on(A, B)
    pair.run(5)
    assert pair.active == [A]
    return pair


# One device.


def test_a_record_says_where_the_client_goes_and_to_nobody_else() -> None:
    records = persistence()
    records.keep(SERVER, CLIENT.address, OTHER, 0.0)
    assert records.member(SERVER, CLIENT.address, 1.0) == OTHER
    assert records.member(SERVER, FIRST_CLIENT.address, 1.0) is None


def test_use_refreshes_it_and_disuse_ends_it() -> None:
    records = persistence()
    records.keep(SERVER, CLIENT.address, OTHER, 0.0)
    assert records.member(SERVER, CLIENT.address, 179.0) == OTHER
    assert records.expire(358.0) == []
    assert records.member(SERVER, CLIENT.address, 359.0) is None
    [gone] = records.expire(359.0)
    assert (gone.client, gone.member) == (CLIENT.address, OTHER)
    assert len(records) == 0


def test_a_member_taken_from_the_pool_is_no_ones() -> None:
    records = persistence()
    records.keep(SERVER, CLIENT.address, OTHER, 0.0)
    assert records.member(replace(SERVER, pool=(MEMBER,)), CLIENT.address, 1.0) is None


def test_without_persistence_nothing_is_kept() -> None:
    plain = replace(SERVER, persistence_s=0)
    records = Persistence((plain,))
    assert records.keep(plain, CLIENT.address, OTHER, 0.0) is None
    assert len(records) == 0


def test_the_listing_has_what_an_operator_asks_for() -> None:
    records = persistence()
    records.keep(SERVER, CLIENT.address, OTHER, 10.0)
    assert records.listing(12.0) == [
        {
            "mode": "source-address", "client": "198.51.100.10", "virtual_server": "vs_ssh",
            "member": "10.0.30.22:22", "age_s": 2.0,
        }
    ]  # fmt: skip


# A pair.


def test_the_clients_of_a_device_keep_their_member() -> None:
    pair = running()
    for number in range(3):
        pair.client_connects(client(number))
    pair.client_connects(FIRST_CLIENT)
    found = members(pair, A)
    assert [found[client(n)] for n in range(3)] == [MEMBER] * 3
    assert found[FIRST_CLIENT] == OTHER


@pytest.mark.parametrize(("vs", "member"), [(SERVER, OTHER), (UNMIRRORED, MEMBER)])
def test_a_new_connection_after_a_failover(vs, member) -> None:
    """Connections are mirrored in neither; only the record decides."""
    pair = running(vs)
    pair.client_connects(FIRST_CLIENT)
    pair.client_connects(CLIENT)
    assert members(pair, A)[CLIENT] == OTHER
    pair.power_off(A)
    pair.run(10)
    assert pair.active == [B]
    assert pair.client_connects(client(1)) == "released"
    assert members(pair, B) == {client(1): member}


def test_a_standby_that_joins_late_is_given_every_record() -> None:
    pair = Pair(SERVER).power_on(A)
    pair.run(5)
    pair.client_connects(FIRST_CLIENT)
    pair.client_connects(CLIENT)
    pair.power_on(B)
    pair.run(5)
    assert (
        held(pair, B) == held(pair, A) == {"198.51.100.9": str(MEMBER), "198.51.100.10": str(OTHER)}
    )


def test_what_a_resync_does_not_name_is_gone() -> None:
    pair = running()
    pair.client_connects(CLIENT)
    stale = replace(SERVER, name="vs_ssh")
    pair.b.device.traffic.persistence.keep(stale, IPv4Address("192.0.2.99"), OTHER, pair.now)
    pair.lose_channel()
    pair.run(5)
    assert held(pair, B) == held(pair, A)


def test_the_standby_forgets_what_expires_and_only_then() -> None:
    """Use is not mirrored: the standby goes by what it is told, not by its own clock."""
    pair = running()
    pair.client_connects(CLIENT)
    pair.run(170)
    pair.client_connects(client(1))
    pair.run(60)
    assert len(held(pair, B)) == len(held(pair, A)) == 1
    pair.run(180)
    assert held(pair, B) == held(pair, A) == {}


def test_unmirrored_records_never_cross() -> None:
    pair = running(replace(UNMIRRORED, mirroring=True))
    pair.client_connects(CLIENT)
    pair.lose_channel()
    pair.run(5)
    assert pair.b.mirrored
    assert held(pair, B) == {}


def test_a_takeover_begins_to_count_anew() -> None:
    pair = running()
    pair.client_connects(CLIENT)
    pair.run(100)
    pair.power_off(A)
    pair.run(120)
    assert held(pair, B)
    pair.run(80)
    assert held(pair, B) == {}
