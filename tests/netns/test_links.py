"""What a link does to packets: time and chance are given, not taken."""

from __future__ import annotations

import pytest

from netns.cloud.links import Line, Quality


def test_a_packet_takes_the_delay_and_its_share_of_the_jitter() -> None:
    line = Line(Quality(delay_s=0.010, jitter_s=0.004))
    assert line.carry(1.0, 0.5, 0.0) == pytest.approx(1.010)
    assert line.carry(2.0, 0.5, 0.5) == pytest.approx(2.012)


def test_jitter_never_lets_one_overtake_another() -> None:
    line = Line(Quality(delay_s=0.010, jitter_s=0.100))
    first = line.carry(1.0, 0.5, 0.9)
    assert line.carry(1.001, 0.5, 0.0) == first


def test_a_share_of_the_packets_is_lost() -> None:
    line = Line(Quality(loss=0.25))
    came = [line.carry(0.0, chance / 100, 0.0) is not None for chance in range(100)]
    assert came.count(False) == 25
    assert all(Line(Quality()).carry(0.0, 0.0, 0.0) is not None for _ in range(10))
