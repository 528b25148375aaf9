"""One real session with a byte-checked conversation: a process in the client's namespace.

`python -m emulator.lab.workload.session KIND ADDRESS LOG ETC [OPTIONS]` connects with the real
program (OpenSSH's ssh, inetutils' telnet, a plain socket for echo), has the far end echo
(`cat`; in telnet typed into the shell), then writes numbered lines at a steady pace and
compares every byte that comes back with what it wrote. `bulk` writes much and fast; `idle`
says QUIET_AFTER lines, then nothing until the file LOG.wake exists. A feed is the
other way round: the far end sends the lines, the client says nothing. A pausing session is an
echo that is silent for PAUSE_S after TALK_S, and so on. OPTIONS, a JSON object:
`application_timer` {after_s, ends_by} has the program end the session when it has waited so
long for an answer. LOG gets JSON lines:

    open                    the conversation has begun
    progress  sent, received    bytes so far, at most every 0.1 s
    wrong     offset, octets    first byte that differs, how many came from there on; the
                                session ends
    ended     reason, received  the far end, the program or the kernel ended it
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import select
import socket
import struct
import subprocess
import sys
import time
import tty
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, TextIO

import pexpect

from emulator.lab.settings.endpoints import TIMED
from emulator.lab.workload.applications import PORTS

PACE_S = {
    "ssh": 0.1, "telnet": 0.1, "echo": 0.05, "bulk": 0.03, "idle": 0.1, "feed": 0.1, "pausing": 0.1,
    "ssh-keepalive": 0.1, "ssh-bulk": 0.02,
    "ehr-idle": 0.2, "ehr-client-first": 0.5, "ehr-server-first": 0.5, "ehr-bursty": 0.2,
}  # fmt: skip
LINE_BYTES = {
    "ssh": 64, "telnet": 64, "echo": 1024, "bulk": 4096, "idle": 64, "feed": 256, "pausing": 64,
    "ssh-keepalive": 64, "ssh-bulk": 4096,
    "ehr-idle": 64, "ehr-client-first": 256, "ehr-server-first": 256, "ehr-bursty": 512,
}  # fmt: skip
_SILENT = ("idle", "ssh-keepalive", "ehr-idle")  # until woken
QUIET_AFTER = 10  # lines of an idle session
TALK_S, PAUSE_S = 5.0, 8.0
MAX_OUTSTANDING = 64 << 10
_OPEN_TIMEOUT_S = 15


class Ended(Exception):
    """The session is over; the text says how it looked from the client."""


class Transport:
    """A duplex byte stream to the far end's echo."""

    def __init__(
        self,
        read_fd: int,
        write_fd: int,
        reason: Callable[[], str],
        own: tuple[bytes, ...] = (),
        end: Callable[[bool], None] = lambda abort: None,
    ) -> None:
        """`own`: how lines of the program's own begin that it mixes into the stream; `end`: closes
        the connection, or aborts it."""
        self.read_fd, self._write_fd, self._reason = read_fd, write_fd, reason
        self.own, self.end = own, end
        os.set_blocking(write_fd, False)

    def read(self) -> bytes:
        """What has arrived; raises Ended."""
        try:
            data = os.read(self.read_fd, 1 << 16)
        except OSError as error:
            raise Ended(self._reason() or error.strerror) from error
        if not data:
            raise Ended(self._reason() or "closed by the far end")
        return data

    def write(self, data: bytes) -> int:
        """How much was taken; raises Ended."""
        try:
            return os.write(self._write_fd, data)
        except BlockingIOError:
            return 0
        except OSError as error:
            raise Ended(self._reason() or error.strerror) from error


def open_ssh(address: str, etc: Path, host: str = "") -> Transport:
    """`ssh VIP cat`: the program's own messages tell how it ended. `host`: one of ssh_config."""
    config = etc / "ssh" / "ssh_config"
    argv = ["ssh", "-F", str(config), "-o", "BatchMode=yes", "-o", "LogLevel=INFO", "-T"]
    process = subprocess.Popen(
        [*argv, host or address, "cat"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    errors = process.stderr

    def reason() -> str:
        try:
            code = process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            process.kill()
            return "ssh closed its output and did not exit"
        if code < 0:
            raise SystemExit(f"ssh was ended by signal {-code}")  # nothing that a network does
        lines = errors.read().decode(errors="replace").strip().splitlines()
        return f"ssh exited {code}: {lines[-1].strip() if lines else 'no message'}"

    return Transport(process.stdout.fileno(), process.stdin.fileno(), reason)


def open_telnet(address: str, etc: Path) -> Transport:
    """telnet in binary mode to a shell, in which `cat` is started on a raw terminal."""
    child = pexpect.spawn("telnet", ["-8", "-E", address], timeout=_OPEN_TIMEOUT_S, echo=False)
    tty.setraw(child.child_fd)
    try:
        child.expect(rb"[#$] ")
        child.send("PS1=; stty raw -echo; echo REA''DY; exec cat\r")
        child.expect(rb"READY\r?\n")
    except pexpect.ExceptionPexpect as error:
        raise Ended(f"telnet: no shell prompt ({type(error).__name__})") from error

    def reason() -> str:
        child.close(force=True)
        return f"telnet exited {child.exitstatus if child.exitstatus is not None else 'by signal'}"

    own = (b"Connection closed by foreign host", b"telnet: ")
    return Transport(child.child_fd, child.child_fd, reason, own)


def open_plain(address: str, etc: Path, kind: str = "echo") -> Transport:
    """A plain TCP connection to `kind`'s port; ends with the kernel's own word."""
    return open_port(address, PORTS[kind])


def open_port(address: str, port: int) -> Transport:
    """The same to any port; raises OSError."""
    connection = socket.create_connection((address, port), timeout=_OPEN_TIMEOUT_S)
    connection.settimeout(None)
    fd = os.dup(connection.fileno())

    def end(abort: bool) -> None:
        if abort:  # SO_LINGER of no time: what is unsent is thrown away, and a reset sent
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        os.close(fd)
        connection.close()

    return Transport(fd, connection.fileno(), lambda: "", end=end)


_PLAIN = ("echo", "bulk", "idle", "feed", "pausing")
_OPENERS: dict[str, Callable[[str, Path], Transport]] = {
    "ssh": open_ssh,
    "ssh-keepalive": partial(open_ssh, host="keepalive"),
    "ssh-bulk": partial(open_ssh, host="bulk"),
    "telnet": open_telnet,
    **{kind: partial(open_plain, kind=kind) for kind in _PLAIN},
}


def write_log(file: TextIO, session: str, what: str, **details: object) -> None:
    """One line of a session's log."""
    entry = {"time": round(time.time(), 6), "node": "client", "session": session, "what": what}
    file.write(json.dumps({**entry, **details}) + "\n")


def wake_file(log: Path) -> Path:
    """Once it exists, an idle session with this log speaks again."""
    return log.with_suffix(".wake")


def line(index: int, size: int) -> bytes:
    """Line `index` of the conversation: its number and hexadecimal noise; `size` bytes."""
    noise = b"".join(
        hashlib.sha256(b"%d.%d" % (index, part)).hexdigest().encode()
        for part in range(size // 64 + 1)
    )
    return (b"%08d " % index + noise)[: size - 1] + b"\n"


class Conversation:
    """Paces the lines out, checks the bytes coming back."""

    report_s = 0.1

    def __init__(
        self,
        transport: Transport,
        kind: str,
        log: Callable[..., None],
        wake: Path,
        timer: Mapping[str, Any] | None = None,
    ) -> None:
        """`timer`: `after_s` without an answer the session `ends_by` close or abort."""
        self._transport, self._log, self._timer = transport, log, timer
        self._wake = wake if kind in _SILENT else None
        self._waiting_since = 0.0  # for bytes to come back; while there are any to
        self._pace_s, self._size = PACE_S[kind], LINE_BYTES[kind]
        self._outstanding = bytearray()  # written (or to be) and not come back
        self._unwritten = bytearray()
        self.sent = self.received = 0
        self._index = 0

    def run(self) -> None:
        """Until the session ends: raises Ended."""
        next_line = time.monotonic()
        reported = (0, 0)
        next_report = next_line
        while True:
            now = time.monotonic()
            if now >= next_line:
                next_line = now + self._pace_s
                self._speak()
            if now >= next_report and reported != (self.sent, self.received):
                next_report, reported = now + self.report_s, (self.sent, self.received)
                self._log("progress", sent=self.sent, received=self.received)
            wait = max(0.0, next_line - now)
            if select.select([self._transport.read_fd], [], [], wait)[0]:
                self._check(self._transport.read())
            self._flush()
            self._lose_patience()

    def _lose_patience(self) -> None:
        """The application's own timer."""
        if self._timer is None or not self._outstanding:
            return
        after_s, ends_by = float(self._timer["after_s"]), str(self._timer["ends_by"])
        if time.monotonic() - self._waiting_since > after_s:
            self._transport.end(ends_by == "abort")
            raise Ended(f"no answer for {after_s:g} s: the program ended it ({ends_by})")

    def _quiet(self) -> bool:
        return self._wake is not None and self._index >= QUIET_AFTER and not self._wake.exists()

    def _speak(self) -> None:
        if len(self._outstanding) < MAX_OUTSTANDING and not self._quiet():
            self._say(line(self._index, self._size))
            self._index += 1

    def _say(self, data: bytes) -> None:
        if not self._outstanding:
            self._waiting_since = time.monotonic()
        self._outstanding += data
        self._unwritten += data
        self._flush()

    def _flush(self) -> None:
        if self._unwritten:
            taken = self._transport.write(bytes(self._unwritten))
            del self._unwritten[:taken]
            self.sent += taken

    def _check(self, data: bytes) -> None:
        expected = bytes(self._outstanding[: len(data)])
        if data != expected:
            pairs = enumerate(zip(data, expected, strict=False))
            same = next((i for i, (a, b) in pairs if a != b), len(expected))
            rest = data[same:].strip()
            if rest.startswith(self._transport.own):
                raise Ended(rest.decode(errors="replace").splitlines()[0])
            self._log("wrong", offset=self.received + same, octets=len(data) - same)
            raise Ended("bytes came back that were never sent")
        del self._outstanding[: len(data)]
        self._waiting_since = time.monotonic()
        self.received += len(data)


class Listening(Conversation):
    """Says nothing; checks the lines the far end sends by itself."""

    def _speak(self) -> None:
        return

    def _check(self, data: bytes) -> None:
        while len(self._outstanding) < len(data):
            self._outstanding += line(self._index, self._size)
            self._index += 1
        super()._check(data)


class Pausing(Conversation):
    """Talks for a while, then says nothing for a while."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._began = time.monotonic()

    def _speak(self) -> None:
        if (time.monotonic() - self._began) % (TALK_S + PAUSE_S) < TALK_S:
            super()._speak()


_ROLES: dict[str, type[Conversation]] = {"feed": Listening, "pausing": Pausing}


def main() -> int:
    """Exit 0 whatever the session's end: the log has it."""
    if len(sys.argv) not in (5, 6) or sys.argv[1] not in _OPENERS:
        print(__doc__, file=sys.stderr)
        return 2
    kind, address, path, etc = sys.argv[1], sys.argv[2], sys.argv[3], Path(sys.argv[4])
    timer = json.loads(sys.argv[5]).get("application_timer") if len(sys.argv) == 6 else None
    timed = timer if kind in TIMED else None
    with open(path, "a", buffering=1) as file:
        log = partial(write_log, file, kind)
        conversation = None
        try:
            transport = _OPENERS[kind](address, etc)
            log("open")
            role = _ROLES.get(kind, Conversation)
            conversation = role(transport, kind, log, wake_file(Path(path)), timed)
            conversation.run()
        except (Ended, OSError) as error:
            received = conversation.received if conversation else 0
            with contextlib.suppress(OSError):
                log("ended", reason=str(error), received=received)
    return 0


if __name__ == "__main__":
    sys.exit(main())
