"""The kill test's traffic: bulk echo and single requests, every byte compared at both ends.

Each byte of a stream is known by its place, so either end can tell what it was to get. The
bulk connection's server is ours as well: what a device acknowledged to one end and the other
never got is counted from the kernels' own counters, also when the connection ends in an error.
"""

from __future__ import annotations

import contextlib
import random
import socket
import threading
import time
from collections import Counter
from dataclasses import dataclass, field

from emulator.lab.wait import LabFault, wait_until
from emulator.lab.workload.applications import PORTS
from emulator.lab.workload.sessions import Sessions

BULK_PORT = 5003
# A prime length: a repeated or missing stretch never falls on the same bytes again.
_BLOCK = random.Random(1).randbytes(1_000_003)
_TWICE = _BLOCK + _BLOCK
_CHUNK = 16 << 10
_READ = 1 << 16
_AHEAD = 256 << 10  # bytes the bulk client sends before their echo is back
_BYTES_ACKED = 120  # tcpi_bytes_acked, in TCP_INFO


def stream(at: int, count: int) -> bytes:
    """Bytes [at, at + count) of an endless stream of which each place is its own; at most the
    block's length at once."""
    start = at % len(_BLOCK)
    return _TWICE[start : start + count]


def differing(data: bytes, at: int) -> int:
    """How many bytes are not the stream's."""
    expected = stream(at, len(data))
    if data == expected:
        return 0
    return sum(a != b for a, b in zip(data, expected, strict=True))


def acknowledged(connection: socket.socket) -> int:
    """Bytes the other end's TCP has acknowledged so far; the kernel counts SYN and FIN, too."""
    info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 256)
    return int.from_bytes(info[_BYTES_ACKED : _BYTES_ACKED + 8], "little")


@dataclass(frozen=True, slots=True)
class Loss:
    """A conversation that did not come to its end. `lost`: bytes acknowledged to an end that
    never reached the other. `at`: wall clock, just before our side gave up; `port`: ours.
    `regular`: the stream ended as if it were whole, and was not."""

    kind: str
    port: int
    at: float
    what: str
    lost: int = 0
    regular: bool = False


@dataclass
class Tally:
    """What one kind of traffic has met with."""

    counts: Counter[str] = field(default_factory=Counter)
    losses: list[Loss] = field(default_factory=list)


@dataclass
class _Served:
    """The server's end of one bulk connection."""

    received: int = 0
    wrong: int = 0
    acked: int = 0


class BulkServer:
    """Echoes one connection after the other, comparing what comes in. To be made in a thread
    inside the server's namespace; raises OSError."""

    def __init__(self, address: str) -> None:
        self._listener = socket.create_server((address, BULK_PORT))
        self._latest = _Served()
        threading.Thread(target=self._accept, daemon=True).start()

    def take(self) -> _Served:
        """The latest connection's end, as it is now."""
        return self._latest

    def forget(self) -> None:
        """A new round begins."""
        self._latest = _Served()

    def close(self) -> None:
        """No more connections; those there are go on."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                served = _Served()
                self._latest = served
                threading.Thread(target=self._serve, args=(connection, served), daemon=True).start()

    @staticmethod
    def _serve(connection: socket.socket, served: _Served) -> None:
        with connection, contextlib.suppress(OSError):
            while data := connection.recv(_READ):
                served.wrong += differing(data, served.received)
                served.received += len(data)
                while data:
                    sent = connection.send(data)
                    data = data[sent:]
                    served.acked = acknowledged(connection)
            connection.shutdown(socket.SHUT_WR)


class Round:
    """The traffic of one round; `stop` is set some time after the takeover."""

    def __init__(
        self, address: str, server: BulkServer, patience_s: float, bytes_per_s: int | None
    ) -> None:
        """`patience_s`: an end that hears nothing for so long has lost its connection;
        `bytes_per_s`: of the bulk connection, each way, None for all it can."""
        self.address, self._server = address, server
        self._patience_s, self._bytes_per_s = patience_s, bytes_per_s
        self.stop = threading.Event()
        self.beat = 0  # grows while bytes come back
        self.bulk, self.requests = Tally(), Tally()
        server.forget()
        self._sent = self._got = 0
        self._room = threading.Condition()

    def run_bulk(self) -> None:
        """One connection, both ways; the end is a half-close and the rest of the echo."""
        talk = socket.socket()
        try:
            port = _connect(talk, (self.address, BULK_PORT), self._patience_s)
        except _Unopened as error:
            self.bulk.losses.append(Loss("bulk", error.port, time.time(), str(error)))
            return
        with talk:
            failed = ""
            try:
                self._bulk(talk)
            except OSError as error:
                failed = str(error)
            self._close_bulk(talk, port, failed)

    def _close_bulk(self, talk: socket.socket, port: int, failed: str) -> None:
        at, served = time.time(), self._server.take()
        self.bulk.counts["bytes"] += self._got
        self.bulk.counts["wrong bytes"] += served.wrong
        if not failed and self._got == self._sent:
            return
        what = failed or "ended early"
        lost = 0
        with contextlib.suppress(OSError):
            lost += max(0, min(acknowledged(talk) - 1, self._sent) - served.received)
        lost += max(0, served.acked - self._got)
        what += f": {self._sent} bytes sent, {served.received} got there, {self._got} came back"
        self.bulk.losses.append(Loss("bulk", port, at, what, lost, regular=not failed))

    def _bulk(self, talk: socket.socket) -> None:
        broke: list[OSError] = []

        def write() -> None:
            try:
                self._write(talk)
            except OSError as error:
                broke.append(error)

        writer = threading.Thread(target=write, daemon=True)
        writer.start()
        while data := talk.recv(_READ):
            self.bulk.counts["wrong bytes"] += differing(data, self._got)
            with self._room:
                self._got += len(data)
                self._room.notify()
            self.beat += 1
        writer.join(5)
        if broke:  # a reset is told once, to whichever of the two comes first; then the end
            raise broke[0]

    def _write(self, talk: socket.socket) -> None:
        began = time.monotonic()
        while not self.stop.is_set():
            with self._room:
                if self._sent - self._got > _AHEAD:
                    self._room.wait(0.2)
                    continue
            if self._bytes_per_s is not None:
                early = self._sent / self._bytes_per_s - (time.monotonic() - began)
                if early > 0 and self.stop.wait(early):
                    break
            talk.sendall(stream(self._sent, _CHUNK))
            self._sent += _CHUNK
        talk.shutdown(socket.SHUT_WR)

    def run_requests(self) -> None:
        """One connection after the other: a request, its echo, the close."""
        number = 0
        while not self.stop.is_set():
            number += 1
            self._request(stream(number * 997, 200 + number % 3000))

    def _request(self, request: bytes) -> None:
        answer = b""
        talk = socket.socket()
        try:
            port = _connect(talk, (self.address, PORTS["echo"]), self._patience_s)
        except _Unopened as error:
            self.requests.losses.append(Loss("request", error.port, time.time(), str(error)))
            return
        with talk:
            try:
                talk.sendall(request)
                talk.shutdown(socket.SHUT_WR)
                while data := talk.recv(_READ):
                    answer += data
            except OSError as error:
                what = f"{error}: {len(request)} bytes sent, {len(answer)} came back"
                lost = max(0, min(acknowledged(talk) - 1, len(request)) - len(answer))
                self.requests.losses.append(Loss("request", port, time.time(), what, lost))
                return
            self.requests.counts["bytes"] += len(answer)
            self.requests.counts["connections"] += 1
            if answer != request:
                what = f"{len(request)} bytes sent, {len(answer)} came back"
                same = sum(a != b for a, b in zip(answer, request, strict=False))
                self.requests.counts["wrong bytes"] += same
                lost = max(0, len(request) - len(answer))
                found = Loss("request", port, time.time(), what, lost, regular=True)
                self.requests.losses.append(found)


class _Unopened(OSError):
    """A connection that did not come about, and the port it was tried from."""

    def __init__(self, port: int, error: OSError) -> None:
        super().__init__(str(error))
        self.port = port


def _connect(talk: socket.socket, address: tuple[str, int], patience_s: float) -> int:
    """The local port; raises _Unopened, the socket closed."""
    talk.settimeout(patience_s)
    try:
        talk.connect(address)
        return int(talk.getsockname()[1])
    except OSError as error:
        port = int(talk.getsockname()[1])
        talk.close()
        raise _Unopened(port, error) from error


def lives_on(ssh: Sessions, patience_s: float) -> list[Loss]:
    """How the ssh session did not, if it did not."""
    began = time.time()
    try:
        wait_until(
            "ssh to go on", lambda: ssh.ended() or ssh.progressed(began), timeout_s=patience_s
        )
    except LabFault:
        return [Loss("ssh", 0, time.time(), "stalled")]
    return [Loss("ssh", 0, time.time(), what) for what in ssh.ended()[:1]]
