"""A device's wall clock is stepped, and nothing else is; its journal can be read all the same."""

from __future__ import annotations

import ast
import json
import os
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from emulator.lab.campaign.skew import build_library, on_host_clock

_ASK = """
import datetime, json, sys, time
for _ in sys.stdin:
    now = datetime.datetime.now(datetime.UTC).timestamp()
    print(json.dumps([time.time(), now, time.monotonic()]), flush=True)
"""


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("skew") / "skew.so"
    build_library(target)
    return target


def test_a_step_is_felt_at_once_and_by_the_wall_clock_alone(library: Path, tmp_path: Path) -> None:
    offset = tmp_path / "clock"
    offset.write_bytes(bytes(8))
    settings = {**os.environ, "LD_PRELOAD": str(library), "MIRRORLAB_CLOCK": str(offset)}
    argv = [sys.executable, "-c", _ASK]
    with subprocess.Popen(
        argv, env=settings, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as program:

        def ask() -> list[float]:
            assert program.stdin is not None
            assert program.stdout is not None
            program.stdin.write("\n")
            program.stdin.flush()
            return [float(n) for n in json.loads(program.stdout.readline())]

        before = ask()
        with offset.open("r+b") as file:
            file.write(struct.pack("=q", -3600 * 10**9))
        after = ask()
        program.stdin.close()
    went_by = after[2] - before[2]
    assert 0 <= went_by < 60
    for clock in (0, 1):
        assert after[clock] - before[clock] == pytest.approx(went_by - 3600, abs=0.5)


def test_a_journal_is_put_back_on_the_hosts_clock() -> None:
    lines = [json.dumps({"time": t, "what": w}) + "\n" for t, w in ((10.0, "a"), (3611.0, "b"))]
    text = "".join(lines).encode()
    step = len(lines[0])
    read = on_host_clock(text, [(step, 3600.0)])
    assert [(r["time"], r["what"]) for r in read] == [(10.0, "a"), (11.0, "b")]
    assert [r["what"] for r in on_host_clock(text, [(step, 3600.0)], from_byte=step)] == ["b"]
    assert on_host_clock(text + b'{"time": 1', []) == on_host_clock(text, [])


def test_no_decision_of_a_device_reads_the_wall_clock() -> None:
    """It is read for what is written down: the journal's lines, the extension's state object;
    and for the counter of authenticated heartbeats (`core.heartbeatguard`, off by default), which
    has to grow across restarts."""
    device = Path(__file__).parents[3] / "emulator" / "device"
    core, kernel = device.parent / "core", device.parent / "kernel"
    readers = set()
    for path in [*device.glob("*.py"), *core.glob("*.py"), *kernel.glob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Attribute) and (
                (node.attr in ("time", "time_ns") and ast.unparse(node.value) == "time")
                or (node.attr in ("now", "utcnow", "today") and "date" in ast.unparse(node.value))
            ):
                readers.add(path.name)
    assert readers == {"journal.py", "extension.py", "peerlink.py"}
    assert (device / "peerlink.py").read_text().count("time.time_ns") == 1
    assert (device / "extension.py").read_text().count("datetime.now") == 1
    assert '"timestamp": datetime.now(UTC)' in (device / "extension.py").read_text()
