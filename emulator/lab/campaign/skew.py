"""A lab whose devices' wall clocks can be stepped, each by itself.

The host's clock is everybody's and stays as it is, and a time namespace has no wall clock of
its own. So a device's processes are started with a small library before libc's, which adds an
offset to what CLOCK_REALTIME reads; the offset lies in a file of eight bytes, mapped into
memory, so a step takes effect at once in the device and in its failover extension. Monotonic
time is untouched, as it is on a machine whose clock is set.

A stepped clock shows in the device's journal. `read_journal` puts its lines back on the host's
clock, by which everything else is timed: the lab knows what it did and when.
"""

from __future__ import annotations

import json
import struct
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from emulator.lab.deployment import DEVICES
from emulator.lab.instance import Lab
from emulator.lab.wait import LabFault

_SOURCE = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static int (*real)(clockid_t, struct timespec *);
static volatile int64_t *offset;  /* nanoseconds */

__attribute__((constructor)) static void begin(void) {
    const char *path = getenv("MIRRORLAB_CLOCK");
    int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    if (file < 0) return;
    void *map = mmap(0, 8, PROT_READ, MAP_SHARED, file, 0);
    close(file);
    if (map != MAP_FAILED) offset = map;
}

int clock_gettime(clockid_t id, struct timespec *ts) {
    if (!real) begin();
    int failed = real(id, ts);
    if (failed || !offset || (id != CLOCK_REALTIME && id != CLOCK_REALTIME_COARSE)) return failed;
    int64_t all = (int64_t)ts->tv_sec * 1000000000 + ts->tv_nsec + *offset;
    ts->tv_sec = all / 1000000000;
    ts->tv_nsec = all % 1000000000;
    return 0;
}

int gettimeofday(struct timeval *restrict tv, void *restrict zone) {
    struct timespec ts;
    (void)zone;
    if (clock_gettime(CLOCK_REALTIME, &ts)) return -1;
    tv->tv_sec = ts.tv_sec;
    tv->tv_usec = ts.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *out) {
    struct timespec ts;
    clock_gettime(CLOCK_REALTIME, &ts);
    if (out) *out = ts.tv_sec;
    return ts.tv_sec;
}
"""


@dataclass(frozen=True, slots=True)
class _Step:
    """From this place of the journal on the device's clock is so much ahead, in seconds."""

    at_byte: int
    ahead_s: float


class SkewedLab(Lab):
    """A Lab, and `step_clock`. Raises LabFault when the library cannot be made (gcc)."""

    def create(self) -> None:
        self._steps: dict[str, list[_Step]] = {node: [] for node in DEVICES}
        self.evidence.mkdir(parents=True, exist_ok=True)
        # Not in /run, which need not allow programs.
        self._library = self.evidence.resolve() / "skew.so"
        build_library(self._library)
        for node in DEVICES:
            self._offset(node).write_bytes(bytes(8))
        super().create()

    def step_clock(self, node: str, ahead_s: float) -> None:
        """From now on the node's wall clock is so much ahead of the host's (behind, below 0)."""
        steps = self._steps[node]
        if ahead_s == (steps[-1].ahead_s if steps else 0.0):
            return
        journal = self.evidence / f"{node}.jsonl"
        steps.append(_Step(journal.stat().st_size if journal.exists() else 0, ahead_s))
        with self._offset(node).open("r+b") as file:
            file.write(struct.pack("=q", int(ahead_s * 1e9)))

    def read_journal(self, node: str, from_byte: int = 0) -> list[dict[str, object]]:
        """The journal's whole lines from there on, their times on the host's clock."""
        path = self.evidence / f"{node}.jsonl"
        text = path.read_bytes() if path.exists() else b""
        return on_host_clock(text, [(s.at_byte, s.ahead_s) for s in self._steps[node]], from_byte)

    def _python(self, name: str, node: str, arguments: list[str | Path]) -> None:
        if name not in DEVICES:
            super()._python(name, node, arguments)
            return
        preload = ["env", f"LD_PRELOAD={self._library}", f"MIRRORLAB_CLOCK={self._offset(node)}"]
        self._program(name, node, [*preload, sys.executable, *arguments])

    def _offset(self, node: str) -> Path:
        return self.evidence.resolve() / f"{node}.clock"


def build_library(target: Path) -> None:
    """Raises LabFault."""
    argv = ["gcc", "-O2", "-shared", "-fPIC", "-x", "c", "-", "-o", str(target), "-ldl"]
    try:
        done = subprocess.run(argv, input=_SOURCE, capture_output=True, text=True, check=False)
    except OSError as error:
        raise LabFault(f"gcc, for the devices' clocks: {error.strerror}") from error
    if done.returncode:
        raise LabFault(f"gcc, for the devices' clocks: {done.stderr.strip().splitlines()[-1]}")


def on_host_clock(
    journal: bytes, steps: list[tuple[int, float]], from_byte: int = 0
) -> list[dict[str, object]]:
    """The whole lines from a byte on, each `time` less what its clock was ahead: (byte, seconds
    from there on), in order."""
    found, at = [], 0
    for line in journal.splitlines(keepends=True):
        ahead_s = next((ahead for byte, ahead in reversed(steps) if byte <= at), 0.0)
        if at >= from_byte and line.endswith(b"}\n"):
            record = json.loads(line)
            found.append({**record, "time": round(float(record["time"]) - ahead_s, 6)})
        at += len(line)
    return found
