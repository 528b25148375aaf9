"""Packets to look at: a run's file in Wireshark's eyes, and captures of a running lab."""

from __future__ import annotations

import secrets
import signal
import socket
import subprocess
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from emulator.lab import wireshark
from emulator.lab.instance import Lab, all_labs
from emulator.wire import pcapng
from netns.execute import call_in
from tests.e2e.conftest import MIRRORLAB, Finished

pytestmark = pytest.mark.e2e
PATIENCE_S = 60
NAMES = (
    "frame.number", "frame.len", "ip.checksum.status", "tcp.checksum.status", "udp.checksum.status",
    "mirrorlab.type", "frame.comment", "_ws.expert.message", "frame.interface_name", "tcp.checksum",
)  # fmt: skip


@pytest.mark.parametrize("finished", ["article", "mirror-channel-cut", "onprem"], indirect=True)
def test_a_run_opened_with_the_profile(finished: Finished) -> None:
    """fastL4 and standard: checksums right, no segment above the MTU, nothing malformed, every
    message dissected, and comments on the frames the verdict names."""
    argv = ["tshark", "-C", wireshark.PROFILE, "-r", str(finished.folder / "run.pcapng")]
    argv += ["-T", "fields", "-E", "aggregator=\x1f"]
    done = subprocess.run(
        [*argv, *(word for name in NAMES for word in ("-e", name))],
        capture_output=True, text=True, check=True, env=wireshark.environment({"PATH": "/usr/bin"}),
    )  # fmt: skip
    assert wireshark.said(done.stderr) == ""
    rows = [line.split("\t") for line in done.stdout.splitlines()]
    assert max(int(row[1]) for row in rows) <= 1514
    # 0xffff is zero in one's complement, and right; tshark calls it bad (one segment in 65536).
    sure = [row for row in rows if "0xffff" not in row[9]]
    statuses = Counter(s for row in sure for field in row[2:5] for s in field.split("\x1f"))
    assert statuses["0"] == 0  # bad
    assert statuses["1"] > 2 * len(rows) * 0.9  # good, of IP and what it carries
    assert not any("alformed" in row[7] or "nknown mirror" in row[7] for row in rows)
    types = Counter(number for row in rows for number in row[5].split("\x1f") if number)
    standard = finished.result["mirror"]["commit"] is not None
    assert {"1", "2", "3", "4", "6"} <= set(types)
    assert bool(types["7"]) == standard

    told = {int(row[0]): row[6] for row in rows if row[6]}
    story = "\n".join(told.values())
    for session in finished.result["connections"]:
        for evidence in session["cause"]["evidence"]:
            assert f"{session['name']}: " in told[evidence["frame"]]
        if session["outcome"] == "RESET":
            assert f"{session['name']}: reset because: {session['cause']['text']}" in story
        assert f"{session['name']}: last good byte to the server" in story
    assert "failover triggered" in story
    assert "takeover: first heartbeat of bigip-b as the active device" in story
    onprem = finished.result["failover"]["mechanism"] == "gratuitous-arp"
    moved = "(gratuitous ARP)" if onprem else "accepted by the cloud"
    assert moved in story
    assert len(told) < 100


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    name = f"t{secrets.token_hex(3)}"
    subprocess.run([*MIRRORLAB, "up", "article-snat-pool", "--name", name], check=True)
    yield Lab.load(name)
    subprocess.run([*MIRRORLAB, "down", "--name", name], check=True)


def capturing(lab: Lab, *words: str) -> subprocess.Popen[bytes]:
    """`mirrorlab capture`, once it captures."""
    process = subprocess.Popen(
        [*MIRRORLAB, "capture", "--name", lab.id, *words],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert process.stderr is not None
    line = process.stderr.readline().decode()
    assert line.startswith("capturing at "), line
    return process


def ended(process: subprocess.Popen[bytes]) -> tuple[int, str]:
    assert process.stderr is not None
    with process, ThreadPoolExecutor(1) as pool:
        said = pool.submit(process.stderr.read).result(timeout=PATIENCE_S).decode()
        return process.wait(timeout=PATIENCE_S), said


def echo(lab: Lab) -> None:
    """A few bytes there and back through the virtual server."""

    def talk() -> None:
        with socket.create_connection(("10.99.0.10", 7), timeout=PATIENCE_S) as connection:
            connection.sendall(b"hello")
            assert connection.recv(5) == b"hello"

    call_in(lab.world.namespace("client"), talk)


def test_a_live_capture_is_piped_to_a_program(lab: Lab) -> None:
    """As in `... -w - | wireshark -k -i -`: shown while it goes on; the reader ends it."""
    source = capturing(lab, "bigip-a:ext", "client", "-f", "host vip and port 7", "-w", "-")
    argv = ["tshark", "-C", wireshark.PROFILE, "-i", "-", "-l", "-c", "8", "-T", "fields"]
    argv += ["-e", "frame.interface_name", "-e", "ip.dst_host", "-e", "tcp.dstport"]
    with subprocess.Popen(
        argv, stdin=source.stdout, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        env=wireshark.environment({"PATH": "/usr/bin"}), text=True,
    ) as reader:  # fmt: skip
        assert source.stdout is not None
        source.stdout.close()  # the reader has it
        echo(lab)
        assert reader.stdout is not None
        lines = [line.split() for line in reader.stdout]
    assert len(lines) == 8
    assert {tuple(line[:2]) for line in lines} == {("bigip-a", "ext"), ("client", "eth0")}
    assert ["client", "eth0", "vip", "7"] in lines
    status, said = ended(source)
    assert status == 0
    assert said.startswith("the reader went away: ")


def test_a_reader_that_goes_while_nothing_passes_ends_it_too(lab: Lab) -> None:
    source = capturing(lab, "backend-2", "-f", "udp port 9", "-w", "-")
    assert source.stdout is not None
    source.stdout.close()
    assert ended(source) == (0, "the reader went away: 0 frames captured\n")


def test_ctrl_c_leaves_a_whole_file(lab: Lab, tmp_path: Path) -> None:
    path = tmp_path / "live.pcapng"
    source = capturing(lab, "client", "bigip-a", "-w", str(path))
    echo(lab)
    source.send_signal(signal.SIGINT)
    status, said = ended(source)
    with path.open("rb") as file:
        frames = list(pcapng.read(file))
    assert (status, said) == (0, f"stopped: {len(frames)} frames captured\n")
    assert {"client eth0", "bigip-a ext", "bigip-a int"} <= {f.interface.name for f in frames}
    times = [frame.time_ns for frame in frames]
    assert times == sorted(times)


def test_without_a_file_it_prints_a_line_a_packet(lab: Lab) -> None:
    source = capturing(lab, "client", "-f", "port 7")
    assert source.stdout is not None
    echo(lab)
    lines = [source.stdout.readline().decode() for _ in range(4)]
    source.send_signal(signal.SIGINT)
    assert ended(source)[0] == 0
    assert all("client eth0" in line for line in lines)
    assert "client → vip" in lines[0]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["bigip-a", "-f", "host vip nd"], "mirrorlab: capture filter 'host vip nd': "),
        (["client", "-w", "/nowhere/x.pcapng"], "mirrorlab: /nowhere/x.pcapng: No such file"),
    ],
)
def test_what_cannot_be_captured(lab: Lab, words: list[str], message: str) -> None:
    done = subprocess.run(
        [*MIRRORLAB, "capture", "--name", lab.id, *words],
        capture_output=True, text=True, timeout=PATIENCE_S,
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr.startswith(message)
    assert done.stderr.count("\n") == 1


def test_a_lab_that_goes_down_ends_its_captures(lab: Lab, tmp_path: Path) -> None:
    """Last, as it takes the lab along; a capture must not keep anything of it alive."""
    source = capturing(lab, *lab.world.nodes, "-w", str(tmp_path / "all.pcapng"))
    subprocess.run([*MIRRORLAB, "down", "--name", lab.id], check=True, capture_output=True)
    status, said = ended(source)
    assert status == 0
    assert said.startswith(f"lab {lab.id} went down: ")
    assert lab.id not in all_labs()
