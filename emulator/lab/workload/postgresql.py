"""PostgreSQL in the middle of a transaction: `postgresql ADDRESS LOG ETC [OPTIONS]`.

The client is psql. It inserts numbered rows at a steady pace in one open transaction, over
whatever happens, each acknowledged by the server. Once woken (`LOG.wake`) it goes on for
AFTER rows and commits; then the server is asked beside the network, by its own Unix socket,
which rows it has: they must be exactly those acknowledged (log line `checked`), and the next
transaction begins. When the connection dies, the server is asked as well: no row may be
there (log line `rolled-back`), and whether it still holds the transaction open is said.
The `progress` counts rows acknowledged, ROW_BYTES each.
"""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import IO, TextIO

from emulator.lab.workload.applications import PORTS
from emulator.lab.workload.session import line, wake_file, write_log

KIND = "postgresql"
PACE_S, ROW_BYTES, AFTER = 0.1, 64, 10
# The user postgres may not enter the lab's folder, which is root's alone: it gets a mount. Its
# System V shared memory goes with its namespace, should it be killed.
_HOME = Path("/var/lib/postgresql")
_SERVE = (
    f'mount --bind "$1" {_HOME} && cd / && shift && bin=$1 && shift && '
    'as="setpriv --reuid=postgres --regid=postgres --clear-groups" && '
    f'$as "$bin/initdb" -D {_HOME}/data -U postgres -A trust -N --no-locale -E UTF8 && '
    f'echo "host all all 0.0.0.0/0 trust" >> {_HOME}/data/pg_hba.conf && '
    f'exec unshare --ipc $as "$bin/postgres" -D {_HOME}/data "$@"'
)
_SETTINGS = {
    "unix_socket_directories": _HOME, "fsync": "off", "dynamic_shared_memory_type": "mmap",
    "shared_buffers": "16MB", "max_connections": "20", "autovacuum": "off", "jit": "off",
    "max_wal_senders": "0", "ssl": "off",
}  # fmt: skip


class Died(Exception):
    """psql is gone; the text is its last word."""


def programs() -> Path | None:
    """Where the newest server's programs are, if there are any."""
    folders = Path("/usr/lib/postgresql").glob("*/bin/postgres")
    found = sorted((p.parent for p in folders), key=lambda p: float(p.parent.name))
    return found[-1] if found else None


def server(node: str, address: str, folder: Path) -> list[str | Path]:
    """The command that makes an empty database cluster and serves it."""
    home = folder / f"{node}-{KIND}"
    home.mkdir(exist_ok=True)
    shutil.chown(home, "postgres", "postgres")
    settings = [f"--{k}={v}" for k, v in {**_SETTINGS, "listen_addresses": address}.items()]
    return ["sh", "-c", _SERVE, "sh", home, programs() or "/nowhere", *settings]


class Asking:
    """The servers of one lab, asked by their Unix sockets."""

    def __init__(self, lab: Path) -> None:
        self._homes = [p.parent for p in lab.glob(f"*-{KIND}/.s.PGSQL.{PORTS[KIND]}")]

    def ask(self, statement: str) -> list[str]:
        """The rows every server answers with; raises OSError."""
        found: list[str] = []
        for home in self._homes:
            argv = ["psql", "-X", "-A", "-t", "-q", "-h", str(home), "-U", "postgres"]
            done = subprocess.run([*argv, "-c", statement], capture_output=True, text=True)
            if done.returncode:
                raise OSError(done.stderr.strip())
            found += done.stdout.splitlines()
        return found


class Client:
    """psql over the virtual server, a statement at a time."""

    def __init__(self, address: str) -> None:
        argv = ["psql", "-X", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-h", address, "-U", "postgres"]
        self._process = subprocess.Popen(
            argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )

    def say(self, statement: str, answer: str) -> None:
        """Returns once the server has said `answer`; raises Died."""
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(statement.encode() + b";\n")
            process.stdin.flush()
        except OSError as error:
            raise Died(self._last_words()) from error
        got = process.stdout.readline().decode().strip()
        if got != answer:
            raise Died(got or self._last_words())

    def _last_words(self) -> str:
        errors: IO[bytes] | None = self._process.stderr
        assert errors is not None
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=5)
        lines = errors.read().decode(errors="replace").strip().splitlines()
        return f"psql exited {self._process.returncode}: {' '.join(lines) or 'no message'}"


class Session:
    """Transactions, one after the other."""

    def __init__(self, address: str, log: Path, etc: Path, file: TextIO) -> None:
        self._address, self._wake = address, wake_file(log)
        self._servers = Asking(etc.parent)
        self._log = partial(write_log, file, KIND)
        self._acknowledged: list[int] = []
        self._sent = 0

    @property
    def received(self) -> int:
        return len(self._acknowledged) * ROW_BYTES

    def run(self) -> None:
        """Until the connection dies: raises Died, OSError."""
        self._servers.ask("CREATE TABLE record (number integer PRIMARY KEY, line text)")
        client = Client(self._address)
        committed = 0
        try:
            while True:
                client.say("BEGIN", "BEGIN")
                if not committed:
                    self._log("open")
                self._insert(client, until_woken=not committed)
                client.say("COMMIT", "COMMIT")
                committed = self._compare(first=not committed)
        except Died:
            self._log("rolled-back", text=self._left(committed))
            raise

    def _insert(self, client: Client, *, until_woken: bool) -> None:
        left = AFTER
        while left:
            number = self._sent
            self._sent += 1
            text = line(number, ROW_BYTES).decode().rstrip("\n")
            client.say(f"INSERT INTO record VALUES ({number}, '{text}')", "INSERT 0 1")
            self._acknowledged.append(number)
            self._log("progress", sent=self._sent * ROW_BYTES, received=self.received)
            left -= not until_woken or self._wake.exists()
            time.sleep(PACE_S)

    def _compare(self, *, first: bool) -> int:
        """The rows the server has, against those acknowledged; raises Died where they differ."""
        rows = self._servers.ask("SELECT number || ' ' || line FROM record ORDER BY number")
        due = [f"{n} {line(n, ROW_BYTES).decode().strip()}" for n in self._acknowledged]
        if rows != due:
            self._log("wrong", offset=0, octets=abs(len(rows) - len(due)) * ROW_BYTES)
            raise Died(f"{len(rows)} rows committed, {len(due)} acknowledged")
        if first:  # the one over which things happened; of later ones only what is wrong is told
            text = f"{len(rows)} rows committed, exactly those acknowledged, every byte right"
            self._log("checked", text=text)
        return len(rows)

    def _left(self, committed: int) -> str:
        """What the server has of a transaction whose client is gone."""
        [count] = self._servers.ask("SELECT count(*) FROM record")
        [held] = self._servers.ask(
            "SELECT count(*) FROM pg_stat_activity WHERE client_addr IS NOT NULL"
        )
        lost = len(self._acknowledged) - committed
        if int(count) != committed:
            return f"{count} rows are there, {committed} had been committed: NOT rolled back"
        state = (
            "the server does not know yet and still holds the transaction open"
            if int(held)
            else "the server has ended the transaction"
        )
        return f"{lost} rows acknowledged and not committed, none of them is there; {state}"


def main() -> int:
    """Exit 0 whatever the session's end: the log has it."""
    if len(sys.argv) not in (5, 6):
        print(__doc__, file=sys.stderr)
        return 2
    address, path, etc = sys.argv[2], Path(sys.argv[3]), Path(sys.argv[4])
    with path.open("a", buffering=1) as file:
        session = Session(address, path, etc, file)
        try:
            session.run()
        except (Died, OSError) as error:
            with contextlib.suppress(OSError):
                write_log(file, KIND, "ended", reason=str(error), received=session.received)
    return 0


if __name__ == "__main__":
    sys.exit(main())
