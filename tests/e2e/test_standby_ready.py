"""`standby-ready` against a running lab, by its command: ready, cut, one way, automap."""

from __future__ import annotations

import json
import secrets
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from tests.e2e.conftest import MIRRORLAB

pytestmark = pytest.mark.e2e
SESSIONS = 8


class Hands:
    """A lab, and the commands of a person at it."""

    def __init__(self, scenario: str) -> None:
        self.at = ("--name", f"r{secrets.token_hex(3)}")
        self.sessions = ExitStack()
        done = self("up", scenario)
        assert done.returncode == 0, done.stderr

    def __call__(self, *words: str) -> subprocess.CompletedProcess[str]:
        argv = [*MIRRORLAB, *words, *self.at]
        return subprocess.run(argv, capture_output=True, text=True, timeout=90)

    def ready(self, *words: str) -> tuple[int, dict[str, Any]]:
        done = self("standby-ready", "--format", "json", *words)
        assert done.stdout, done.stderr
        return done.returncode, json.loads(done.stdout)

    def ssh(self, *command: str) -> subprocess.Popen[str]:
        argv = [*MIRRORLAB, "exec", "client", *self.at, "--", "ssh", "vip", *command]
        process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.sessions.enter_context(process)
        self.sessions.callback(process.kill)
        return process

    def converse(self) -> subprocess.Popen[str]:
        """An open ssh session."""
        process = self.ssh("cat")
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write("hello\n")
        process.stdin.flush()
        assert process.stdout.readline() == "hello\n"
        return process

    def close(self) -> None:
        self("down")
        self.sessions.close()


def failing(answer: dict[str, Any]) -> dict[str, str]:
    return {check["name"]: check["text"] for check in answer["checks"] if not check["ok"]}


@pytest.fixture
def hands() -> Iterator[Hands]:
    made = Hands("article-snat-pool")
    yield made
    made.close()


def test_ready_then_cut_then_healed(hands: Hands) -> None:
    """With an open connection; what was open before the cut is said to be missing or held."""
    hands.converse()
    status, answer = hands.ready("--wait", "60")
    assert (status, failing(answer)) == (0, {})
    assert answer["flows"] == {"active": 1, "standby": 1, "missing": 0, "unusable": 0}

    assert hands("channel", "cut").stdout == "mirroring channel: cut\n"
    status, answer = hands.ready()
    assert status == 1
    assert failing(answer)["path"] == "cut: nothing arrives, either way"

    assert hands("channel", "heal").stdout == "mirroring channel: healed\n"
    status, answer = hands.ready("--wait", "60")
    assert (status, failing(answer)) == (0, {})
    assert answer["flows"]["missing"] == 0


@pytest.mark.long
@pytest.mark.parametrize(
    ("fault", "sender"), [("to-standby-lost", "bigip-a"), ("to-active-lost", "bigip-b")]
)
def test_one_way_under_load(hands: Hands, fault: str, sender: str) -> None:
    """Several sessions, two of them busy; the direction that is lost is named, and after the
    channel is given up new connections are said to be missing at the standby, and why."""
    busy = [hands.ssh("yes", "mirrorlab") for _ in range(2)]
    for process in busy:
        assert process.stdout is not None
        assert process.stdout.readline() == "mirrorlab\n"
        # Read by nobody: the windows close, and what is under way is sent again and again.
    for _ in range(SESSIONS):
        hands.converse()
    status, answer = hands.ready("--wait", "60")
    assert (status, failing(answer)) == (0, {})
    assert answer["flows"]["active"] == SESSIONS + 2

    hands("channel", fault)
    status, answer = hands.ready()
    assert status == 1
    other = {"bigip-a": "bigip-b", "bigip-b": "bigip-a"}[sender]
    assert failing(answer)["path"] == f"one way: what {sender} sends does not reach {other}"

    deadline = time.monotonic() + 60
    while "channel" not in failing(answer) and time.monotonic() < deadline:
        answer = hands.ready()[1]
    hands.converse()
    status, answer = hands.ready()
    assert [d["why"] for d in answer["differences"]] == ["the mirroring channel is down"]
    assert answer["flows"]["missing"] == 1
    hands("channel", "heal")
    assert hands.ready("--wait", "60")[0] == 0


@pytest.mark.long
def test_automap_is_held_and_would_not_do() -> None:
    """The article's case: the standby shows the connection, and it would be reset."""
    hands = Hands("article")
    try:
        hands.converse()
        status, answer = hands.ready("--wait", "5")
        assert status == 1
        assert list(failing(answer)) == ["usable"]
        [difference] = answer["differences"]
        assert difference["kind"] == "unusable"
        assert difference["why"].startswith("SNAT automap: 10.0.31.100:22 knows 10.0.11.11:")
        assert "the standby would send from 10.0.21.11:" in difference["why"]
    finally:
        hands.close()


@pytest.mark.long
def test_mirroring_switched_on_for_what_comes_after() -> None:
    """tmsh modify ltm virtual on both devices: the older connection stays without a copy."""
    hands = Hands("article-no-mirroring")
    try:
        hands.converse()
        for device in ("bigip-a", "bigip-b"):
            hands("tmsh", device, "modify ltm virtual vs_alien mirror enabled")
        deadline = time.monotonic() + 30
        while "channel" in failing(answer := hands.ready()[1]) and time.monotonic() < deadline:
            time.sleep(0.2)
        hands.converse()
        answer = hands.ready()[1]
        assert [d["why"] for d in answer["differences"]] == [
            "made while vs_alien had mirroring off"
        ]
        assert answer["flows"] == {"active": 2, "standby": 1, "missing": 1, "unusable": 0}
        done = hands("tmsh", "bigip-a", "delete sys connection type self")
        assert (done.returncode, done.stdout) == (0, "")
        assert hands.ready("--wait", "10")[0] == 0
    finally:
        hands.close()
