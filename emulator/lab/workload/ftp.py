"""FTP with vsftpd: `KIND ADDRESS LOG ETC [OPTIONS]`, KIND being ftp or ftp-active.

ftp stores a file in passive mode. The data connection carries numbered lines at a steady pace
over whatever happens, while the control connection says nothing. Once woken (`LOG.wake`) it
goes on for AFTER_S, ends the file, wants the server's 226 on the control connection, and
compares the file the server has, byte by byte: log line `checked`. From then on the control
connection alone talks (NOOP). The `progress` counts what is in the server's file.

ftp-active asks the server to connect to the client, says in the log what came of it, and goes
on with NOOPs.
"""

from __future__ import annotations

import contextlib
import ftplib
import sys
import time
from functools import partial
from ipaddress import IPv4Address
from pathlib import Path
from typing import TextIO

from emulator.lab.workload.applications import FTP_DATA_PORT, PORTS
from emulator.lab.workload.session import line, wake_file, write_log

VSFTPD = "/usr/sbin/vsftpd"
PACE_S, SIZE = 0.05, 4096
AFTER_S = 3.0  # of the file, once woken
PATIENCE_S = 60.0
_ROOT = Path("/mnt")  # where vsftpd's user finds the lab's folder, which is root's alone
_FILE = "results.txt"
_NOOP_OCTETS = 6
# Mounts "$1", then runs the rest.
_MOUNTED = f'mount --bind "$1" {_ROOT} && shift && exec "$@"'


def server(
    session: str, node: str, address: str, folder: Path, entry: IPv4Address
) -> list[str | Path]:
    """The command that runs vsftpd for a session on `node`; prepares its folders.

    `entry` is what it tells passive clients to connect to (pasv_address), as behind any
    address translation.
    """
    root = folder / f"{node}-{session}"
    (root / "upload").mkdir(parents=True, exist_ok=True)
    (root / "empty").mkdir(exist_ok=True)
    root.chmod(0o755)  # vsftpd refuses a root its user may write to
    (root / "upload").chmod(0o777)
    config = folder / f"{node}-{session}.conf"
    settings = {
        "listen": "YES", "listen_address": address, "listen_port": PORTS[session],
        "background": "NO", "anonymous_enable": "YES", "no_anon_password": "YES",
        "ftp_username": "ftp", "anon_root": _ROOT, "write_enable": "YES",
        "anon_upload_enable": "YES", "anon_umask": "022", "secure_chroot_dir": _ROOT / "empty",
        "pasv_min_port": FTP_DATA_PORT, "pasv_max_port": FTP_DATA_PORT, "pasv_address": entry,
        "connect_timeout": 5, "seccomp_sandbox": "NO",
    }  # fmt: skip
    config.write_text("".join(f"{key}={value}\n" for key, value in settings.items()))
    return ["sh", "-c", _MOUNTED, "sh", root, VSFTPD, config]


class Session:
    """One FTP session from the client."""

    def __init__(self, kind: str, address: str, log: Path, etc: Path, file: TextIO) -> None:
        self._kind, self._address, self._wake = kind, address, wake_file(log)
        self._lab, self._log = etc.parent, partial(write_log, file, kind)
        self._ftp = ftplib.FTP(timeout=PATIENCE_S)
        self._received = 0

    @property
    def received(self) -> int:
        return self._received

    def run(self) -> None:
        """Until the control connection ends: raises OSError, EOFError, ftplib.Error."""
        self._ftp.connect(self._address, PORTS[self._kind], timeout=15)
        assert self._ftp.sock is not None
        self._ftp.sock.settimeout(PATIENCE_S)
        self._ftp.login()
        self._log("open")
        if self._kind == "ftp-active":
            self._try_active()
        else:
            self._store()
        self._keep_talking()

    def _store(self) -> None:
        data = self._ftp.transfercmd(f"STOR upload/{_FILE}")
        data.settimeout(PATIENCE_S)
        sent = bytearray()
        until: float | None = None
        while until is None or time.monotonic() < until:
            text = line(len(sent) // SIZE, SIZE)
            try:
                data.sendall(text)
            except OSError as error:
                raise OSError(f"data connection: {error}; {self._control_says()}") from error
            sent += text
            self._report(len(sent))
            if until is None and self._wake.exists():
                until = time.monotonic() + AFTER_S
            time.sleep(PACE_S)
        data.close()
        answer = self._ftp.voidresp()
        stored = self._stored()
        if stored is None or stored.read_bytes() != bytes(sent):
            self._log("wrong", offset=0, octets=len(sent))
            raise EOFError("the server's file is not what was sent")
        self._report(len(sent))
        self._log("checked", text=f"{len(sent)} bytes stored, each right; then: {answer}")

    def _control_says(self) -> str:
        try:
            return f"control connection: {self._ftp.sendcmd('NOOP')}"
        except (OSError, EOFError, ftplib.Error) as error:
            return f"control connection: {error or 'closed by the far end'}"

    def _stored(self) -> Path | None:
        found = list(self._lab.glob(f"*-{self._kind}/upload/{_FILE}"))
        return found[0] if found else None

    def _report(self, sent: int) -> None:
        stored = self._stored()
        octets = stored.stat().st_size if stored else 0
        if octets != self._received:
            self._received = octets
            self._log("progress", sent=sent, received=octets)

    def _try_active(self) -> None:
        self._ftp.set_pasv(False)
        try:
            self._ftp.storbinary(f"STOR upload/{_FILE}", (self._lab / "etc" / "hosts").open("rb"))
            self._log("checked", text="a file was stored in active mode")
        except (OSError, ftplib.Error) as error:
            self._log("checked", text=f"active mode, the server's answer: {error}")

    def _keep_talking(self) -> None:
        while True:
            self._ftp.voidcmd("NOOP")
            self._received += _NOOP_OCTETS
            self._log("progress", sent=self._received, received=self._received)
            time.sleep(4 * PACE_S)


def main() -> int:
    """Exit 0 whatever the session's end: the log has it."""
    if len(sys.argv) not in (5, 6):
        print(__doc__, file=sys.stderr)
        return 2
    kind, address, path, etc = sys.argv[1], sys.argv[2], Path(sys.argv[3]), Path(sys.argv[4])
    with path.open("a", buffering=1) as file:
        session = Session(kind, address, path, etc, file)
        try:
            session.run()
        except (OSError, EOFError, ftplib.Error) as error:
            reason = str(error) or "closed by the far end"
            with contextlib.suppress(OSError):
                write_log(file, kind, "ended", reason=reason, received=session.received)
    return 0


if __name__ == "__main__":
    sys.exit(main())
