"""Heartbeats lost in the HA network: both devices live, neither hears the other.

A rule where the devices' HA links end, in the router or on-premises at the switch, drops what
comes in for UDP 1026. Nothing else is touched: data passes, and so does the mirroring channel.
Captures at that place still show the heartbeats come in, and none go out.
"""

from __future__ import annotations

from emulator.lab.deployment import DEVICES
from emulator.lab.instance import Lab
from netns.execute import run

_TABLE = "heartbeats_lost"
_PORT = 1026


def ruleset(names: list[str]) -> str:
    """The drops at these interfaces."""
    chains = "".join(
        f"    chain from_{number} {{\n"
        f'    type filter hook ingress device "{name}" priority 0; policy accept;\n'
        f"    udp dport {_PORT} drop\n    }}\n"
        for number, name in enumerate(names)
    )
    return f"table netdev {_TABLE} {{\n{chains}}}\n"


def lose(lab: Lab) -> None:
    """From now on; raises NamespaceError."""
    links = [lab.world.interface(node, "ha") for node in DEVICES]
    rules = ruleset([link.router_name for link in links])
    run(lab.world.namespace(links[0].uplink), ["nft", "-f", "-"], stdin=rules)


def heal(lab: Lab) -> None:
    """They pass again; raises NamespaceError."""
    uplink = lab.world.interface(DEVICES[0], "ha").uplink
    run(lab.world.namespace(uplink), ["nft", "delete", "table", "netdev", _TABLE])
