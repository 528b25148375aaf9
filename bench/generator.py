"""The load, and what answers it: one program, run inside a namespace of a lab.

    generator.py serve ADDRESS                           echo on ECHO, sink on SINK, until killed
    generator.py bulk ADDRESS SECONDS                    one connection, as many bytes as it takes
    generator.py pingpong ADDRESS SECONDS                one connection, one small message at a time
    generator.py connect ADDRESS SECONDS ABREAST         connect, one message, its echo, close
    generator.py connect ADDRESS SECONDS ABREAST RATE    the same, so many a second at most
    generator.py interactive ADDRESS SECONDS CONNECTIONS many connections, each as pingpong

Prints one JSON object. Standard library alone. Every byte that comes back is compared with what
was sent: a wrong one ends the program with an error, and the measurement with it.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import select
import socket
import sys
import threading
import time

ECHO, SINK = 9000, 9001
MESSAGE = bytes(range(32))
_CHUNK = 8 << 20
_WARM = 200  # round trips not counted


def serve(address: str) -> None:
    """Both servers, each in a process of its own."""
    if os.fork() == 0:
        _sink(address)
    _echo(address)


def _sink(address: str) -> None:
    listener = socket.create_server((address, SINK), backlog=64)
    while True:
        threading.Thread(target=_swallow, args=(listener.accept()[0],), daemon=True).start()


def _swallow(connection: socket.socket) -> None:
    """Takes bytes without copying them; says at the end how many there were."""
    count = 0
    with connection:
        while got := connection.recv_into(_SCRATCH, 0, socket.MSG_TRUNC):
            count += got
        connection.sendall(count.to_bytes(8, "big"))


_SCRATCH = bytearray(1 << 20)


def _echo(address: str) -> None:
    listener = socket.create_server((address, ECHO), backlog=4096)
    ready, connections = select.epoll(), {}
    ready.register(listener.fileno(), select.EPOLLIN)
    while True:
        for fd, _ in ready.poll():
            if fd == listener.fileno():
                connection = listener.accept()[0]
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                connections[connection.fileno()] = connection
                ready.register(connection.fileno(), select.EPOLLIN)
                continue
            connection = connections[fd]
            try:
                data = connection.recv(65536)
            except OSError:
                data = b""
            if data:
                connection.sendall(data)
            else:
                del connections[fd]
                connection.close()


def bulk(address: str, seconds: float) -> dict[str, float]:
    """Mbit/s, from the first byte to the receiver's word that it has the last."""
    source = os.memfd_create("bulk")
    os.truncate(source, _CHUNK)
    with socket.create_connection((address, SINK), timeout=30) as connection:
        connection.settimeout(None)
        began, sent = time.perf_counter(), 0
        while time.perf_counter() - began < seconds:
            sent += os.sendfile(connection.fileno(), source, 0, _CHUNK)
        connection.shutdown(socket.SHUT_WR)
        connection.settimeout(60)
        received = int.from_bytes(connection.recv(8, socket.MSG_WAITALL), "big")
        took = time.perf_counter() - began
    if received != sent:
        raise SystemExit(f"{sent} bytes sent, {received} received")
    return {"mbit_s": sent * 8 / took / 1e6}


def pingpong(address: str, seconds: float) -> dict[str, float]:
    """Microseconds there and back."""
    times: list[int] = []
    with socket.create_connection((address, ECHO), timeout=30) as connection:
        connection.settimeout(None)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        until = time.perf_counter() + seconds
        while time.perf_counter() < until:
            sent = time.perf_counter_ns()
            connection.send(MESSAGE)
            if connection.recv(64) != MESSAGE:
                raise SystemExit("another message came back than was sent")
            times.append(time.perf_counter_ns() - sent)
    times = sorted(times[_WARM:]) or [0]
    return {f"p{p}_us": times[min(len(times) - 1, len(times) * p // 100)] / 1e3 for p in (50, 99)}


def connect(address: str, seconds: float, abreast: int, rate: float = 0) -> dict[str, float]:
    """Connections that were made, used and closed, a second; and what one took, p50 and p99."""
    ready, begun = select.epoll(), {}
    began = time.perf_counter()
    made = done = 0
    times: list[float] = []

    def begin() -> None:
        nonlocal made
        made += 1
        connection = socket.socket()
        connection.setblocking(False)
        connection.connect_ex((address, ECHO))
        begun[connection.fileno()] = [connection, time.perf_counter(), False]
        ready.register(connection.fileno(), select.EPOLLOUT)

    def due(now: float) -> int:
        wanted = abreast - len(begun)
        return min(wanted, int((now - began) * rate) + 1 - made) if rate else wanted

    while (now := time.perf_counter()) - began < seconds:
        for _ in range(due(now)):
            begin()
        for fd, _ in ready.poll(0.001 if rate else 1):
            entry = begun[fd]
            if not entry[2]:
                entry[0].send(MESSAGE)
                entry[2] = True
                ready.modify(fd, select.EPOLLIN)
                continue
            if entry[0].recv(64) != MESSAGE:
                raise SystemExit("another message came back than was sent")
            times.append(time.perf_counter() - entry[1])
            ready.unregister(fd)
            entry[0].close()
            del begun[fd]
            done += 1
    took = time.perf_counter() - began
    if not times:
        raise SystemExit("not one connection was made")
    times.sort()
    return {
        "per_s": done / took, "done": done,
        "p50_us": times[len(times) // 2] * 1e6, "p99_us": times[len(times) * 99 // 100] * 1e6,
    }  # fmt: skip


def interactive(address: str, seconds: float, count: int) -> dict[str, float]:
    """Requests answered a second, over all connections."""
    ready, connections, done = select.epoll(), {}, 0
    for _ in range(count):
        connection = socket.create_connection((address, ECHO), timeout=30)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connections[connection.fileno()] = connection
        ready.register(connection.fileno(), select.EPOLLIN)
    for again in range(2):  # once each, to the end: by then every connection stands
        for connection in connections.values():
            connection.send(MESSAGE)
        for connection in connections.values() if not again else ():
            if connection.recv(64) != MESSAGE:
                raise SystemExit("another message came back than was sent")
    began = time.perf_counter()
    while time.perf_counter() - began < seconds:
        for fd, _ in ready.poll(1):
            connection = connections[fd]
            if connection.recv(64) != MESSAGE:
                raise SystemExit("another message came back than was sent")
            connection.send(MESSAGE)
            done += 1
    took = time.perf_counter() - began
    for connection in connections.values():
        connection.close()
    return {"requests_s": done / took}


def main() -> None:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    what, address, *numbers = sys.argv[1:]
    if what == "serve":
        with contextlib.suppress(KeyboardInterrupt):
            serve(address)
        return
    seconds = float(numbers[0])
    more = [float(n) if "." in n else int(n) for n in numbers[1:]]
    programs = {"bulk": bulk, "pingpong": pingpong, "connect": connect, "interactive": interactive}
    print(json.dumps(programs[what](address, seconds, *more)))  # type: ignore[operator]


if __name__ == "__main__":
    main()
