"""Faults of the mirroring channel, made in the router, where the HA network is.

    bigip-a:ha --- a-ha [router] b-ha --- bigip-b:ha

Losses are a rule of the router's; slowness is a class of its egress queues of which the
channel alone is a member (htb tells it from the heartbeats, tbf slows it down), so that the
channel's TCP finds a link of that rate with a short queue, and nothing else finds it slow.
"""

from __future__ import annotations

from emulator.lab.deployment import DEVICES
from emulator.lab.instance import Lab
from emulator.lab.settings.mirror_channel import MirrorChannel
from netns.execute import run
from netns.topology import ROUTER

_TABLE = "mirror_fault"
_QUEUE_BYTES = 64_000  # of the slow link: longer queues would be delay, not slowness
_BURST_BYTES = 16_000
_PORT = 1029  # the pair's one traffic group


def ruleset(fault: MirrorChannel, names: dict[str, str]) -> str:
    """What the router does; `names`: by device, the router's interface that leads to it."""
    active, standby = (f'"{names[node]}"' for node in DEVICES)
    both = f"{{ {active}, {standby} }}"
    where = {"cut": both, "to-standby-lost": standby, "to-active-lost": active, "slow": both}
    out = where[fault.fault]
    what = "meta priority set 1:10" if fault.fault == "slow" else "drop"
    rules = "".join(f"    oifname {out} tcp {end} {_PORT} {what}\n" for end in ("sport", "dport"))
    return (
        f"table ip {_TABLE} {{\n    chain forward {{\n"
        f"    type filter hook forward priority 10; policy accept;\n{rules}    }}\n}}\n"
    )


def queues(name: str, bits_per_s: int) -> list[list[str]]:
    """The tc commands that make what has priority 1:10 slow on the router's `name`."""
    burst = max(_BURST_BYTES, bits_per_s // 8 // 250)  # what passes between two ticks
    limit = max(_QUEUE_BYTES, 2 * burst)
    return [
        ["qdisc", "add", "dev", name, "root", "handle", "1:", "htb", "default", "20", "r2q", "10"],
        _class(name, "1:10"),
        _class(name, "1:20"),
        [
            "qdisc", "add", "dev", name, "parent", "1:10", "handle", "10:", "tbf",
            "rate", f"{bits_per_s}bit", "burst", str(burst), "limit", str(limit),
        ],
    ]  # fmt: skip


def inject(lab: Lab, fault: MirrorChannel) -> None:
    """From now on, instead of any earlier one; raises NamespaceError."""
    heal(lab)
    router = lab.world.namespace(ROUTER)
    names = {node: lab.world.interface(node, "ha").router_name for node in DEVICES}
    if fault.bits_per_s is not None:
        for name in names.values():
            for command in queues(name, fault.bits_per_s):
                run(router, ["tc", *command])
    run(router, ["nft", "-f", "-"], stdin=ruleset(fault, names))


def heal(lab: Lab) -> bool:
    """Whatever fault there is ends; False when there is none. Raises NamespaceError."""
    router = lab.world.namespace(ROUTER)
    harmed = present(lab)
    if harmed:
        run(router, ["nft", "delete", "table", "ip", _TABLE])
    for node in DEVICES:
        name = lab.world.interface(node, "ha").router_name
        if "htb 1:" in run(router, ["tc", "qdisc", "show", "dev", name]):
            run(router, ["tc", "qdisc", "delete", "dev", name, "root"])
    return harmed


def present(lab: Lab) -> bool:
    """Whether a fault is in force. Raises NamespaceError."""
    tables = run(lab.world.namespace(ROUTER), ["nft", "list", "tables"])
    return f"table ip {_TABLE}" in tables.splitlines()


def _class(name: str, number: str) -> list[str]:
    return [
        "class", "add", "dev", name, "parent", "1:", "classid", number,
        "htb", "rate", "10gbit", "quantum", "60000",
    ]  # fmt: skip
