"""conntrackd's configuration, and what it is told when the role changes. Pure.

Mode FTFW, UDP unicast between the HA interfaces; documented settings otherwise
(conntrackd.conf(5)). The standby keeps what the active device sends it in its external cache;
on becoming active it commits that cache to the kernel, as conntrack-tools' own notify script
for keepalived does (primary-backup.sh).
"""

from __future__ import annotations

from emulator.core.config import Config
from emulator.lab.peers.rules import OPEN_GATE

PROGRAM = "conntrackd"
PORT = 3780
HA_INTERFACE = "ha"


def configuration(config: Config, base: str) -> str:
    """conntrackd.conf of one device; `base`: how the paths of its lock and control
    socket begin.

    The log goes to standard output: the program runs in the foreground.
    """
    return f"""\
Sync {{
    Mode FTFW {{
        ResendQueueSize 131072
        ACKWindowSize 300
    }}
    UDP {{
        IPv4_address {config.ha_address}
        IPv4_Destination_Address {config.peer_ha_address}
        Port {PORT}
        Interface {HA_INTERFACE}
        SndSocketBuffer 1249280
        RcvSocketBuffer 1249280
        Checksum on
    }}
}}
General {{
    HashSize 32768
    HashLimit 131072
    LogFile off
    Syslog off
    LockFile {base}.lock
    UNIX {{
        Path {base}.ctl
    }}
    NetlinkBufferSize 2097152
    NetlinkBufferSizeMaxGrowth 8388608
    Filter From Kernelspace {{
        Protocol Accept {{
            TCP
        }}
        Address Ignore {{
            IPv4_address 127.0.0.1
        }}
    }}
}}
"""


def role_script(gate: str, configuration: str | None) -> str:
    """A shell script, called with `active` or `standby`; `gate`: the file of rules that closes it;
    `configuration`: conntrackd's, None where nothing is mirrored."""
    told = f"{PROGRAM} -C {configuration}"
    # Commit the peer's connections, forget both caches, fill ours from the kernel, send it all.
    active = [f"    {told} {flag}" for flag in ("-c", "-f", "-R", "-B")]
    # Let old entries expire soon, ask the new active device for its connections.
    standby = [f"    {told} {flag}" for flag in ("-t", "-n")]
    if configuration is None:
        active = standby = []
    lines = [
        "#!/bin/sh",
        "set -e",
        'case "$1" in',
        "active)",
        *active,
        f"    {OPEN_GATE}",
        "    ;;",
    ]
    lines += ["standby)", f"    nft -f {gate}", *standby, "    ;;", "*)", "    exit 2", "    ;;"]
    return "\n".join([*lines, "esac", ""])


def entries(dump: str) -> int:
    """How many established connections a cache holds, from `conntrackd -i` or `-e`."""
    return sum("ESTABLISHED" in line.split() for line in dump.splitlines())
