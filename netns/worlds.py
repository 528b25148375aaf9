"""Either kind of world, by the value that describes it. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from netns import onprem, topology
from netns import plan as cloud
from netns.plan import Step
from netns.topology import World


def plan(world: World, arp_cache_s: Mapping[str, float] | None = None) -> list[Step]:
    """Everything that makes the world, in order; `arp_cache_s` as in `netns.onprem.plan`."""
    if world.kind == onprem.KIND:
        return onprem.plan(world, arp_cache_s)
    return cloud.plan(world)


def picture(world: World) -> str:
    """The world as text."""
    return onprem.picture(world) if world.kind == onprem.KIND else topology.picture(world)
