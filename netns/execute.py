"""Running things inside a namespace. The only place of the package that starts processes.

A Python call enters a namespace in a throw-away thread (setns acts on the thread, which is
never used again); a program is started by `ip netns exec`, which also gives it the /sys of
its namespace. Programs that may leave children run in a PID namespace of their own, so
that killing the first process kills them all.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, TypeVar

RUN_NETNS = Path("/run/netns")
_CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)

T = TypeVar("T")


class NamespaceError(RuntimeError):
    """The namespace does not exist or cannot be entered."""


def _enter(namespace: str) -> None:
    try:
        with (RUN_NETNS / namespace).open() as handle:
            if _libc.setns(handle.fileno(), _CLONE_NEWNET):
                code = ctypes.get_errno()
                raise NamespaceError(f"{namespace}: {os.strerror(code)}")
    except OSError as error:
        raise NamespaceError(f"{namespace}: {error.strerror}") from error


def call_in(namespace: str, function: Callable[[], T]) -> T:
    """`function()` inside the namespace, its result or exception handed back.

    Sockets it opens stay in that namespace. Raises NamespaceError.
    """
    return _in_thread(f"in-{namespace}", lambda: _enter(namespace), function)


def call_apart(function: Callable[[], T]) -> T:
    """`function()` in a network namespace of its own, which has no name: however we end, kill -9
    among it, the kernel takes it away. Programs it runs are in it. Raises NamespaceError."""
    return _in_thread("apart", _leave, function)


def _leave() -> None:
    if _libc.unshare(_CLONE_NEWNET):
        raise NamespaceError(f"unshare: {os.strerror(ctypes.get_errno())}")


def _in_thread(name: str, enter: Callable[[], None], function: Callable[[], T]) -> T:
    result: list[T] = []
    failure: list[BaseException] = []

    def run() -> None:
        try:
            enter()
            result.append(function())
        except BaseException as error:  # handed to the caller below
            failure.append(error)

    thread = threading.Thread(target=run, name=name)
    thread.start()
    thread.join()
    if failure:
        raise failure[0]
    return result[0]


# Calls the machine "$1", binds every file below "$2" over its name below /etc, runs the rest.
_AS_NODE = (
    'echo "$1" > /proc/sys/kernel/hostname; etc=$2; shift 2; '
    'for file in $(cd "$etc" && find . -type f); do '
    'mount --bind "$etc/$file" "/etc/$file" || exit 1; done; exec "$@"'
)


def command_in(
    namespace: str,
    argv: Sequence[str | Path],
    *,
    tree: bool = False,
    etc: Path | None = None,
) -> list[str]:
    """The argv that runs `argv` in the namespace.

    `tree`: in a PID namespace that dies with its first process; `etc`: a folder whose
    files stand in for those of the same name in /etc, the host's name being the node's.
    """
    words = ["ip", "netns", "exec", namespace]
    if tree:
        words += ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"]
    elif etc:
        words += ["unshare", "--mount"]
    if etc:
        node = namespace.split("-", 2)[-1]
        words += ["--uts", "sh", "-c", _AS_NODE, "sh", node, str(etc)]
    return [*words, *map(str, argv)]


def spawn(
    namespace: str,
    argv: Sequence[str | Path],
    *,
    log: IO[bytes] | int,
    tree: bool = True,
    etc: Path | None = None,
) -> subprocess.Popen[bytes]:
    """Start a program in the namespace, detached from our terminal; stdout and stderr to `log`."""
    return subprocess.Popen(
        command_in(namespace, argv, tree=tree, etc=etc),
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        start_new_session=True,
    )


def run(
    namespace: str | None, argv: Sequence[str | Path], *, stdin: str = "", timeout_s: float = 30.0
) -> str:
    """Run a program to its end, return its output; raises NamespaceError when it fails.
    None: in the namespace of the calling thread."""
    done = subprocess.run(
        command_in(namespace, argv) if namespace else [*map(str, argv)],
        input=stdin,
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )
    if done.returncode:
        what = " ".join(map(str, argv))
        raise NamespaceError(
            f"[{namespace or 'here'}] {what}: {done.stderr.strip() or done.returncode}"
        )
    return done.stdout
