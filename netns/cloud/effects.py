"""What a change that takes effect does to the router: the data plane's side of the fabric.

One function per kind of change; the router's namespace is the caller's own.
"""

from __future__ import annotations

import subprocess

from netns.build import Routes
from netns.cloud.fabric import Change, ReplaceRoute, SetSourceDestCheck
from netns.plan import route_step
from netns.topology import ROUTER, World


class Effects:
    """The provider's hold on the router."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._routes = Routes(world.namespace(ROUTER))

    def apply(self, change: Change) -> None:
        """Carry one change out; raises NotImplementedError for a kind without a rule."""
        match change:
            case ReplaceRoute(table, destination, target):
                self._routes.apply(route_step(self._world, table, destination, target))
            case SetSourceDestCheck(interface, enabled):
                verb = "add" if enabled else "delete"
                element = f'{verb} element ip fabric checked {{ "{interface.router_name}" }}'
                subprocess.run(["nft", element], check=False, capture_output=True)
            case _:
                raise NotImplementedError(type(change).__name__)
