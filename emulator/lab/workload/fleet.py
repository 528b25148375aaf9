"""Fifty health-record sessions at once: `client ADDRESS LOG ETC [OPTIONS]`, `server ADDRESS`.

Each is a connection of its own to a port of its own, byte-checked as every session, and of
one of four kinds:

    ehr-idle          a chart left open: some lines, then nothing until woken
    ehr-client-first  a clerk at work: a line, its echo
    ehr-server-first  an instrument's results: the server alone speaks
    ehr-bursty        an order set now and then: BURST lines at once, then nothing for a while

One process with a thread a session at the client, one process at the server.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
import threading
import time
from functools import partial
from pathlib import Path
from typing import Any, TextIO

from emulator.lab.workload.applications import FLEET_PORTS, application
from emulator.lab.workload.session import (
    LINE_BYTES,
    PACE_S,
    Conversation,
    Ended,
    Listening,
    line,
    open_port,
    wake_file,
    write_log,
)

BURST, EVERY_S = 6, 2.0
_SERVER_FIRST = "ehr-server-first"


class _Member(Conversation):
    report_s = 0.5  # fifty of them write into one log


class _Listener(Listening):
    report_s = 0.5


class _Bursting(_Member):
    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._next = time.monotonic()

    def _speak(self) -> None:
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + EVERY_S
            for _ in range(BURST):
                super()._speak()


_ROLES: dict[str, type[Conversation]] = {_SERVER_FIRST: _Listener, "ehr-bursty": _Bursting}


def converse(name: str, address: str, file: TextIO, wake: Path) -> None:
    """One session, from its beginning to its end."""
    kind = application(name)
    log = partial(write_log, file, name)
    conversation = None
    try:
        transport = open_port(address, FLEET_PORTS[name])
        log("open")
        conversation = _ROLES.get(kind, _Member)(transport, kind, log, wake)
        conversation.run()
    except (Ended, OSError) as error:
        received = conversation.received if conversation else 0
        with contextlib.suppress(OSError):
            log("ended", reason=str(error), received=received)


async def _echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
    writer.close()


async def _feed(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    index = 0
    with contextlib.suppress(OSError):
        while not writer.is_closing():
            writer.write(line(index, LINE_BYTES[_SERVER_FIRST]))
            await writer.drain()
            index += 1
            await asyncio.sleep(PACE_S[_SERVER_FIRST])
    writer.close()


async def _serve(address: str) -> None:
    for name, port in FLEET_PORTS.items():
        handler = _feed if application(name) == _SERVER_FIRST else _echo
        await asyncio.start_server(handler, address, port)
    await asyncio.Event().wait()


def main() -> int:
    """The server never returns; the client does once every session has ended."""
    match sys.argv[1:]:
        case ["server", address]:
            asyncio.run(_serve(address))
        case ["client", address, path, *_]:
            with open(path, "a", buffering=1) as file:
                wake = wake_file(Path(path))
                threads = [
                    threading.Thread(target=converse, args=(name, address, file, wake))
                    for name in FLEET_PORTS
                ]
                for thread in threads:
                    thread.start()
                for thread in threads:
                    thread.join()
        case _:
            print(__doc__, file=sys.stderr)
            return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
