"""What a device says of its flows, and what a standby would make of those it holds."""

from __future__ import annotations

from dataclasses import replace

from emulator.core.config import Snat
from emulator.device import account
from emulator.wire.segment import ACK
from tests.support.pair import Pair, server
from tests.support.segments import CLIENT, VIRTUAL, syn


def held(pair: Pair) -> dict[str, object]:
    [told] = account.flows(pair.b.device, pair.now)
    return told


def test_bytes_and_packets_of_each_direction() -> None:
    pair = Pair().power_on()
    pair.run(2)
    pair.client_connects()
    first = syn()
    data = replace(first, flags=ACK, payload=b"x" * 60)
    pair.packet(data)
    [told] = account.flows(pair.a.device, pair.now)
    assert told["packets"] == {"to_server": 2, "to_client": 0}
    assert told["bytes"] == {
        "to_server": 40 + len(first.options) + len(data.emit()),
        "to_client": 0,
    }
    assert told["mirrored"]
    assert "serves_as" not in told


def test_automap_would_be_served_from_another_address() -> None:
    pair = Pair(server(snat=Snat.AUTOMAP)).power_on()
    pair.run(2)
    pair.client_connects()
    [flow] = pair.a.table()
    assert held(pair)["snat"] == str(flow.record.snat) == f"10.0.2.11:{CLIENT.port}"
    assert held(pair)["serves_as"] == f"10.0.12.12:{CLIENT.port}"


def test_automap_that_is_not_rebuilt_is_the_peers_address() -> None:
    pair = Pair(server(snat=Snat.AUTOMAP), rebuild_automap=False).power_on()
    pair.run(2)
    pair.client_connects()
    assert held(pair)["unusable"] == "its SNAT address 10.0.2.11 is a self IP of the peer's"


def test_a_pool_address_is_served_as_it_is() -> None:
    own = server(snat=Snat.POOL, snat_pool=(VIRTUAL.address,))
    pair = Pair(own).power_on()
    pair.run(2)
    pair.client_connects()
    assert held(pair)["serves_as"] == held(pair)["snat"]


def test_another_virtual_address_there() -> None:
    """As behind an elastic IP: the mirrored key meets no virtual server of the standby's."""
    pair = Pair()
    elsewhere = replace(server(), destination=CLIENT)
    pair.configs["bigip-b"] = replace(pair.configs["bigip-b"], virtual_servers=(elsewhere,))
    pair.power_on()
    pair.run(2)
    pair.client_connects()
    assert held(pair)["unusable"] == f"no virtual server here is for {VIRTUAL}"


def test_more() -> None:
    pair = Pair().power_on()
    pair.run(3)
    told = account.more(pair.a.device, pair.now)
    assert told["virtual_servers"] == {
        "vs_ssh": {"mirror": True, "channel": True, "type": "fastL4", "snat": "automap"}
    }
    assert 0 < told["mirror_channel_s"] <= 3
    pair.lose_channel()
    assert account.more(pair.a.device, pair.now)["mirror_channel_s"] is None
