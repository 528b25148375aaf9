"""A peer's data plane on one device: what is written, set and started for it, and its state."""

from __future__ import annotations

import contextlib
import shutil
from dataclasses import dataclass, replace
from pathlib import Path

from emulator.core.config import Config, VirtualServer
from emulator.lab.peers import conntrackd, haproxy, rules
from emulator.lab.workload.applications import PORTS
from emulator.lab.workload.services import listening
from netns.execute import NamespaceError, call_in, run

PROGRAMS = {"conntrackd": (conntrackd.PROGRAM, "conntrack"), "haproxy": (haproxy.PROGRAM,)}


@dataclass(frozen=True)
class Peer:
    """One device's: `kind` is the scenario's `devices.data_plane`, `config` what the lab's
    BIG-IP would be told."""

    kind: str
    namespace: str
    config: Config
    folder: Path

    @property
    def device_config(self) -> Config:
        """What the device's process is told instead: no virtual server, whom to call."""
        return replace(self.config, virtual_servers=(), data_plane=(str(self._file("role.sh")),))

    @property
    def programs(self) -> dict[str, list[str]]:
        """What runs beside the device's process, by name."""
        name = f"{self.config.name}-{self.kind}"
        if self.kind == "haproxy":
            return {name: [haproxy.PROGRAM, "-db", "-f", str(self._file("haproxy.cfg"))]}
        if not self._mirrors:
            return {}
        return {name: [conntrackd.PROGRAM, "-C", str(self._file("conntrackd.conf"))]}

    def prepare(self) -> None:
        """Write the configuration and set the kernel up, as a standby; raises NamespaceError.

        A predecessor's connections and files go: a machine that is switched on has none.
        """
        gate = self._file("standby.nft")
        gate.write_text(rules.gate(self.config))
        run(self.namespace, ["nft", "-f", str(gate)])
        mirroring = self._file("conntrackd.conf") if self._mirrors else None
        if mirroring is not None:
            base = str(self._file("conntrackd"))
            mirroring.write_text(conntrackd.configuration(self.config, base))
            for stale in (".lock", ".ctl"):
                Path(base + stale).unlink(missing_ok=True)
        script = self._file("role.sh")
        told = None if mirroring is None else str(mirroring)
        script.write_text(conntrackd.role_script(str(gate), told))
        script.chmod(0o700)
        (self._prepare_proxy if self.kind == "haproxy" else self._prepare_nat)()
        self._set("net/ipv4/ip_forward", "1")

    def _prepare_proxy(self) -> None:
        text = haproxy.configuration(self.config, self._server, PORTS.values())
        self._file("haproxy.cfg").write_text(text)
        self._to_kernel(rules.proxy(self.config, self._server))

    def _prepare_nat(self) -> None:
        self._to_kernel(rules.nat(self.config, self._server))
        loose = str(int(self._server.loose_initiation))
        self._set("net/netfilter/nf_conntrack_tcp_loose", loose)
        run(self.namespace, ["conntrack", "--flush"])

    def _to_kernel(self, ruleset: str) -> None:
        """Rules and addresses, in the place of an earlier process's."""
        fresh = f"add table ip peer\ndelete table ip peer\n{ruleset}"
        run(self.namespace, ["nft", "-f", "-"], stdin=fresh)
        with contextlib.suppress(NamespaceError):  # there is none yet
            run(self.namespace, ["ip", "rule", "delete", "lookup", str(rules.LOCAL_TABLE)])
        batch = rules.addresses(self.config, self._server)
        run(self.namespace, ["ip", "-batch", "-"], stdin=batch)

    def ready(self) -> bool:
        """Whether it would take a connection, or the other device's connections."""
        if self.kind == "haproxy":
            return call_in(self.namespace, lambda: listening(set(PORTS.values())))
        return not self._mirrors or self._dump("-s") is not None

    def status(self) -> dict[str, object]:
        """What of a device's status is the data plane's: its mirroring."""
        dumps = [self._dump("-i"), self._dump("-e")] if self._mirrors else [None]
        if None in dumps:
            return {"mirror_channel": "down", "mirrored_flows": 0}
        held = sum(conntrackd.entries(dump) for dump in dumps if dump is not None)
        return {"mirror_channel": "up", "mirrored_flows": held}

    @property
    def _server(self) -> VirtualServer:
        return self.config.virtual_servers[0]

    @property
    def _mirrors(self) -> bool:
        return self.kind == "conntrackd" and self._server.mirroring

    def _dump(self, flag: str) -> str | None:
        """conntrackd's answer; None: it does not answer."""
        argv = [conntrackd.PROGRAM, "-C", str(self._file("conntrackd.conf")), flag]
        try:
            return run(self.namespace, argv)
        except NamespaceError:
            return None

    def _file(self, name: str) -> Path:
        return self.folder / f"{self.config.name}-{name}"

    def _set(self, key: str, value: str) -> None:
        call_in(self.namespace, lambda: (Path("/proc/sys") / key).write_text(value))


def absent(kind: str) -> list[str]:
    """The programs a kind of data plane needs and this host does not have."""
    wanted = PROGRAMS.get(kind, ())
    return [name for name in wanted if shutil.which(name, path="/usr/sbin:/usr/bin:/sbin") is None]
