"""A program's standard input and output over TCP: `relay ADDRESS PORT PROGRAM [WORD...]` here,
`relay --serve ADDRESS PORT` where the program is to run; or, for every connection to a port,
`relay --inetd ADDRESS PORT PIDFILE PROGRAM [WORD...]`, in the background until it is killed.

What OpenSSH's regression scripts run at the end of a pipe (`sshd -i`, `sftp-server`) runs at the
end of a connection instead: through the virtual server, in the backend. The connection begins
with one line, the program's folder and words as JSON; from then on it is the program's own.

Run as a file with `python -I -S`: hundreds are started, so it imports little.
"""

from __future__ import annotations

import json
import os
import selectors
import signal
import socket
import sys

_SIZE = 1 << 16


def relay(address: str, port: int, argv: list[str]) -> int:
    """Until the program has closed its end."""
    with socket.create_connection((address, port), timeout=60) as connection:
        connection.settimeout(None)
        connection.sendall(json.dumps([os.getcwd(), argv]).encode() + b"\n")
        watch = selectors.DefaultSelector()
        watch.register(connection, selectors.EVENT_READ)
        try:
            watch.register(0, selectors.EVENT_READ)
        except PermissionError:  # a file or /dev/null: epoll takes neither
            _drain(connection)
        while True:
            for key, _ in watch.select():
                if key.fileobj is connection:
                    data = connection.recv(_SIZE)
                    if not data:
                        return 0
                    _write(data)
                elif data := os.read(0, _SIZE):
                    connection.sendall(data)
                else:
                    watch.unregister(0)
                    connection.shutdown(socket.SHUT_WR)


def _drain(connection: socket.socket) -> None:
    while data := os.read(0, _SIZE):
        connection.sendall(data)
    connection.shutdown(socket.SHUT_WR)


def _write(data: bytes) -> None:
    while data:
        data = data[os.write(1, data) :]


def serve(address: str, port: int) -> None:
    """One program a connection, for ever."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel reaps them
    with socket.create_server((address, port), backlog=128) as listener:
        while True:
            connection, _ = listener.accept()
            if os.fork() == 0:
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                listener.close()
                _become(connection)
            connection.close()  # else its end would not be the connection's


def inetd(address: str, port: int, pidfile: str, argv: list[str]) -> None:
    """As `serve`, without a first line; returns at once in the process that calls it."""
    listener = socket.create_server((address, port), backlog=128)
    if os.fork():
        return
    os.setsid()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(null, descriptor)
    with open(pidfile, "w") as file:
        file.write(f"{os.getpid()}\n")
    try:
        while True:
            connection, _ = listener.accept()
            if os.fork() == 0:
                for number in (signal.SIGCHLD, signal.SIGTERM):
                    signal.signal(number, signal.SIG_DFL)
                listener.close()
                _run(connection, argv)
            connection.close()
    finally:
        os.unlink(pidfile)


def _become(connection: socket.socket) -> None:
    """This process becomes the program the first line names."""
    line = b""
    while not line.endswith(b"\n"):
        byte = connection.recv(1)
        if not byte:
            os._exit(1)
        line += byte
    folder, argv = json.loads(line)
    os.chdir(folder)
    _run(connection, argv)


def _run(connection: socket.socket, argv: list[str]) -> None:
    os.setsid()
    for descriptor in (0, 1):
        os.dup2(connection.fileno(), descriptor)
    connection.close()
    try:
        os.execvp(argv[0], argv)
    except OSError as error:
        sys.stderr.write(f"{argv[0]}: {error}\n")
        os._exit(127)


def main(words: list[str]) -> int:
    """See the module's description."""
    if words[0] == "--serve":
        serve(words[1], int(words[2]))
    if words[0] == "--inetd":
        inetd(words[1], int(words[2]), words[3], words[4:])
        return 0
    try:
        return relay(words[0], int(words[1]), words[2:])
    except OSError:
        return 255


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
