"""The conversation a session holds, over a socket pair."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from pathlib import Path

from emulator.lab.workload.session import (
    LINE_BYTES,
    QUIET_AFTER,
    Conversation,
    Ended,
    Transport,
    line,
    wake_file,
)


class Talk:
    """A conversation in a thread; `far` is the other end."""

    def __init__(self, kind: str, folder: Path) -> None:
        near, self.far = socket.socketpair()
        self.far.settimeout(10)
        self.notes: list[tuple[str, dict[str, object]]] = []
        transport = Transport(near.fileno(), near.fileno(), lambda: "")
        self.wake = wake_file(folder / "session.jsonl")
        told = Conversation(
            transport, kind, lambda what, **d: self.notes.append((what, d)), self.wake
        )

        def run() -> None:
            with near, contextlib.suppress(Ended):
                told.run()

        threading.Thread(target=run, daemon=True).start()

    def echo(self, count: int) -> bytes:
        got = b""
        while len(got) < count:
            data = self.far.recv(count - len(got))
            assert data
            got += data
            self.far.sendall(data)
        return got


def test_an_idle_session_is_quiet_until_it_is_woken(tmp_path: Path) -> None:
    talk = Talk("idle", tmp_path)
    size = LINE_BYTES["idle"]
    said = talk.echo(QUIET_AFTER * size)
    assert said == b"".join(line(n, size) for n in range(QUIET_AFTER))
    talk.far.settimeout(0.5)
    with contextlib.suppress(TimeoutError):
        raise AssertionError(talk.far.recv(1))
    talk.far.settimeout(10)
    talk.wake.touch()
    assert talk.echo(size) == line(QUIET_AFTER, size)
    talk.far.close()


def test_wrong_bytes_are_placed_and_counted(tmp_path: Path) -> None:
    talk = Talk("echo", tmp_path)
    first = talk.echo(LINE_BYTES["echo"])
    talk.far.recv(LINE_BYTES["echo"])
    talk.far.sendall(first[:100])  # repeated, instead of the next ones
    deadline = time.monotonic() + 10
    while not any(what == "wrong" for what, _ in talk.notes) and time.monotonic() < deadline:
        time.sleep(0.01)
    [details] = [d for what, d in talk.notes if what == "wrong"]
    same = 7  # of the line's number, "00000000" and "00000001"
    assert details == {"offset": len(first) + same, "octets": 100 - same}
    talk.far.close()
