"""The device's packet rules and forwarding, set once before it serves.

Queue in raw PREROUTING: there the packet is not tracked yet, so holding it cannot clash
with later packets of its flow at confirmation, and an entry installed while it waits
applies to it. The nat table and the conntrack match register the hooks that make
injected entries take effect. The kernel forwards the flows of injected entries only, for
those alone are established here, translated or not; nothing but ICMP
reaches the device's own self IPs (port lockdown "Allow None").

Without SNAT the segments of a standard virtual server's members are addressed to the client:
a mark makes them the device's own.

The addresses of a standard virtual server are the kernel's own (on `lo`) and untracked: its
TCP gets what the queue lets through. Its SYN, FIN and RST segments are queued on their way
out as well: without a listener they are dropped, so a device whose process died closes no
connection, as a BIG-IP whose TMM died does not.
"""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from ipaddress import IPv4Address
from pathlib import Path

from emulator.kernel.acceleration import ACCELERATED
from emulator.kernel.rawsocket import OUT, TO_US

QUEUE = 1
COPY_QUEUE = 2  # whole packets, of mirrored standard virtual servers

_LOCAL_TABLE = "66"
Addresses = Sequence[IPv4Address]


class RulesError(RuntimeError):
    """The rules or addresses were refused; the text is the program's own."""


def ruleset(
    interfaces: Sequence[str],
    proxied: Addresses = (),
    mirrored: Addresses = (),
    transparent: Addresses = (),
    *,
    datagrams: bool = False,
) -> str:
    """The rules for a device with these data interfaces, as iptables-restore reads them.

    `proxied`: the addresses of its standard virtual servers; `mirrored`: those of them whose
    packets are to be copied whole; `transparent`: the members that see the client's address.
    `datagrams`: UDP is queued as well.
    """
    raw = [f"-A PREROUTING -p tcp -d {a} -j CT --notrack" for a in proxied]
    for member in transparent:
        raw.append(f"-A PREROUTING -p tcp -s {member} -j CT --notrack")
        raw.append(f"-A PREROUTING -p tcp -s {member} -j MARK --set-mark {TO_US}")
        if mirrored:
            raw.append(f"-A PREROUTING -p tcp -s {member} -j NFQUEUE --queue-num {COPY_QUEUE}")
    raw += [
        f"-A PREROUTING -i {i} -p tcp -d {a} -j NFQUEUE --queue-num {COPY_QUEUE}"
        for a in mirrored
        for i in interfaces
    ]
    seen = f"-m mark ! --mark {ACCELERATED} -j NFQUEUE --queue-num {QUEUE}"
    raw += [f"-A PREROUTING -i {i} -p tcp {seen}" for i in interfaces]
    if datagrams:
        raw += [f"-A PREROUTING -i {i} -p udp -j NFQUEUE --queue-num {QUEUE}" for i in interfaces]
    raw += [f"-A OUTPUT -m mark --mark {mark} -j CT --notrack" for mark in (OUT, TO_US)]
    ours = [(f"-s {a}", a in mirrored) for a in proxied]
    ours += [(f"-d {m}", bool(mirrored)) for m in transparent]
    for match, copied in ours:
        raw.append(f"-A OUTPUT -p tcp {match} -j CT --notrack")
        ends = f"-A OUTPUT -p tcp {match} ! --tcp-flags SYN,FIN,RST NONE"
        raw.append(f"{ends} -j NFQUEUE --queue-num {COPY_QUEUE if copied else QUEUE}")
    lines = ["*raw", *raw, "COMMIT", "*nat", ":PREROUTING ACCEPT", ":POSTROUTING ACCEPT", "COMMIT"]
    lines += ["*filter", ":FORWARD DROP"]
    lines += ["-A FORWARD -m conntrack --ctstate ESTABLISHED,DNAT,SNAT,RELATED -j ACCEPT"]
    lines += [f"-A INPUT -p tcp -d {a} -j ACCEPT" for a in proxied]
    lines.append(f"-A INPUT -m mark --mark {TO_US} -j ACCEPT")
    for interface in interfaces:
        lines += [f"-A INPUT -i {interface} -p icmp -j ACCEPT", f"-A INPUT -i {interface} -j DROP"]
    return "\n".join([*lines, "COMMIT", ""])


def apply(
    interfaces: Sequence[str],
    proxied: Addresses = (),
    mirrored: Addresses = (),
    floating: Addresses = (),
    transparent: Addresses = (),
    *,
    datagrams: bool = False,
) -> None:
    """Install the rules in the caller's namespace and start forwarding; raises RulesError.

    `floating`: those of `proxied` that no interface has; they are put on `lo`.
    """
    if proxied:
        rule = ["fwmark", str(TO_US), "lookup", _LOCAL_TABLE]
        # An earlier process of this device may have left it.
        subprocess.run(["ip", "rule", "delete", *rule], capture_output=True, check=False)
        _run(["ip", "rule", "add", *rule], "")
        _run(["ip", "route", "replace", "local", "default", "dev", "lo", "table", _LOCAL_TABLE], "")
    put_on_lo(floating)
    _run(
        ["iptables-restore"],
        ruleset(interfaces, proxied, mirrored, transparent, datagrams=datagrams),
    )
    Path("/proc/sys/net/ipv4/ip_forward").write_text("1")
    # After a restore the first acknowledgement looks like that of a spurious time-out (RFC
    # 5682): the kernel would repeat one segment per time-out instead of the whole queue.
    Path("/proc/sys/net/ipv4/tcp_frto").write_text("0")
    # A flow may have gone by the other device for a while: its numbers are not where they were.
    Path("/proc/sys/net/netfilter/nf_conntrack_tcp_be_liberal").write_text("1")


def put_on_lo(addresses: Addresses) -> None:
    """Make these the kernel's own; raises RulesError."""
    for address in addresses:
        _run(["ip", "address", "replace", f"{address}/32", "dev", "lo"], "")


def _run(argv: list[str], stdin: str) -> None:
    done = subprocess.run(argv, input=stdin, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RulesError(done.stderr.strip() or f"{argv[0]} exited {done.returncode}")
