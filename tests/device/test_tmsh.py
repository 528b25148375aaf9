"""tmsh look-alikes, against the published layouts."""

from __future__ import annotations

import pytest

from emulator.core.device import Device
from emulator.core.flow import Flow, FlowState
from emulator.device.tmsh import TmshError, answer, connections
from emulator.wire.mirror import FlowRecord, SnatKind
from emulator.wire.segment import Endpoint
from tests.support.pair import config


def flow(client: str, virtual: str, snat: str, member: str, *, seen: float = 0.0) -> Flow:
    ends = (Endpoint.of(e) for e in (client, virtual, snat, member))
    record = FlowRecord("vs", *ends, SnatKind.POOL, 300)
    return Flow(record, FlowState.OPEN, 0.0, seen, mirrored=True)


PUBLISHED = """\
Sys::Connections
10.156.11.15:38996   10.156.8.10:3306  10.156.8.15:47670  10.156.11.63:3306  tcp  20  (tmm: 0)  none
10.156.9.43:45829    10.156.8.10:3306  10.156.8.15:47676  10.156.11.63:3306  tcp  11  (tmm: 0)  none
10.156.10.221:60285  10.156.8.10:3306  10.156.8.15:60285  10.156.11.63:3306  tcp  15  (tmm: 0)  none
Total records returned: 3"""


def test_the_columns_are_those_of_a_published_listing() -> None:
    """The published rows, entered as flows, print as published (acceleration none)."""
    flows = [
        flow("10.156.11.15:38996", "10.156.8.10:3306", "10.156.8.15:47670", "10.156.11.63:3306"),
        flow("10.156.9.43:45829", "10.156.8.10:3306", "10.156.8.15:47676", "10.156.11.63:3306",
             seen=9.0),
        flow("10.156.10.221:60285", "10.156.8.10:3306", "10.156.8.15:60285", "10.156.11.63:3306",
             seen=5.0),
    ]  # fmt: skip
    assert connections(flows, 20.5, mirrored=True) == PUBLISHED


def test_only_mirrored_flows_are_of_type_mirror() -> None:
    own = flow("10.0.0.1:1", "10.0.0.2:2", "10.0.0.3:3", "10.0.0.4:4")
    own.mirrored = False
    assert connections([own], 0.0, mirrored=True) == "Sys::Connections\nTotal records returned: 0"
    assert "10.0.0.1:1" in connections([own], 0.0, mirrored=False)


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("show sys failover", "Failover standby for 1d 01:20:32"),
        ("show /sys failover", "Failover standby for 1d 01:20:32"),
        ("show net rst-cause", "TCP/IP Reset Cause\nNo flow found for ACK              2"),
        ("show sys connection type mirror", "Sys::Connections\nTotal records returned: 0"),
    ],
)
def test_answers(line: str, text: str) -> None:
    device = Device(config(), 0.0)
    device.traffic.reset_causes["No flow found for ACK"] = 2
    assert answer(device, line, 86400 + 3600 + 20 * 60 + 32.4) == text


def test_failover_status_names_the_traffic_group() -> None:
    text = answer(Device(config(), 0.0), "show cm failover-status", 1.0)
    assert "Status   STANDBY" in text
    assert "Details  standby for /Common/traffic-group-1" in text


@pytest.mark.parametrize("line", ["", "show", "show sys connection type", "delete sys connection"])
def test_what_it_does_not_know_it_refuses_and_says_what_it_knows(line: str) -> None:
    with pytest.raises(TmshError, match="Syntax Error") as caught:
        answer(Device(config(), 0.0), line, 1.0)
    assert "show sys connection" in str(caught.value)
