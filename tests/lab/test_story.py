"""The run in plain words."""

from __future__ import annotations

from emulator.lab.story import _failover


def test_what_happened_is_told_in_the_order_of_time() -> None:
    """One route may carry bytes before the last one is in effect."""
    lines = _failover({
        "mechanism": "route", "how": "power-off", "device": "bigip-a", "new_active": "bigip-b",
        "triggered": 100.0, "takeover": 103.0, "api_accepted": 104.0, "effective": 109.0,
        "first_byte": 106.0, "refusals": None,
    })  # fmt: skip
    times = [float(line.split()[0]) for line in lines[1:]]
    assert times == [3.0, 4.0, 6.0, 9.0]
