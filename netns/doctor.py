"""Does this host have what the lab needs? Probes in a namespace without a name; changes nothing.

Each check tries the thing itself rather than a version or a configuration file, and says
how to get what is missing.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from netns.execute import NamespaceError, call_apart, run

PACKAGES = {
    "ip": "iproute2",
    "tc": "iproute2",
    "nft": "nftables",
    "iptables-restore": "iptables",
    "dumpcap": "wireshark-common",
    "ssh": "openssh-client",
    "ssh-keygen": "openssh-client",
    "sshd": "openssh-server",
    "telnet": "inetutils-telnet",
    "telnetd": "inetutils-telnetd",
    "inetutils-inetd": "inetutils-inetd",
    "unshare": "util-linux",
}
# Programs that only some sessions need.
OPTIONAL = {"vsftpd": "vsftpd", "postgres": "postgresql", "psql": "postgresql"}
_NO_NFQUEUE = "a kernel with xt_NFQUEUE (CONFIG_NETFILTER_XT_TARGET_NFQUEUE); modprobe xt_NFQUEUE"
_TCP_REPAIR = 19


@dataclass(frozen=True)
class Check:
    """`needed`: the lab cannot run without it. `remedy` says how to get it."""

    name: str
    ok: bool
    detail: str
    remedy: str = ""
    needed: bool = True


def examine() -> list[Check]:
    """Every check; those that need root are reported as not done without it."""
    checks = [_root(), *_programs(PACKAGES, needed=True), *_programs(OPTIONAL, needed=False)]
    if os.geteuid() != 0:
        return checks
    try:
        checks += call_apart(_features)
    except NamespaceError as error:
        checks.append(Check("network namespaces", False, str(error), "a kernel with CONFIG_NET_NS"))
    return checks


def missing(checks: list[Check], programs: Collection[str] = ()) -> list[Check]:
    """What the lab cannot run without, nor without these of the optional programs."""
    return [c for c in checks if (c.needed or c.name in programs) and not c.ok]


def _root() -> Check:
    ok = os.geteuid() == 0
    return Check("root", ok, "yes" if ok else "no", "run it with sudo")


def _programs(packages: Mapping[str, str], *, needed: bool) -> list[Check]:
    # Debian keeps a database server's programs out of everybody's way, a version a folder.
    versions = sorted(map(str, Path("/usr/lib/postgresql").glob("*/bin")), reverse=True)
    path = ":".join([*versions, os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])
    found = []
    for name, package in packages.items():
        where = shutil.which(name, path=path)
        remedy = f"the Debian package {package}"
        found.append(Check(name, where is not None, where or "not found", remedy, needed))
    return found


def _features() -> list[Check]:
    probes: list[tuple[str, str, bool, Callable[[], str]]] = [
        ("veth", "a kernel with CONFIG_VETH", True, _veth),
        ("NFQUEUE", _NO_NFQUEUE, True, _nfqueue),
        ("conntrack and NAT", "a kernel with CONFIG_NF_NAT and xt_conntrack", True, _nat),
        ("ctnetlink", "a kernel with CONFIG_NF_CT_NETLINK", True, _ctnetlink),
        ("nftables", "a kernel with CONFIG_NF_TABLES and named counters", True, _nftables),
        ("PID namespaces", "a kernel with CONFIG_PID_NS", True, _pid_namespace),
        ("bridge", "a kernel with CONFIG_BRIDGE, for the world onprem", False, _bridge),
        ("TCP_REPAIR", "a kernel with CONFIG_CHECKPOINT_RESTORE", False, _tcp_repair),
        ("tcp_rto_max_ms", "Linux 6.15 or later", False, _rto_max),
        ("tcp_rto_min_us", "Linux 6.11 or later, for Windows-like ends", False, _rto_min),
    ]
    checks = []
    for name, remedy, needed, probe in probes:
        try:
            checks.append(Check(name, True, probe() or "works", remedy, needed))
        except (OSError, NamespaceError, subprocess.TimeoutExpired) as error:
            checks.append(Check(name, False, str(error), remedy, needed))
    return checks


def _veth() -> str:
    run(None, ["ip", "link", "add", "p0", "type", "veth", "peer", "name", "p1"])
    return ""


def _bridge() -> str:
    run(None, ["ip", "link", "add", "bridge0", "type", "bridge"])
    return ""


def _iptables(table: str, rule: str) -> str:
    text = f"*{table}\n{rule}\nCOMMIT\n"
    run(None, ["iptables-restore", "--noflush"], stdin=text)
    return ""


def _nfqueue() -> str:
    return _iptables("raw", "-A PREROUTING -p tcp -j NFQUEUE --queue-num 1")


def _nat() -> str:
    _iptables("nat", "-A PREROUTING -p tcp --dport 1 -j DNAT --to 192.0.2.1")
    rule = "-A FORWARD -m conntrack --ctstate DNAT,SNAT,RELATED -j ACCEPT"
    return _iptables("filter", rule)


def _ctnetlink() -> str:
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 12):
        return ""


def _nftables() -> str:
    text = "table ip probe {\n counter some/name-x { }\n set s { type ifname; }\n}\n"
    run(None, ["nft", "-f", "-"], stdin=text)
    return ""


def _pid_namespace() -> str:
    run(None, ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc", "true"])
    return ""


def _tcp_repair() -> str:
    with socket.socket() as handle:
        handle.setsockopt(socket.IPPROTO_TCP, _TCP_REPAIR, 1)
    return ""


def _rto_max() -> str:
    return Path("/proc/sys/net/ipv4/tcp_rto_max_ms").read_text().strip() + " ms"


def _rto_min() -> str:
    return Path("/proc/sys/net/ipv4/tcp_rto_min_us").read_text().strip() + " us"
