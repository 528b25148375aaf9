"""The programs of short exchanges, against each other over loopback."""

from __future__ import annotations

import json
import socket
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from emulator.lab.workload import datagrams, reconnect, shortservers


@contextmanager
def serving(server: socketserver.BaseServer) -> Iterator[None]:
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_a_connection_is_told_who_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shortservers.Identity, "name", "backend-7")
    server = shortservers.Server(("127.0.0.1", 0), shortservers.Identity)
    with serving(server), socket.create_connection(server.server_address, timeout=5) as own:
        assert reconnect._converse(own, b"00000003\n") == "backend-7"


def test_another_answer_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shortservers.Identity, "name", "backend-7")
    server = shortservers.Server(("127.0.0.1", 0), shortservers.Identity)
    with serving(server), socket.create_connection(server.server_address, timeout=5) as own:
        own.sendall(b"0000")  # so the question the server hears is another one
        with pytest.raises(reconnect.Refused, match="backend-7"):
            reconnect._converse(own, b"00000003\n")


def test_datagrams_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server = socketserver.UDPServer(("127.0.0.1", 0), shortservers.Echo)
    monkeypatch.setitem(datagrams.DATAGRAM_PORTS, "udp", server.server_address[1])
    exchange = datagrams.Exchange("127.0.0.1", tmp_path / "log")
    with serving(server):
        exchange._send(0.0)
        exchange._socket.setblocking(True)
        exchange._socket.settimeout(5)
        exchange._receive()
    exchange._send(0.0)  # nobody answers
    exchange._report(0.5)
    exchange._report(2.0)
    exchange.close()
    lines = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    assert [line["what"] for line in lines if line["what"] != "refused"] == [
        "open", "progress", "progress",
    ]  # fmt: skip
    last = lines[-1]
    assert (last["sent"], last["received"], last["lost"]) == (128, 64, 1)
