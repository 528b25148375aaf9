"""Real servers in the backends, and what their programs find in /etc.

OpenSSH's sshd, inetutils' telnetd behind inetd, inetd's own echo, `cat` on two ports more,
and some of ours; vsftpd, PostgreSQL and the fleet's where a session needs them. Names resolve
from a hosts file only: a resolver that asked a name server would hang in a sealed world.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from emulator.lab.control_plane import aws_files
from emulator.lab.deployment import BACKENDS, entry_address
from emulator.lab.ownership import write_private
from emulator.lab.settings.scenario import Scenario
from emulator.lab.workload import ftp, postgresql
from emulator.lab.workload.applications import PORTS
from emulator.lab.workload.programs import SECOND_CLIENT_NAME
from netns.execute import spawn
from netns.topology import World

SSHD = "/usr/sbin/sshd"
INETD = "/usr/sbin/inetutils-inetd"
TELNETD = "/usr/sbin/telnetd"
CAT = "/bin/cat"
_SHORT_SERVERS = [sys.executable, "-m", "emulator.lab.workload.shortservers"]


def write_keys(folder: Path) -> None:
    """A key pair for the user and one for the hosts."""
    for name in ("key", "host_key"):
        argv = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "mirrorlab"]
        subprocess.run([*argv, "-f", str(folder / name)], check=True, capture_output=True)


def write_etc(world: World, scenario: Scenario, folder: Path) -> None:
    """hosts, nsswitch.conf, and an ssh_config with which `ssh vip` just works."""
    etc = folder / "etc"
    (etc / "ssh").mkdir(parents=True, exist_ok=True)
    hosts = ["127.0.0.1 localhost", f"{entry_address(scenario)} vip"]
    hosts += [f"{address} snat-pool" for address in scenario.virtual_server.snat_pool]
    client = world.interface("client", "eth0").id
    hosts += [f"{a} {SECOND_CLIENT_NAME}" for a, i in world.secondary.items() if i == client]
    for interface in world.interfaces:
        suffix = "" if interface.name == "eth0" else f"-{interface.name}"
        hosts.append(f"{interface.address} {interface.node}{suffix}")
    (etc / "hosts").write_text("\n".join(hosts) + "\n")
    (etc / "nsswitch.conf").write_text(
        "passwd: files\ngroup: files\nshadow: files\nhosts: files\nservices: files\n"
    )
    _write_accounts(folder, etc)
    (folder / "aws").mkdir(exist_ok=True)
    for name, content in aws_files(scenario, world).items():
        write_private(folder / "aws" / name, content.encode())
    (etc / "ssh" / "ssh_config").write_text(
        f"Host *\n  User root\n  IdentityFile {folder}/key\n  IdentitiesOnly yes\n"
        "  StrictHostKeyChecking no\n  UserKnownHostsFile /dev/null\n  LogLevel ERROR\n"
        + _ssh_hosts(scenario)
    )


def _ssh_hosts(scenario: Scenario) -> str:
    """`ssh keepalive` and `ssh bulk`: the virtual server at ports of their own, by which captures
    know them."""
    alive = scenario.endpoints.ssh_keepalive
    host = f"  HostName {entry_address(scenario)}\n  Port "
    return (
        f"Host keepalive\n{host}{PORTS['ssh-keepalive']}\n"
        f"  ServerAliveInterval {alive.interval_s}\n  ServerAliveCountMax {alive.count}\n"
        f"Host bulk\n{host}{PORTS['ssh-bulk']}\n"
    )


def _write_accounts(folder: Path, etc: Path) -> None:
    """root with an empty home and no password: sshd refuses a locked account, and a start-up
    file of the host's root must not put its words into a session."""
    home = folder / "home"
    home.mkdir(exist_ok=True)
    lines = Path("/etc/passwd").read_text().splitlines()
    others = [line for line in lines if not line.startswith("root:")]
    shell = "/bin/bash" if Path("/bin/bash").exists() else "/bin/sh"
    (etc / "passwd").write_text("\n".join([f"root:x:0:0:root:{home}:{shell}", *others]) + "\n")
    shadow = etc / "shadow"
    shadow.touch(mode=0o600)
    shadow.write_text("root:*:19000:0:99999:7:::\n")


def aws_environment(folder: Path, environment: Mapping[str, str]) -> dict[str, str]:
    """An environment in which boto3 and the AWS CLI ask the lab's own cloud, as its operator."""
    kept = {k: v for k, v in environment.items() if not k.startswith("AWS_")}
    here = str(Path(sys.executable).parent)
    return {
        **kept,
        "PATH": f"{here}:{kept.get('PATH', '/usr/sbin:/usr/bin:/sbin:/bin')}",
        "AWS_CONFIG_FILE": str(folder / "aws" / "config"),
        "AWS_SHARED_CREDENTIALS_FILE": str(folder / "aws" / "credentials"),
        "AWS_EC2_METADATA_DISABLED": "true",
    }


def start_services(world: World, folder: Path, scenario: Scenario) -> list[subprocess.Popen[bytes]]:
    """Start every backend's servers, and on the pool's first member those of the sessions."""
    started = []
    Path("/run/sshd").mkdir(exist_ok=True)  # sshd's privilege separation insists on it
    for node in BACKENDS:
        address = str(world.interface(node, "eth0").address)
        sshd = folder / f"{node}-sshd.conf"
        sshd.write_text(
            f"ListenAddress {address}:22\nListenAddress {address}:{PORTS['ssh-keepalive']}\n"
            f"ListenAddress {address}:{PORTS['ssh-bulk']}\nHostKey {folder}/host_key\n"
            f"AuthorizedKeysFile {folder}/key.pub\nPidFile none\nUsePAM no\nStrictModes no\n"
            "UseDNS no\nPermitRootLogin yes\nPasswordAuthentication no\nPrintMotd no\n"
        )
        inetd = folder / f"{node}-inetd.conf"
        inetd.write_text(
            f"{address}:telnet stream tcp nowait root {TELNETD} telnetd -E /bin/sh\n"
            f"{address}:echo stream tcp nowait root internal\n"
            f"{address}:{PORTS['bulk']} stream tcp nowait root {CAT} cat\n"
            f"{address}:{PORTS['idle']} stream tcp nowait root {CAT} cat\n"
        )
        pid = folder / f"{node}-inetd.pid"
        commands: dict[str, list[str | Path]] = {
            "sshd": [SSHD, "-D", "-e", "-f", sshd],
            "inetd": [INETD, "-d", f"-p{pid}", inetd],
            "ownservers": [sys.executable, "-m", "emulator.lab.workload.ownservers", address],
            "shortservers": [*_SHORT_SERVERS, node, address],
        }
        if node == scenario.virtual_server.pool[0]:
            commands |= _special(node, address, folder, scenario)
        for name, argv in commands.items():
            with (folder / f"{node}-{name}.log").open("ab") as log:
                process = spawn(world.namespace(node), argv, log=log, etc=folder / "etc")
            started.append(process)
    return started


def _special(
    node: str, address: str, folder: Path, scenario: Scenario
) -> dict[str, list[str | Path]]:
    """The servers that only some sessions need."""
    found: dict[str, list[str | Path]] = {}
    for session in scenario.sessions:
        if session == "fleet":
            module = "emulator.lab.workload.fleet"
            found[session] = [sys.executable, "-m", module, "server", address]
        elif session in ("ftp", "ftp-active"):
            found[session] = ftp.server(session, node, address, folder, entry_address(scenario))
        elif session == "postgresql":
            found[session] = postgresql.server(node, address, folder)
    return found


def listening(ports: set[int]) -> bool:
    """Whether all `ports` are listened on in the calling thread's namespace."""
    lines = Path("/proc/thread-self/net/tcp").read_text().splitlines()[1:]
    found = {int(line.split()[1].split(":")[1], 16) for line in lines if line.split()[3] == "0A"}
    return ports <= found
