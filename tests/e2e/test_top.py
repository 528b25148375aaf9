"""`mirrorlab top` in a terminal: driven through a failover, resized, and left in every way."""

from __future__ import annotations

import os
import subprocess
import termios
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pexpect
import pyte
import pytest

from tests.e2e.conftest import MIRRORLAB
from tests.e2e.test_standby_ready import Hands

pytestmark = [pytest.mark.e2e, pytest.mark.long]
PATIENCE_S = 60


class Terminal:
    """The program in a pseudo-terminal, and what a person would see of it."""

    def __init__(self, argv: list[str], width: int = 80, height: int = 24) -> None:
        self.screen = pyte.Screen(width, height)
        self._stream = pyte.ByteStream(self.screen)
        self.child = pexpect.spawn(
            argv[0], argv[1:], dimensions=(height, width), timeout=PATIENCE_S,
            env={"TERM": "xterm-256color", "PATH": os.environ["PATH"], "LANG": "C.UTF-8"},
        )  # fmt: skip
        self.before = termios.tcgetattr(self.child.child_fd)

    def shows(self, seen: Callable[[str], bool], what: str) -> str:
        """Until the screen shows it; its text."""
        deadline = time.monotonic() + PATIENCE_S
        while not seen(self.text):
            assert time.monotonic() < deadline, f"not seen: {what}\n{self.text}"
            try:
                self._stream.feed(self.child.read_nonblocking(1 << 16, timeout=0.2))
            except pexpect.TIMEOUT:
                continue
        return self.text

    @property
    def text(self) -> str:
        return "\n".join(line.rstrip() for line in self.screen.display)

    def resize(self, width: int, height: int) -> None:
        self.screen.resize(height, width)
        self.child.setwinsize(height, width)


@pytest.fixture(scope="module")
def hands() -> Iterator[Hands]:
    made = Hands("article-snat-pool")
    made.converse()
    made.ready("--wait", "60")
    yield made
    made.close()


def top(hands: Hands) -> Terminal:
    return Terminal([*MIRRORLAB, "top", *hands.at])


def test_through_a_failover(hands: Hands) -> None:
    terminal = top(hands)
    text = terminal.shows(lambda t: "bigip-a ACTIVE" in t and "alive" in t, "bigip-a active")
    assert "mirroring up" in text
    assert len(text.splitlines()) == 24
    terminal.child.send("f")
    text = terminal.shows(lambda t: "bigip-b ACTIVE" in t, "bigip-b active")
    assert "bigip-a STANDBY" in text
    text = terminal.shows(
        lambda t: any("bigip-b ACTIVE" in line and "<- routes" in line for line in t.splitlines()),
        "the routes at bigip-b",
    )
    terminal.child.send("l")
    terminal.shows(lambda t: "[channel fault]" in t, "the channel cut")
    terminal.resize(132, 40)
    text = terminal.shows(lambda t: "virtual server" in t and "q quit" in t, "the wide form")
    terminal.child.send("l")
    terminal.shows(lambda t: "[channel fault]" not in t and "up, lag" in t, "healed")
    terminal.child.send("d")
    terminal.shows(lambda t: "[API outage]" in t, "the outage")
    terminal.child.send("d")
    terminal.shows(lambda t: "[API outage]" not in t, "its end")
    terminal.child.send("q")
    terminal.child.expect(pexpect.EOF)
    terminal.child.wait()
    assert terminal.child.exitstatus == 0


@pytest.mark.parametrize("signal", ["INT", "TERM", "QUIT"])
def test_it_leaves_the_terminal_as_it_was(hands: Hands, signal: str) -> None:
    """Run from a shell, which lives on and says how the terminal is."""
    inner = f"{' '.join(MIRRORLAB)} top {' '.join(hands.at)}"
    shell = pexpect.spawn("sh", ["-c", f"stty -g; {inner}; echo left $?; stty -g"],
                          dimensions=(24, 80), timeout=PATIENCE_S)  # fmt: skip
    shell.expect(rb"([0-9a-f:]{40,})\r\n")
    modes = shell.match.group(1)
    shell.expect("q quit")
    [child] = Path(f"/proc/{shell.pid}/task/{shell.pid}/children").read_text().split()
    subprocess.run(["kill", f"-{signal}", child], check=True)
    shell.expect(rb"left (\d+)")
    assert shell.match.group(1) == b"130"
    shell.expect(rb"([0-9a-f:]{40,})\r\n")
    assert shell.match.group(1) == modes
    shell.close()


def test_without_a_terminal_it_prints_lines(hands: Hands) -> None:
    once = hands("top", "--once").stdout
    assert "\x1b" not in once
    assert "bigip-a" in once
    assert "copy" in once
    process = subprocess.Popen(
        [*MIRRORLAB, "top", *hands.at], stdout=subprocess.PIPE, text=True, stdin=subprocess.DEVNULL
    )
    with process:
        assert process.stdout is not None
        assert any("= bigip-a" in process.stdout.readline() for _ in range(300))
        process.terminate()
        rest = process.stdout.read()
    assert process.returncode == 130
    assert "\x1b" not in rest
