"""How fast the API may be asked: token buckets as AWS publishes them. Pure.

One token a request; a bucket refills continuously up to its size; a request that finds none
is refused with RequestLimitExceeded. Sizes and rates: Amazon EC2 developer guide, "Request
throttling for the Amazon EC2 API" (per account and Region). The guide counts per API action
*and* names classes of actions; here a class is one bucket, as its table reads.
"""

from __future__ import annotations

from collections.abc import Mapping

# class: (size, tokens a second)
PUBLISHED: dict[str, tuple[float, float]] = {
    "describe": (100, 20),
    "describe-unfiltered": (50, 10),
    "mutate": (50, 5),
    "address": (100, 5),
    "tag": (100, 10),
    "s3": (3500, 3500),  # requests a second and prefix that change objects (S3 user guide)
}
_UNFILTERED = {"DescribeInstances", "DescribeNetworkInterfaces", "DescribeVolumes"}
_ADDRESS = {
    "AssignPrivateIpAddresses",
    "UnassignPrivateIpAddresses",
    "CreateNetworkInterface",
    "ModifyNetworkInterfaceAttribute",
}


def bucket_of(service: str, action: str, *, narrowed: bool = True) -> str:
    """The class of a request. `narrowed`: it has a filter, ids or a page size."""
    if service == "s3":
        return "s3"
    if action.startswith(("Describe", "Get", "List")):
        return "describe-unfiltered" if action in _UNFILTERED and not narrowed else "describe"
    if action in _ADDRESS:
        return "address"
    return "tag" if action in ("CreateTags", "DeleteTags") else "mutate"


class Throttle:
    """All buckets of one account, full at first."""

    def __init__(self, sizes: Mapping[str, tuple[float, float]] = PUBLISHED) -> None:
        self._sizes = {**PUBLISHED, **sizes}
        self._tokens = {name: size for name, (size, _) in self._sizes.items()}
        self._at: dict[str, float] = {}

    def take(self, bucket: str, now: float) -> bool:
        """Whether a request may pass; `now` in seconds, never running back."""
        size, rate = self._sizes[bucket]
        since = now - self._at.get(bucket, now)
        self._at[bucket] = now
        self._tokens[bucket] = min(size, self._tokens[bucket] + since * rate)
        if self._tokens[bucket] < 1:
            return False
        self._tokens[bucket] -= 1
        return True
