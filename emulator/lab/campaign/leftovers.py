"""What is left on a host of one lab, whatever happened to it.

Two kinds of evidence. What bears the lab's mark: namespaces, folders, mounts and cgroups that
have its id in their names; processes that are, or were, in one of its namespaces, or that
inherited the folder for temporary files which its command was given (nobody else has that).
And what a lab never touches, so that anything new there is a leak: the host's own interfaces,
packet filter, mounts, cgroups and System V shared memory, and namespaces that no lab has.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

from emulator.lab.instance import ROOT, down
from netns.execute import RUN_NETNS
from netns.topology import NAMESPACE_PREFIX

_FOLDERS = [Path(p) for p in ("/run", "/tmp", "/var/tmp", "/dev/shm")]
_SPOOLS = "mirrorlab-replay-*"
_LOOK_DEEP = 2  # levels of the folders above
Snapshot = dict[str, frozenset[str]]


def host() -> Snapshot:
    """The host's own things, by kind; no lab, of whoever, has any business with them."""
    mounts = Path("/proc/self/mountinfo").read_text().splitlines()
    places = [line.split()[4] for line in mounts]
    return {
        "namespace of no lab": frozenset(p.name for p in RUN_NETNS.glob("*") if not _lab_of(p)),
        "interface": frozenset(path.name for path in Path("/sys/class/net").iterdir()),
        "packet filter": _lines("nft", "list", "ruleset") | _lines("iptables-save"),
        "mount": frozenset(p for p in places if not p.startswith(f"{RUN_NETNS}/")),
        "cgroup": frozenset(map(str, Path("/sys/fs/cgroup").glob("**/"))),
        "shared memory": frozenset(Path("/proc/sysvipc/shm").read_text().splitlines()[1:]),
    }


def _lab_of(namespace: Path) -> bool:
    """Whether it is one of a lab that is there: labs beside ours come and go."""
    prefix, _, rest = namespace.name.partition("-")
    return prefix == NAMESPACE_PREFIX and (ROOT / rest.split("-")[0]).exists()


def _lines(*argv: str) -> frozenset[str]:
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    return frozenset(line for line in done.stdout.splitlines() if not line.startswith(("#", ":")))


class Trace:
    """Follows one lab. `scratch`: the TMPDIR its commands are given, this lab's alone."""

    def __init__(self, scratch: Path) -> None:
        self._scratch = scratch
        self._before = host()
        self._open: dict[str, int] = {}  # namespace -> a descriptor: no other gets its number

    def __enter__(self) -> Trace:
        return self

    def __exit__(self, *_: object) -> None:
        for descriptor in self._open.values():
            os.close(descriptor)

    def environment(self) -> dict[str, str]:
        """What the lab's commands inherit."""
        return {**os.environ, "TMPDIR": str(self._scratch)}

    def note(self, lab: str) -> None:
        """Remember the namespaces the lab has now."""
        for path in RUN_NETNS.glob(f"{NAMESPACE_PREFIX}-{lab}-*"):
            if path.name not in self._open:
                with contextlib.suppress(OSError):
                    self._open[path.name] = os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    def left(self, lab: str) -> list[str]:
        """Everything that is left, a line each."""
        found = [f"namespace {path.name}" for path in RUN_NETNS.glob(f"*-{lab}-*")]
        found += [f"state folder {path}" for path in ROOT.glob(lab)]
        found += [f"process {pid}: {what}" for pid, what in self.processes(lab)]
        found += [f"temporary file {path}" for path in self._scratch.rglob("*")]
        found += [f"file {path}" for path in _named(lab)]
        mounts = Path("/proc/self/mountinfo").read_text().splitlines()
        found += [f"mount {line.split()[4]}" for line in mounts if lab in line]
        now = host()
        for kind, things in now.items():
            found += [f"{kind} {thing}" for thing in sorted(things - self._before[kind])]
        return found

    def end_all(self, lab: str) -> None:
        """The proof ends, however it does: so does what it found left, or had no time to."""
        for pid, _ in self.processes(lab):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if lab:
            down(lab)

    def processes(self, lab: str) -> Iterator[tuple[int, str]]:
        """Its living processes, wherever they are now, with their command lines."""
        ours = {_identity(os.fstat(descriptor)) for descriptor in self._open.values()}
        mark = f"TMPDIR={self._scratch}".encode()
        name = f"{NAMESPACE_PREFIX}-{lab}-".encode()
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit() or int(entry.name) == os.getpid():
                continue
            with contextlib.suppress(OSError):
                words = (entry / "cmdline").read_bytes()
                inside = _identity((entry / "ns/net").stat()) in ours
                marked = mark in (entry / "environ").read_bytes().split(b"\0")
                if inside or marked or name in words:
                    yield int(entry.name), words.replace(b"\0", b" ").decode(errors="replace")


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino


def _named(lab: str) -> Iterator[Path]:
    """Files and folders with the lab's id in their names; recordings nobody replays any more."""
    for folder in _FOLDERS:
        for depth in range(_LOOK_DEEP):
            pattern = "/".join(["*"] * depth + [f"*{lab}*"])
            with contextlib.suppress(OSError):
                yield from (p for p in folder.glob(pattern) if ROOT not in p.parents)
    yield from (p for p in Path("/var/tmp").glob(_SPOOLS) if not _in_use(p))


def _in_use(folder: Path) -> bool:
    """Whether some process has the folder, or a file in it, open or on its command line."""
    name = str(folder).encode()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                if name in (entry / "cmdline").read_bytes():
                    return True
                for link in (entry / "fd").iterdir():
                    if os.readlink(link).startswith(str(folder)):
                        return True
    return False
