"""The on-premises world in the lab: configuration, capture points, verdicts from its packets."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address

import pytest
from pydantic import ValidationError

from emulator.core.config import Config, FloatingAddress
from emulator.lab import deployment
from emulator.lab.capture import points_of
from emulator.lab.judge.facts import gather
from emulator.lab.judge.tracing import Trace, trace
from emulator.lab.judge.verdict import Verdict, judge
from emulator.lab.result import failover_times
from emulator.lab.settings.scenario import Scenario
from emulator.wire import pcapng
from emulator.wire.arp import announcement
from netns.onprem import FLOATING, MASQUERADE_MAC, onprem
from netns.topology import SWITCH, cloud
from tests.support.tape import MS, VIP, Conversation

WORLD = onprem("x")
NEIGHBOUR = bytes.fromhex("026d6c00ffff")


def scenario(**changes: object) -> Scenario:
    return Scenario.model_validate({"title": "t", "world": "onprem", **changes})


def config(node: str = "bigip-a", **changes: object) -> Config:
    chosen = scenario(**changes)
    return deployment.device_config(chosen, deployment.world(chosen, "x"), node)


# What a device is told.


def test_both_devices_are_told_the_same_floating_addresses_and_their_own_macs() -> None:
    a, b = config("bigip-a"), config("bigip-b")
    assert a.floating == b.floating
    assert FloatingAddress("ext", IPv4Address("10.99.0.10")) in a.floating
    assert {f.address for f in a.floating} >= set(FLOATING.values())
    assert [p.name for p in a.ports] == ["ext", "int"]
    assert not {p.mac for p in a.ports} & {p.mac for p in b.ports}
    assert (a.cloud_failover, a.mac_masquerade) == (None, "")
    assert [s.floating for s in a.self_ips] == [False, False, True, True]


def test_a_snat_pool_floats_in_the_internal_segment() -> None:
    pool = config(virtual_server={"snat": "pool", "snat_pool": ["10.88.0.10"]})
    assert FloatingAddress("int", IPv4Address("10.88.0.10")) in pool.floating
    assert FloatingAddress("int", IPv4Address("10.88.0.10")) not in config().floating


def test_a_standard_virtual_servers_automap_address_goes_where_the_traffic_group_goes() -> None:
    told = config(virtual_server={"type": "standard"})
    [server] = told.virtual_servers
    assert FLOATING["int"] in told.floating_addresses(server)
    assert set(told.floating_addresses(server)) < set(told.proxy_addresses(server))


def test_without_floating_self_ips_only_virtual_and_snat_addresses_float() -> None:
    told = config(onprem={"floating_self_ips": False})
    assert [f.address for f in told.floating] == [IPv4Address("10.99.0.10")]
    assert not any(s.floating for s in told.self_ips)


def test_a_clouds_device_has_nothing_that_floats() -> None:
    plain = Scenario.model_validate({"title": "t"})
    told = deployment.device_config(plain, cloud("x"), "bigip-a")
    assert (told.floating, told.ports) == ((), ())


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"virtual_server": {"destination": "10.1.2.3"}}, "not in the ext segment"),
        ({"virtual_server": {"destination": "10.99.0.11"}}, "is bigip-a's"),
        ({"virtual_server": {"destination": "10.99.0.5"}}, "floating self IP"),
        ({"virtual_server": {"snat": "pool", "snat_pool": ["10.99.0.77"]}}, "int segment"),
        ({"cloud": {"propagation_delay_s": 1}}, "cloud is for world cloud"),
        (
            {"virtual_server": {"snat": "none"}, "onprem": {"floating_self_ips": False}},
            "needs onprem.floating_self_ips",
        ),
        ({"world": "cloud", "devices": {"mac_masquerade": True}}, "for world onprem"),
        ({"world": "cloud", "devices": {"gratuitous_arp": False}}, "for world onprem"),
        ({"world": "cloud", "onprem": {"router_arp_cache_s": 9}}, "for world onprem"),
        ({"world": "moon"}, "cloud"),
    ],
)
def test_a_setting_that_could_have_no_effect_is_an_error(
    changes: dict[str, object], text: str
) -> None:
    with pytest.raises(ValidationError, match=text):
        scenario(**changes)


# What a capture point says of itself, and what frames at it mean.


def point(node: str, name: str) -> pcapng.Interface:
    """As dumpcap is told to describe it."""
    [found] = [p for p in points_of(WORLD, node) if p.interface == name]
    return pcapng.Interface(found.name, found.description, pcapng.LINKTYPE_ETHERNET, 10**9)


MACS = {
    f"{i.uplink}:{i.router_name}": bytes.fromhex(i.mac.replace(":", "")) for i in WORLD.interfaces
}


def on_segments(talk: Conversation) -> list[pcapng.Frame]:
    """A conversation of the cloud's tape, its frames as the switch's segments would show them."""
    frames = []
    for frame in talk.frames:
        node, _, name = frame.interface.name.partition(":")
        if name == "ha":
            frames.append(frame)
            continue
        outgoing = frame.data[6:12] == bytes.fromhex(
            frame.interface.description[4:21].replace(":", "")
        )
        far = SWITCH if node == "router" and name != "client-eth0" else node
        here = point(far, name)
        if far == SWITCH:
            ours, theirs = NEIGHBOUR, MACS[f"{SWITCH}:{name}"]
        else:
            words = dict(w.split("=", 1) for w in here.description.split() if "=" in w)
            ours, theirs = bytes.fromhex(words["mac"].split(",")[0].replace(":", "")), NEIGHBOUR
        source, target = (ours, theirs) if outgoing else (theirs, ours)
        frames.append(replace(frame, interface=here, data=target + source + frame.data[12:]))
    return frames


def said(node: str, at_ns: int, address: str = str(VIP.address)) -> list[pcapng.Frame]:
    """A gratuitous ARP, as it leaves a device, comes into the switch and gets to the router."""
    mac = WORLD.interface(node, "ext").mac
    data = announcement(mac, IPv4Address(address)).emit()
    points = (point(node, "ext"), point(SWITCH, f"{node[-1]}-ext"), point("router", "ext"))
    return [pcapng.Frame(p, at_ns + n * MS, data, len(data)) for n, p in enumerate(points)]


def traced(frames: list[pcapng.Frame]) -> Trace:
    return trace(sorted(frames, key=lambda f: f.time_ns))


def verdict(frames: list[pcapng.Frame]) -> Verdict:
    [found] = judge(gather(traced(frames)))
    return found


def opened() -> Conversation:
    talk = Conversation(snat="10.88.0.1")
    talk.open("a")
    talk.client("ls\n", "a")
    talk.server("file\n", "a")
    talk.acks("a")
    return talk


def lost_at_a_dead_device(talk: Conversation) -> None:
    talk.heartbeat("a", active=True)
    talk.wait(4)
    talk.heartbeat("b", active=True)
    talk.wait(1)
    for again in (False, True, True):
        talk.client("pwd\n", "a", until="bigip-a:ext", again=again)
        talk.wait(4)
    talk.heartbeat("b", active=True)


def test_a_segment_is_followed_through_the_ports_of_the_switch() -> None:
    first = traced(on_segments(opened())).transmissions[0]
    assert [(s.point, s.outgoing) for s in first.sightings] == [
        ("client:eth0", True),
        ("router:client-eth0", False),
        ("switch:a-ext", True),
        ("bigip-a:ext", False),
        ("bigip-a:int", True),
        ("switch:a-int", False),
        ("switch:be1-eth0", True),
        ("backend-1:eth0", False),
    ]


def test_a_frame_flooded_to_others_is_no_sighting() -> None:
    """A switch that has forgotten a MAC sends to every port: bigip-b did not get a segment."""
    frames = on_segments(opened())
    at_a = next(f for f in frames if f.interface.name == "bigip-a ext")
    flooded = [
        replace(at_a, interface=point("bigip-b", "ext")),
        replace(at_a, interface=point(SWITCH, "b-ext")),
    ]
    found = traced([*frames, *flooded])
    seen = [[s.point for s in t.sightings] for t in found.transmissions]
    assert seen == [[s.point for s in t.sightings] for t in traced(frames).transmissions]


def test_the_masquerade_mac_is_a_devices_own() -> None:
    """Frames with it leave the device, and come in at the switch's port."""
    frame = opened().frames[0].data
    mac = bytes.fromhex(MASQUERADE_MAC.replace(":", ""))
    data = NEIGHBOUR + mac + frame[12:]
    at = [point("bigip-b", "ext"), point(SWITCH, "b-ext")]
    found = traced([pcapng.Frame(p, n, data, len(data)) for n, p in enumerate(at)])
    [transmission] = found.transmissions
    assert [s.outgoing for s in transmission.sightings] == [True, False]


def test_survival_shows_the_announcement() -> None:
    talk = opened()
    talk.wait(3)
    frames = said("bigip-b", talk.now)
    talk.wait(0.5)
    talk.client("pwd\n", "b")
    talk.server("/root\n", "b")
    talk.acks("b")
    judged = verdict([*on_segments(talk), *frames])
    assert (judged.outcome, judged.cause.id) == ("SURVIVED", None)
    assert any("announces 10.99.0.10 (gratuitous ARP)" in e.text for e in judged.cause.evidence)


@pytest.mark.parametrize(
    ("announced", "text"),
    [("", "No other device ever announced 10.99.0.10"), ("lost", "reached no neighbour")],
)
def test_segments_that_go_on_to_the_dead_device_never_moved(announced: str, text: str) -> None:
    """Whether nobody said anything, or nobody heard it."""
    talk = opened()
    frames = said("bigip-a", talk.now)  # long ago, and heard
    talk.wait(1)
    lost_at_a_dead_device(talk)
    frames += said("bigip-b", talk.now - 8_000 * MS)[:2] if announced else []
    judged = verdict([*on_segments(talk), *frames])
    assert (judged.outcome, judged.cause.id) == ("STALLED", "route-never-moved")
    assert text in judged.cause.text


def test_in_a_cloud_nobody_speaks_of_arp() -> None:
    talk = opened()
    lost_at_a_dead_device(talk)
    judged = verdict(talk.frames)
    assert (judged.outcome, judged.cause.id) == ("STALLED", "route-never-moved")
    assert "ARP" not in judged.cause.text


def test_effective_is_when_the_last_announcement_left_the_new_active_device() -> None:
    talk = opened()
    start = talk.now
    frames = [
        *said("bigip-a", start - 1000 * MS),
        *said("bigip-b", start + 1000 * MS),
        *said("bigip-b", start + 1500 * MS, "10.99.0.5"),
    ]
    records = [
        {"what": "failover-triggered", "node": "lab", "time": start / 1e9, "how": "power-off"},
        {"what": "active", "node": "bigip-b", "time": start / 1e9 + 1},
    ]
    facts = gather(traced([*on_segments(talk), *frames]), records)
    times = failover_times(facts, judge(facts), "onprem")
    assert times is not None
    assert times["mechanism"] == "gratuitous-arp"
    assert times["api_accepted"] is None
    assert times["effective"] == pytest.approx(start / 1e9 + 1.5)
