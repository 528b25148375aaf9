"""standby-ready's answer, from made-up accounts of the two devices."""

from __future__ import annotations

from typing import Any

import pytest

from emulator.lab.readiness import Check, Seen, judge

SERVERS = {"vs": {"mirror": True, "type": "fastL4", "snat": "pool"}}


def status(role: str, **changes: Any) -> dict[str, Any]:
    plain = {
        "role": role, "mirror_channel": "up", "mirror_channel_s": 10.0, "mirror_version": 1,
        "virtual_servers": SERVERS, "mirror_lag": {"messages": 0, "bytes": 0, "seconds": 0.0},
    }  # fmt: skip
    return plain | changes


def flow(number: int = 1, **changes: Any) -> dict[str, Any]:
    plain = {
        "client": f"10.0.1.10:{number}", "virtual": "10.99.0.10:22", "snat": f"10.88.0.10:{number}",
        "member": "10.0.31.100:22", "virtual_server": "vs", "standard": False, "mirrored": True,
        "asked": True, "state": "open", "age_s": 5.0, "protocol": "tcp",
    }  # fmt: skip
    return plain | changes


def seen(
    live: list[dict[str, Any]], held: list[dict[str, Any]], *, active: dict[str, Any] | None = None,
    standby: dict[str, Any] | None = None, **more: Any,
) -> Seen:  # fmt: skip
    states = {
        "bigip-a": status("active") if active is None else active,
        "bigip-b": status("standby") if standby is None else standby,
    }
    plain: dict[str, Any] = {
        "before": live, "held": held, "after": live, "dry_run": {"state": "ok", "routes": 2},
        "arrives": {"bigip-a": True, "bigip-b": True},
    }  # fmt: skip
    return Seen(states, **(plain | more))


def wrong(found: Any) -> list[Check]:
    return [check for check in found.checks if not check.ok]


def test_ready() -> None:
    found = judge(seen([flow()], [flow(serves_as="10.88.0.10:1")]))
    assert found.ready
    assert (found.active, found.standby) == ("bigip-a", "bigip-b")
    assert found.flows == {"active": 1, "standby": 1, "missing": 0, "unusable": 0}
    assert found.as_json()["ready"] is True


@pytest.mark.parametrize(
    ("live", "active", "why"),
    [
        (flow(), {}, "the active device takes it for mirrored, and the standby does not have it"),
        (flow(mirrored=False), {}, "on its way: the standby has not acknowledged it yet"),
        (flow(asked=False, mirrored=False), {}, "made while vs had mirroring off"),
        (
            flow(mirrored=False),
            {"virtual_servers": {"vs": {"mirror": False}, "w": {"mirror": True}}},
            "vs has mirroring off",
        ),
        (flow(mirrored=False), {"mirror_channel": "down"}, "the mirroring channel is down"),
        (
            flow(mirrored=False, standard=True, age_s=11.0),
            {},
            "older than the mirroring channel: a standard flow is not mirrored again",
        ),
        (
            flow(mirrored=False, standard=True, age_s=9.0),
            {},
            "on its way: the standby has not acknowledged it yet",
        ),
    ],
)
def test_why_the_standby_lacks_a_connection(
    live: dict[str, Any], active: dict[str, Any], why: str
) -> None:
    found = judge(seen([live], [], active=status("active", **active)))
    assert not found.ready
    assert [(d.kind, d.why) for d in found.differences] == [("missing", why)]


@pytest.mark.parametrize(
    ("entry", "why"),
    [
        (
            {"serves_as": "10.0.21.11:1"},
            "SNAT automap: 10.0.31.100:22 knows 10.88.0.10:1, "
            "the standby would send from 10.0.21.11:1",
        ),
        ({"unusable": "no virtual server here is for 10.0.10.100:22"},
         "no virtual server here is for 10.0.10.100:22"),
    ],
)  # fmt: skip
def test_an_entry_that_would_not_do(entry: dict[str, Any], why: str) -> None:
    found = judge(seen([flow(), flow(2)], [flow() | entry, flow(2, serves_as="10.88.0.10:2")]))
    assert [c.name for c in wrong(found)] == ["usable"]
    assert [(d.kind, d.why) for d in found.differences] == [("unusable", why)]


def test_a_flow_of_datagrams_between_the_same_addresses_is_another() -> None:
    found = judge(seen([flow(), flow(protocol="udp")], [flow(serves_as="10.88.0.10:1")]))
    [difference] = found.differences
    assert (difference.kind, found.flows["active"]) == ("missing", 2)


def test_connections_that_come_and_go_meanwhile_are_no_difference() -> None:
    gone, new, embryonic = flow(7), flow(8), flow(9, state="pending")
    found = judge(seen([], [], before=[gone, embryonic], after=[new, embryonic]))
    assert found.ready


@pytest.mark.parametrize(
    ("arrives", "text"),
    [
        ((False, True), "one way: what bigip-a sends does not reach bigip-b"),
        ((True, False), "one way: what bigip-b sends does not reach bigip-a"),
        ((False, False), "cut: nothing arrives, either way"),
    ],
)
def test_the_path_each_way(arrives: tuple[bool, bool], text: str) -> None:
    """Also while both ends still take the channel for up."""
    found = judge(seen([], [], arrives=dict(zip(("bigip-a", "bigip-b"), arrives, strict=True))))
    assert wrong(found) == [Check("path", False, text)]


@pytest.mark.parametrize(
    ("changes", "name", "text"),
    [
        ({"standby": {}}, "roles", "bigip-b does not answer"),
        ({"standby": status("active")}, "roles", "bigip-a is active, bigip-b is active"),
        ({"standby": status("standby", mirror_version=2)}, "versions", "versions 1 and 2"),
        ({"standby": status("standby", virtual_servers={})}, "versions", "on the two: vs"),
        ({"standby": status("standby", mirror_channel="down")}, "channel", "up at one end only"),
        ({"active": status("active", mirror_lag={"messages": 3, "bytes": 99, "seconds": 1.5})},
         "lag", "99 bytes in 3 messages not acknowledged, the oldest for 1.500 s (more than 1 s)"),
        ({"dry_run": {"state": "failed", "reason": "ListBuckets: no"}}, "cloud", "ListBuckets: no"),
        ({"dry_run": {"state": "running"}}, "cloud", "does not answer the standby in time"),
    ],
)  # fmt: skip
def test_what_else_speaks_against_it(changes: dict[str, Any], name: str, text: str) -> None:
    found = judge(seen([], [], **changes))
    assert [check.name for check in wrong(found)] == [name]
    assert text in wrong(found)[0].text


def test_a_mirrored_persistence_record_needs_the_channel_as_well() -> None:
    records = {"vs": SERVERS["vs"] | {"mirror": False, "channel": True}}
    states = {
        "active": status("active", virtual_servers=records),
        "standby": status("standby", virtual_servers=records),
    }
    assert judge(seen([], [], **states)).ready


def test_without_mirroring_there_is_no_channel() -> None:
    off = {"vs": SERVERS["vs"] | {"mirror": False}}
    found = judge(
        seen([], [], active=status("active", virtual_servers=off),
             standby=status("standby", virtual_servers=off))
    )  # fmt: skip
    assert [check.text for check in wrong(found)] == [
        "no virtual server mirrors: there is no channel"
    ]


SECURED = {"secure": {"statemirror": True, "failover": True}, "protection": "TLSv1.3 X"}


def security(active: dict[str, Any], standby: dict[str, Any]) -> Check:
    found = judge(
        seen([], [], active=status("active", **active), standby=status("standby", **standby))
    )
    [check] = [check for check in found.checks if check.name == "security"]
    return check


def test_how_the_pair_is_secured_and_whom_it_turned_away() -> None:
    """That strangers were refused keeps nobody from taking over."""
    assert security({}, {}) == Check("security", True, "clear text")
    said = security(SECURED, SECURED | {"refused": {"certificate": 2}})
    assert said == Check(
        "security", True,
        "mirroring TLSv1.3 X, heartbeats authenticated; bigip-b refused 2 (certificate)",
    )  # fmt: skip


def test_one_secured_and_the_other_not_is_not_ready() -> None:
    said = security(SECURED, {})
    assert said == Check("security", False, "statemirror.secure is enabled at bigip-a only")
    beats = security({"secure": {"failover": False}}, {"secure": {"failover": True}})
    assert beats == Check("security", False, "failover.secure is enabled at bigip-b only")
