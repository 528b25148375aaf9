"""A program at the end of a connection in the place of one at the end of a pipe."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest

from emulator.lab.campaign import relay
from emulator.lab.wait import wait_until

PROGRAM = [sys.executable, "-I", "-S", relay.__file__]


@pytest.fixture
def port() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        chosen = free.getsockname()[1]
    server = subprocess.Popen([*PROGRAM, "--serve", "127.0.0.1", str(chosen)])

    def there() -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", chosen)) == 0

    with server:
        wait_until("the relay", there, timeout_s=20)
        yield chosen
        server.kill()


def test_bytes_pass_both_ways_and_both_ends_end(port: int) -> None:
    data = bytes(range(256)) * 4096
    done = subprocess.run(
        [*PROGRAM, "127.0.0.1", str(port), "/bin/cat"], input=data, capture_output=True, timeout=30
    )
    assert (done.returncode, done.stdout == data, done.stderr) == (0, True, b"")


def test_a_program_that_ends_first_ends_the_connection(port: int) -> None:
    """Its end of the connection is the only one: the server has closed its own copy."""
    with subprocess.Popen(
        [*PROGRAM, "127.0.0.1", str(port), "/bin/echo", "done"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    ) as waiting:  # fmt: skip
        assert waiting.stdout is not None
        assert waiting.stdout.read() == b"done\n"
        assert waiting.wait(20) == 0


def test_from_a_file_as_well(port: int, tmp_path: object) -> None:
    """Which epoll does not take."""
    with open(relay.__file__, "rb") as source:
        done = subprocess.run(
            [*PROGRAM, "127.0.0.1", str(port), "/bin/cat"], stdin=source, capture_output=True,
            timeout=30,
        )  # fmt: skip
    with open(relay.__file__, "rb") as source:
        assert done.stdout == source.read()
