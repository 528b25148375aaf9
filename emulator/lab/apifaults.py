"""An outage of the cloud's API by hand: the router forwards nothing to it. A scenario's own
outage (`cloud.api.outage`) is the API's, which refuses connections; this one is made from
outside, so that it can begin and end at any time, and whoever asks waits for an answer.
"""

from __future__ import annotations

from emulator.lab.instance import Lab
from netns.execute import run
from netns.topology import API_PORT, ROUTER

_TABLE = "api_fault"


def api_fault(lab: Lab) -> bool:
    """Whether an outage is in force. Raises NamespaceError."""
    tables = run(lab.world.namespace(ROUTER), ["nft", "list", "tables"])
    return f"table ip {_TABLE}" in tables.splitlines()


def toggle_api(lab: Lab) -> bool:
    """Begin or end the outage; whether it is in force now. Raises NamespaceError, ValueError on
    premises, where there is no API."""
    if "api" not in lab.world.nodes:
        raise ValueError("there is no cloud API in this world")
    router = lab.world.namespace(ROUTER)
    if api_fault(lab):
        run(router, ["nft", "delete", "table", "ip", _TABLE])
        return False
    address = lab.world.interface("api", "eth0").address
    rule = f"ip daddr {address} tcp dport {API_PORT} drop"
    chain = f"chain forward {{ type filter hook forward priority 10; policy accept; {rule}; }}"
    run(router, ["nft", "-f", "-"], stdin=f"table ip {_TABLE} {{\n{chain}\n}}\n")
    return True
