"""A peer's packet rules, as nftables reads them. Pure.

A standby drops the TCP that reaches its data interfaces (`GATE`), as the lab's BIG-IP in
standby does; the gate opens when the peer has taken over, so that no segment meets a kernel
that does not know its connection yet.
"""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Address

from emulator.core.config import Config, Snat, VirtualServer

TO_US = 1  # mark of segments that are for our own sockets, whatever their address
LOCAL_TABLE = 66
_GATE_TABLE = "standby"
_TCP = "meta l4proto tcp"


def gate(config: Config) -> str:
    """Closes it, whether or not it is closed."""
    drop = f"iifname {_set(config.data_interfaces)} {_TCP} drop"
    return "\n".join(
        [
            f"add table ip {_GATE_TABLE}",
            f"delete table ip {_GATE_TABLE}",
            *_table(_GATE_TABLE, {"prerouting": ("filter hook prerouting priority -400", [drop])}),
            "",
        ]
    )


OPEN_GATE = f"nft delete table ip {_GATE_TABLE}"


def nat(config: Config, server: VirtualServer) -> str:
    """Kernel NAT for one virtual server: any port of its address, to a member in turn.

    A segment without a connection is reset by the kernel for want of a socket, if it is to an
    address of ours; without `reject_unmatched` it is dropped. What is to anybody else is not
    forwarded.
    """
    data = _set(config.data_interfaces)
    virtual = server.destination.address
    to_member = f"ip daddr {virtual} {_TCP} dnat to {_in_turn(server)}"
    to_server = []
    if (source := snat_address(config, server)) is not None:
        to_server = [f"ct original ip daddr {virtual} snat to {source}"]
    forward = ["ct status dnat accept", "ct state related accept"]
    unknown = [] if config.reject_unmatched else [f"iifname {data} {_TCP} drop"]
    # The device's own talk (heartbeats, the cloud, the peer's mirroring) is nobody's connection.
    chains = {
        "untracked_in": ("filter hook prerouting priority -300", [f"iifname != {data} notrack"]),
        "untracked_out": ("filter hook output priority -300", [f"oifname != {data} notrack"]),
        "to_member": ("nat hook prerouting priority -100", [to_member]),
        "to_server": ("nat hook postrouting priority 100", to_server),
        "forward": ("filter hook forward priority 0; policy drop", forward),
        "input": ("filter hook input priority 0", unknown),
    }
    return "\n".join([*_table("peer", chains), ""])


def proxy(config: Config, server: VirtualServer) -> str:
    """For a proxy's sockets: nothing is forwarded, and members that see the client's own
    address send to it through us."""
    transparent = [
        f"ip saddr {member} {_TCP} meta mark set {TO_US}"
        for member in config.transparent_members(server)
    ]
    chains = {
        "transparent": ("filter hook prerouting priority -150", transparent),
        "forward": ("filter hook forward priority 0; policy drop", []),
    }
    return "\n".join([*_table("peer", chains), ""])


def addresses(config: Config, server: VirtualServer) -> str:
    """`ip -batch`: the addresses that go where the traffic group goes, and where a mark leads."""
    lines = [f"address replace {a}/32 dev lo" for a in config.floating_addresses(server)]
    if server.standard and server.snat is Snat.NONE:
        lines.append(f"route replace local default dev lo table {LOCAL_TABLE}")
        lines.append(f"rule add fwmark {TO_US} lookup {LOCAL_TABLE}")
    return "\n".join([*lines, ""])


def snat_address(config: Config, server: VirtualServer) -> IPv4Address | None:
    """What the server sees as its peer; None: the client. Automap is the self IP of the
    members' side, a floating one first."""
    if server.snat is Snat.NONE:
        return None
    if server.snat is Snat.POOL:
        return server.snat_pool[0]
    member = server.pool[0].address
    inner = {s.interface for s in config.self_ips if any(member in net for net in s.reaches)}
    selves = [s for s in config.self_ips if s.interface in inner]
    return max(selves, key=lambda s: s.floating).address


def _in_turn(server: VirtualServer) -> str:
    members = [str(member.address) for member in server.pool]
    if len(members) == 1:
        return members[0]
    by_number = ", ".join(f"{n} : {member}" for n, member in enumerate(members))
    return f"numgen inc mod {len(members)} map {{ {by_number} }}"


def _set(interfaces: Sequence[str]) -> str:
    return f"{{ {', '.join(interfaces)} }}"


def _table(name: str, chains: dict[str, tuple[str, list[str]]]) -> list[str]:
    lines = [f"table ip {name} {{"]
    for chain, (hook, rules) in chains.items():
        lines += [f"    chain {chain} {{", f"        type {hook};"]
        lines += [f"        {rule}" for rule in rules]
        lines.append("    }")
    return [*lines, "}"]
