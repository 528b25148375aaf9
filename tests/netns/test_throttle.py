"""Token buckets: what passes at once, what passes later, and the times that follow."""

from __future__ import annotations

import pytest

from netns.cloud.throttle import PUBLISHED, Throttle, bucket_of

RETRY_S = 5.0  # the failover extension's


def moved_after_s(routes: int) -> float:
    """Until the last of `routes` requests, all made at once and again every 5 s, passes."""
    throttle, now = Throttle(), 0.0
    while True:
        routes -= sum(throttle.take("mutate", now) for _ in range(routes))
        if not routes:
            return now
        now += RETRY_S


@pytest.mark.parametrize(("routes", "seconds"), [(50, 0), (100, 10), (200, 30), (500, 90)])
def test_how_long_so_many_routes_take(routes: int, seconds: float) -> None:
    """F5 publishes 5, 5, 15 and 90 s: the documented buckets give the last one exactly, and
    are twice as slow at 100 and 200."""
    assert moved_after_s(routes) == seconds


def test_a_bucket_refills_up_to_its_size_and_no_further() -> None:
    throttle = Throttle({"mutate": (2, 1.0)})
    assert [throttle.take("mutate", 0.0) for _ in range(3)] == [True, True, False]
    assert not throttle.take("mutate", 0.9)
    assert throttle.take("mutate", 1.0)
    assert [throttle.take("mutate", 1000.0) for _ in range(3)] == [True, True, False]


def test_classes_do_not_share_tokens() -> None:
    throttle = Throttle({"mutate": (1, 0.001)})
    assert throttle.take("mutate", 0.0)
    assert not throttle.take("mutate", 0.0)
    assert throttle.take("describe", 0.0)


@pytest.mark.parametrize(
    ("action", "narrowed", "bucket"),
    [
        ("ReplaceRoute", True, "mutate"),
        ("DisassociateAddress", True, "mutate"),
        ("AssignPrivateIpAddresses", True, "address"),
        ("DescribeRouteTables", False, "describe"),
        ("DescribeNetworkInterfaces", False, "describe-unfiltered"),
        ("DescribeNetworkInterfaces", True, "describe"),
        ("CreateTags", True, "tag"),
    ],
)
def test_the_class_of_an_action(action: str, narrowed: bool, bucket: str) -> None:
    assert bucket_of("ec2", action, narrowed=narrowed) == bucket
    assert bucket in PUBLISHED
