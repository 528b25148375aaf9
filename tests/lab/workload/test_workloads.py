"""The programs of the sessions that are more than an echo, without a network of their own."""

from __future__ import annotations

import io
import json
import socket
import struct
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from emulator.lab.workload import http
from emulator.lab.workload.applications import (
    FLEET_PORTS,
    FTP_DATA_PORT,
    NAMES,
    PORTS,
    connections,
    held_flows,
    members,
    ports,
)
from emulator.lab.workload.session import (
    LINE_BYTES,
    Conversation,
    Ended,
    line,
    open_port,
    write_log,
)
from emulator.lab.workload.sessions import _in_the_dark


def test_every_connection_has_a_port_of_its_own_to_be_known_by() -> None:
    assert len(NAMES) == len(PORTS) + 1 + len(FLEET_PORTS)
    assert NAMES[FTP_DATA_PORT] == "ftp-data"
    assert NAMES[6001] == "ehr-01"


def test_what_a_session_consists_of() -> None:
    assert members("ssh") == connections("ssh") == ("ssh",)
    assert connections("ftp") == ("ftp", "ftp-data")
    assert len(connections("fleet")) == len(members("fleet")) == held_flows("fleet") == 50
    assert held_flows("http") == 0


def test_only_the_first_member_has_the_servers_that_not_every_lab_needs() -> None:
    plain = ports(("ssh",), first=True)
    assert plain == ports(("ftp", "fleet"), first=False)
    assert ports(("ftp", "fleet"), first=True) - plain == {21, *FLEET_PORTS.values()}


@pytest.fixture
def web(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setitem(http.PORTS, "http", 0)
    with http.serve("127.0.0.1") as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def test_every_page_is_another_one_and_known_beforehand(web: str) -> None:
    with urllib.request.urlopen(f"{web}/7") as answer:
        assert answer.read() == http.page(7) != http.page(8)
        assert answer.version == 10  # a connection a request


def listener() -> tuple[socket.socket, int]:
    server = socket.create_server(("127.0.0.1", 0))
    return server, server.getsockname()[1]


def timed(ends_by: str, tmp_path: Path) -> tuple[socket.socket, str]:
    """The far end of a conversation whose program gave up, and what it said."""
    server, port = listener()
    transport = open_port("127.0.0.1", port)
    far, _ = server.accept()
    server.close()
    file = io.StringIO()
    talk = Conversation(
        transport, "echo", lambda *a, **k: write_log(file, "echo", *a, **k), tmp_path / "wake",
        {"after_s": 0.2, "ends_by": ends_by},
    )  # fmt: skip
    with pytest.raises(Ended) as ended:
        talk.run()
    far.settimeout(10)
    return far, str(ended.value)


def read_all(far: socket.socket) -> bytes:
    got = b""
    while data := far.recv(1 << 16):
        got += data
    return got


def test_a_program_that_waits_too_long_closes(tmp_path: Path) -> None:
    far, said = timed("close", tmp_path)
    with far:
        assert said == "no answer for 0.2 s: the program ended it (close)"
        assert read_all(far).startswith(line(0, LINE_BYTES["echo"]))


def test_or_aborts(tmp_path: Path) -> None:
    far, said = timed("abort", tmp_path)
    assert said.endswith("(abort)")
    with far, pytest.raises(ConnectionResetError):
        read_all(far)


def test_a_program_whose_answers_come_does_not(tmp_path: Path) -> None:
    server, port = listener()
    transport = open_port("127.0.0.1", port)
    far, _ = server.accept()
    server.close()
    timer = {"after_s": 0.3, "ends_by": "close"}
    talk = Conversation(transport, "echo", lambda *a, **k: None, tmp_path / "wake", timer)

    def echo() -> None:
        with far:
            until = time.monotonic() + 1.0
            while time.monotonic() < until and (data := far.recv(1 << 16)):
                far.sendall(data)
            # Closed with bytes unread the far end would reset; this way it ends at once.
            far.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    threading.Thread(target=echo, daemon=True).start()
    with pytest.raises(Ended, match="reset"):
        talk.run()
    transport.end(False)
    assert talk.received > 5 * LINE_BYTES["echo"]


def test_a_log_line_names_the_conversation() -> None:
    file = io.StringIO()
    write_log(file, "ehr-07", "open")
    assert json.loads(file.getvalue())["session"] == "ehr-07"


def ended(at: float, reason: str, alive: float = 10.0) -> list[dict[str, object]]:
    return [
        {"time": alive, "what": "progress", "sent": 1, "received": 1},
        {"time": at, "what": "ended", "reason": reason},
    ]


def test_a_reset_shows_at_once() -> None:
    assert not _in_the_dark(ended(16.0, "Connection reset by peer"), None, 16.1)


def test_a_kernel_that_gave_up_shows_by_the_retransmission_that_does_not_come() -> None:
    """After 20 s of trying: a quarter of that later."""
    log = ended(30.0, "Broken pipe")
    assert _in_the_dark(log, 32.0, 35.9)
    assert not _in_the_dark(log, 32.0, 36.1)


def test_a_program_that_closed_shows_once_its_kernels_next_try_gets_through() -> None:
    log = ended(13.0, "no answer for 3 s: the program ended it (close)")
    assert _in_the_dark(log, None, 60.0)
    assert _in_the_dark(log, 15.0, 21.0)
    assert not _in_the_dark(log, 15.0, 22.0)
