"""OpenSSH's own regression scripts through the virtual server, with a failover during each.

`python -m emulator.lab.campaign.openssh [--kind fastL4|standard] [--only NAME ...] [--patience S]`

The scripts are Debian's package openssh-tests, run as they are, each in a world where client and
server are two hosts:

    client namespace                         the pair               backend-1
    the script, ssh, scp, sftp  --tcp-->  virtual server  --tcp-->  sshd, sftp-server
       127.0.0.1:4242 (sshd)       is sent to the virtual server     10.0.31.100:4242
       `sshd -i`, sftp-server at the end of a pipe: by `relay`       10.0.31.100:4343

The address the scripts know, 127.0.0.1, is translated in the client's namespace to that of the
virtual server; the folder of a script is in both (namespaces share the file system). Scripts
that take 127.0.0.1 at both ends for one host get an sshd that lives in the client's namespace
and whose connections, and no others, are sockets of the backend's. While a
script runs, the active device loses power each time a connection is open, until it has failed
over --failovers times; the dead one is switched on again and stands by. So the devices take turns.

Prints a line a script: ok, FAILED or skipped and why; failovers, connections carried over them,
connections and bytes that went through the pair, by the devices' journals and interfaces. Exit
status: 0 all that ran were ok, each with a failover; 1 not so; 4 a fault of the lab; 130
interrupted: what there is so far, nothing left behind.
"""

from __future__ import annotations

import argparse
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

from emulator.lab.campaign import relay
from emulator.lab.campaign.opensshlist import ONE_HOST, SCRIPTS, SKIPPED
from emulator.lab.deployment import DEVICES
from emulator.lab.faults import silence_ends, trigger
from emulator.lab.instance import Lab
from emulator.lab.interrupts import unwind_on_signals
from emulator.lab.lookout import flows
from emulator.lab.settings.scenario import How, Scenario
from emulator.lab.wait import LabFault, wait_until
from emulator.lab.workload.services import listening
from netns.build import BuildError
from netns.execute import NamespaceError, call_in, command_in, run, spawn

REGRESS = Path("/usr/lib/openssh/regress")
SFTP_SERVER = "/usr/lib/openssh/sftp-server"
SSHD_PORT, RELAY_PORT = 4242, 4343
ATTEMPTS = 3  # of a script that is over before the failover
_OK, _FAILED, _MISSED = "ok", "FAILED", "no failover"
_PYTHON = f"{sys.executable} -I -S {relay.__file__}"
_TO_VIRTUAL = """
table ip regress {{
    chain out {{
        type nat hook output priority -100; policy accept;
        ip daddr 127.0.0.1 tcp dport {{ {sshd}, {relay} }} dnat to {virtual}
    }}
    chain post {{
        type nat hook postrouting priority 100; policy accept;
        ip saddr 127.0.0.1 ip daddr {virtual} masquerade
    }}
}}
"""
_SSHD = """#!/bin/sh
# sshd as the scripts start it: at the end of a pipe, to have a look at its settings, as a server.
for word; do
    case $word in
    -i) exec {relay} 127.0.0.1 {port} ${{ONE_HOST:+{enter}}} /usr/sbin/sshd "$@" ;;
    -t|-T|-G|-V) exec /usr/sbin/sshd "$@" ;;
    esac
done
if [ -n "$ONE_HOST" ]; then
    exec ip netns exec {namespace} {relay} --inetd {address} {sshd} "$OBJ/pidfile" \
        {enter} /usr/sbin/sshd -i "$@"
fi
exec ip netns exec {namespace} /usr/sbin/sshd -o ListenAddress={address} "$@"
"""
_SFTP = """#!/bin/sh
# By a pipe in the client's namespace; sshd, in the backend's, runs the real one.
[ "$(readlink /proc/self/ns/net)" = "net:[{client}]" ] || exec {real} "$@"
exec {relay} 127.0.0.1 {port} {real} "$@"
"""


@dataclass
class Row:
    """What came of one script."""

    name: str
    verdict: str
    seconds: float = 0.0
    failovers: int = 0
    carried: int = 0  # connections open when the active device died
    connections: int = 0
    octets: int = 0
    said: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        if self.verdict == "skipped":
            return f"{self.name:<20} skipped      {self.said[0]}"
        return (
            f"{self.name:<20} {self.verdict:<11} {self.seconds:6.1f} s  "
            f"{self.failovers} failovers, {self.carried:3} carried over, "
            f"{self.connections:4} connections, {self.octets / 1e6:8.1f} MB"
        )


class Pair:
    """A lab with the scripts' folder in it."""

    def __init__(self, kind: str, folder: Path) -> None:
        server = {"type": kind, "snat": "pool", "mirroring": True}
        if kind == "standard":
            server["commit"] = "sync"
        scenario = Scenario.model_validate(
            {
                "name": "openssh", "title": "openssh", "virtual_server": server,
                "sessions": ["ssh"], "devices": {"failover_timeout_s": 1.2},
                "cloud": {"propagation_delay_s": 0.05},
            }
        )  # fmt: skip
        self.lab = Lab(f"o{secrets.token_hex(3)}", scenario, folder)
        self.active = 0
        self.scripts = self.lab.folder / "regress"

    def up(self) -> None:
        """Raises LabFault."""
        lab = self.lab
        lab.create()
        lab.start()
        virtual = str(lab.scenario.virtual_server.destination)
        client, backend = (lab.world.namespace(node) for node in ("client", "backend-1"))
        address = str(lab.world.interface("backend-1", "eth0").address)
        rules = _TO_VIRTUAL.format(virtual=virtual, sshd=SSHD_PORT, relay=RELAY_PORT)
        run(client, ["sysctl", "-qw", "net.ipv4.conf.all.route_localnet=1"])
        run(client, ["nft", "-f", "-"], stdin=rules)
        argv = [*_PYTHON.split(), "--serve", address, str(RELAY_PORT)]
        etc = lab.folder / "etc"
        spawn(backend, argv, log=subprocess.DEVNULL, tree=False, etc=etc)
        wait_until(
            "the relay", lambda: call_in(backend, lambda: listening({RELAY_PORT})), timeout_s=20
        )
        shutil.copytree(REGRESS, self.scripts, symlinks=True)
        inode = call_in(client, lambda: os.stat("/proc/thread-self/ns/net").st_ino)
        self._program("sshd", _SSHD.format(
            relay=_PYTHON, port=RELAY_PORT, namespace=backend, address=address,
            enter=f"nsenter --net=/run/netns/{client}", sshd=SSHD_PORT,
        ))  # fmt: skip
        self._program("sftp-server", _SFTP.format(
            relay=_PYTHON, port=RELAY_PORT, client=inode, real=SFTP_SERVER,
        ))  # fmt: skip
        lab.wait_control_plane()

    def _program(self, name: str, text: str) -> None:
        path = self.lab.folder / name
        path.write_text(text)
        path.chmod(0o755)

    def script(self, name: str, patience_s: float, failovers: int) -> Row:
        """Run one, with failovers; again, where it was over too soon for one."""
        for _ in range(ATTEMPTS):
            row = self._once(name, patience_s, failovers)
            if row.verdict != _MISSED:
                break
        return row

    def _once(self, name: str, patience_s: float, failovers: int) -> Row:
        before, octets = self._created(), self._octets()
        began = time.monotonic()
        process = self._start(name)
        row = Row(name, _FAILED)
        over = threading.Event()

        def finish() -> None:
            try:
                text, _ = process.communicate(timeout=patience_s)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                text, _ = process.communicate()
                text += f"\nnot over after {patience_s:g} s"
            row.said = text.strip().splitlines()
            row.seconds = time.monotonic() - began
            over.set()

        waiting = threading.Thread(target=finish, daemon=True)
        waiting.start()
        try:
            while not over.is_set() and row.failovers < failovers:
                self._fail_over(row, over, began)
            over.wait(patience_s + 10)
        finally:
            if not over.is_set():  # an interrupt, a fault of the lab: nobody waits for it
                os.killpg(process.pid, signal.SIGKILL)
            over.wait(10)
        skipped = [line for line in row.said if "skip" in line.lower()]
        if process.returncode == 0:
            row.verdict = _OK if row.failovers or not failovers else _MISSED
            if skipped and not row.failovers:
                row.verdict, row.said = "skipped", [f"by itself: {skipped[0]}"]
        row.connections = self._created() - before
        row.octets = self._octets() - octets
        return row

    def _start(self, name: str) -> subprocess.Popen[str]:
        lab, here = self.lab, self.scripts
        environment = {
            "PATH": os.environ["PATH"], "SUDO": "", "TEST_SHELL": "sh", "TEST_SSH_SSH": "ssh",
            "TEST_SSH_SSHD": str(lab.folder / "sshd"), "BUILDDIR": str(here), "OBJ": str(here),
            "TEST_SSH_SFTPSERVER": str(lab.folder / "sftp-server"),
            "HOME": str(lab.folder / "home"),
            "TEST_SSH_PLINK": "plink", "TEST_SSH_PUTTYGEN": "puttygen", "TEST_SSH_CONCH": "conch3",
            "TEST_SSH_UNSAFE_PERMISSIONS": "1", "TEST_SSH_PORT": str(SSHD_PORT),
            "LOGNAME": "root", "USER": "root", "TMPDIR": str(lab.folder),
        }  # fmt: skip
        (here / "pidfile").unlink(missing_ok=True)  # of a script that was killed
        if name in ONE_HOST:
            environment["ONE_HOST"] = "yes"
        argv: list[str | Path] = ["sh", here / "test-exec.sh", here, here / f"{name}.sh"]
        command = command_in(lab.world.namespace("client"), argv, tree=True, etc=lab.folder / "etc")
        with Path("/dev/zero").open("rb") as zero:  # as the package's own run-tests has it
            return subprocess.Popen(
                command, cwd=here, env=environment, stdin=zero, text=True, errors="replace",
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip

    def _fail_over(self, row: Row, over: threading.Event, began: float) -> None:
        """Power off the active device as soon as a connection is open, revive it; raises
        LabFault. Nothing happens when the script is over first."""
        dead, other = DEVICES[self.active], DEVICES[1 - self.active]
        while not (open_now := _busy(flows(self.lab, dead), time.monotonic() - began)):
            if over.wait(0.02):
                return
        trigger(self.lab, dead, How.POWER_OFF)
        wait_until(
            f"{other} to be active",
            lambda: self.lab.status(other).get("role") == "active", timeout_s=30,
        )  # fmt: skip
        self.active = 1 - self.active
        if not over.is_set():  # nothing it had under way could have come to its end before
            row.failovers += 1
            row.carried += len(open_now)
        silence_ends(self.lab, dead)
        self.lab.start_device(dead)

        def ready() -> bool:
            self.lab.check_processes()
            return all(self.lab.status(d).get("mirror_channel") == "up" for d in DEVICES)

        wait_until("the channel to be up", ready, timeout_s=40)
        wait_until(
            f"{dead} to be given the connections",
            lambda: over.is_set() or self._given(other, dead), timeout_s=60,
        )  # fmt: skip
        self.lab.wait_control_plane(other)

    def _given(self, active: str, standby: str) -> bool:
        """Whether the standby has every open connection: one with bytes beyond a gap is given
        once the gap is closed, and only then may the active device fail."""
        there = {_name(flow) for flow in flows(self.lab, active) if flow["state"] == "open"}
        return there <= {_name(flow) for flow in flows(self.lab, standby)}

    def _created(self) -> int:
        """Connections the devices have taken up so far, by their journals."""
        return sum(r["what"] == "flow-created" for d in DEVICES for r in self.lab.journal(d))

    def _octets(self) -> int:
        """What came in by the devices' external interfaces so far."""
        return sum(call_in(self.lab.world.namespace(device), received) for device in DEVICES)


def _name(flow: dict[str, object]) -> str:
    return f"{flow['client']} {flow['virtual']}"


def _busy(table: list[dict[str, object]], since_s: float) -> list[dict[str, object]]:
    """The script's own connections that are in use: those of the one before may be closing."""
    return [
        flow
        for flow in table
        if float(str(flow["idle_s"])) < 1.0 and float(str(flow["age_s"])) < since_s
    ]


def received() -> int:
    """Bytes the calling thread's namespace has received by `ext`."""
    for line in Path("/proc/thread-self/net/dev").read_text().splitlines():
        name, _, counts = line.partition(":")
        if name.strip() == "ext":
            return int(counts.split()[0])
    raise LabFault("no interface ext")


def main() -> int:
    """See the module's description."""
    parser = argparse.ArgumentParser(prog="openssh", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--kind", choices=["fastL4", "standard"], default="fastL4")
    parser.add_argument("--only", nargs="+", choices=[*SCRIPTS, *SKIPPED], metavar="NAME")
    parser.add_argument("--patience", type=float, default=1200.0, metavar="S")
    parser.add_argument("--failovers", type=int, default=2, help="of one script, at most")
    options = parser.parse_args()
    if not REGRESS.is_dir():
        print(f"no {REGRESS}: make openssh installs it (Debian: openssh-tests)", file=sys.stderr)
        return 3
    unwind_on_signals()
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="mirrorlab-openssh-") as folder:
        pair = Pair(options.kind, Path(folder))
        try:
            pair.up()
            for name in options.only or SCRIPTS:
                row = pair.script(name, options.patience, options.failovers)
                print(row, flush=True)
                if row.verdict == _FAILED:
                    print("\n".join(f"      {line}" for line in row.said[-4:]), flush=True)
                rows.append(row)
        except KeyboardInterrupt:
            _sum_up(options.kind, rows)
            return 130
        except (LabFault, BuildError, NamespaceError) as error:
            print(f"lab fault: {error}", file=sys.stderr)
            _sum_up(options.kind, rows)
            return 4
        finally:
            pair.lab.destroy()
    if not options.only:
        rows += [Row(name, "skipped", said=[why]) for name, why in SKIPPED.items()]
        print("\n".join(str(row) for row in rows if row.verdict == "skipped"))
    return _sum_up(options.kind, rows)


def _sum_up(kind: str, rows: list[Row]) -> int:
    ran = [row for row in rows if row.verdict != "skipped"]
    good = [row for row in ran if row.verdict == _OK]
    print(
        f"\n{kind}: {len(good)} of {len(ran)} ok; {sum(r.failovers for r in ran)} failovers, "
        f"{sum(r.carried for r in ran)} connections carried over them, "
        f"{sum(r.connections for r in ran)} in all, {sum(r.octets for r in ran) / 1e6:.0f} MB; "
        f"{len(rows) - len(ran)} scripts skipped"
    )
    return 0 if len(good) == len(ran) else 1


if __name__ == "__main__":
    sys.exit(main())
