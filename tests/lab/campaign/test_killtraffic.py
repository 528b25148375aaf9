"""The kill test's traffic counts what it should: over the loopback, without a device between."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from emulator.lab.campaign import killtraffic
from emulator.lab.campaign.killtraffic import BulkServer, Round, differing, stream
from tests.device.test_relay import free_port

ADDRESS = "127.0.0.8"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[BulkServer]:
    monkeypatch.setattr(killtraffic, "BULK_PORT", free_port(ADDRESS))
    made = BulkServer(ADDRESS)
    yield made
    made.close()


def bulk(server: BulkServer, *, rate: int | None = 4_000_000) -> Round:
    """A bulk connection until some of it has come back, or it has ended."""
    traffic = Round(ADDRESS, server, 5.0, rate)
    job = threading.Thread(target=traffic.run_bulk, daemon=True)
    job.start()
    deadline = time.monotonic() + 10
    while job.is_alive() and traffic.beat < 20 and time.monotonic() < deadline:
        time.sleep(0.01)
    traffic.stop.set()
    job.join(10)
    assert not job.is_alive()
    return traffic


def test_a_place_in_the_stream_is_its_own() -> None:
    assert stream(0, 100) != stream(1, 100)
    assert stream(1_000_003, 10) == stream(0, 10)
    assert len(stream(1_000_000, 16384)) == 16384
    assert differing(stream(12345, 1000), 12345) == 0
    altered = bytearray(stream(5, 1000))
    altered[7] ^= 1
    assert differing(bytes(altered), 5) == 1
    assert differing(stream(5, 1000), 4) > 900  # a repeated byte: all that follows is wrong


def test_a_connection_that_ends_well_has_lost_nothing(server: BulkServer) -> None:
    traffic = bulk(server)
    assert traffic.bulk.losses == []
    assert traffic.bulk.counts["wrong bytes"] == 0
    assert traffic.bulk.counts["bytes"] > 0


def test_a_byte_altered_on_the_way_back_is_counted(
    server: BulkServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = killtraffic.BulkServer._serve

    def altered(connection: socket.socket, served: object) -> None:
        connection.sendall(b"?" + connection.recv(16384)[1:])
        with contextlib.suppress(OSError):
            whole(connection, killtraffic._Served(received=16384))

    monkeypatch.setattr(BulkServer, "_serve", staticmethod(altered))
    assert bulk(server).bulk.counts["wrong bytes"] == 1


def test_bytes_acknowledged_and_never_read_are_counted(
    server: BulkServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The far kernel took them and the far end never saw them: what a lagging mirror costs."""

    def deaf(connection: socket.socket, served: object) -> None:
        time.sleep(0.5)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        connection.close()

    monkeypatch.setattr(BulkServer, "_serve", staticmethod(deaf))
    [loss] = bulk(server).bulk.losses
    assert loss.kind == "bulk"
    assert 0 < loss.lost <= 512 << 10
    assert "0 got there, 0 came back" in loss.what


def test_a_connection_that_cannot_be_opened_is_a_loss(server: BulkServer) -> None:
    server.close()
    [loss] = bulk(server).bulk.losses
    assert (loss.port > 0, loss.lost) == (True, 0)  # the port it was tried from
