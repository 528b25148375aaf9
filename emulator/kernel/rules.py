"""The device's packet rules and forwarding, set once before it serves.

Queue in raw PREROUTING: there the packet is not tracked yet, so holding it cannot clash
with later packets of its flow at confirmation, and an entry installed while it waits
applies to it. The nat table and the conntrack match register the hooks that make
injected entries take effect. The kernel forwards translated flows only; nothing but ICMP
reaches the device's own self IPs (port lockdown "Allow None").
"""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

QUEUE = 1


class RulesError(RuntimeError):
    """iptables-restore refused the rules; the text is its own."""


def ruleset(interfaces: Sequence[str]) -> str:
    """The rules for a device with these data interfaces, as iptables-restore reads them."""
    raw = [f"-A PREROUTING -i {i} -p tcp -j NFQUEUE --queue-num {QUEUE}" for i in interfaces]
    # Resets of the device's own making belong to no tracked connection.
    raw += [f"-A OUTPUT -o {i} -p tcp --tcp-flags RST RST -j CT --notrack" for i in interfaces]
    lines = ["*raw", *raw, "COMMIT", "*nat", ":PREROUTING ACCEPT", ":POSTROUTING ACCEPT", "COMMIT"]
    lines += ["*filter", ":FORWARD DROP"]
    lines += ["-A FORWARD -m conntrack --ctstate DNAT,SNAT,RELATED -j ACCEPT"]
    for interface in interfaces:
        lines += [f"-A INPUT -i {interface} -p icmp -j ACCEPT", f"-A INPUT -i {interface} -j DROP"]
    return "\n".join([*lines, "COMMIT", ""])


def apply(interfaces: Sequence[str]) -> None:
    """Install the rules in the caller's namespace and start forwarding; raises RulesError."""
    done = subprocess.run(
        ["iptables-restore"], input=ruleset(interfaces), capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RulesError(done.stderr.strip() or f"iptables-restore exited {done.returncode}")
    Path("/proc/sys/net/ipv4/ip_forward").write_text("1")
