"""The fixtures users script their own tests with: a test file of theirs, run by pytest."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.e2e

THEIRS = """
def test_a_run(run_scenario):
    run = run_scenario("article", virtual_server={"snat": "pool"}, sessions=["echo"])
    assert run.outcomes == {"echo": "SURVIVED"}
    assert run.causes == {"echo": None}
    assert (run.folder / "run.pcapng").exists()


def test_by_hand(lab, failover):
    pair = lab("article-snat-pool", cloud={"propagation_delay_s": 0.1})
    with pair.connect(7) as talk:
        talk.sendall(b"hello")
        assert talk.recv(5) == b"hello"
        assert failover(pair) == "bigip-b"
        talk.sendall(b"again")
        assert talk.recv(5) == b"again"
    assert "10.99.0.10:7" in pair.tmsh("bigip-b", "show sys connection")
    assert "10.0.1.10" in pair.run("client", "ip", "-4", "address")


def test_an_invalid_change_is_a_clear_error(run_scenario):
    import pytest
    with pytest.raises(ValueError, match="in no route"):
        run_scenario("article", virtual_server={"destination": "192.0.2.1"})
"""


def test_a_users_own_tests(tmp_path: Path) -> None:
    (tmp_path / "test_theirs.py").write_text(THEIRS)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path)],
        capture_output=True, text=True, timeout=200, cwd=tmp_path,
    )  # fmt: skip
    assert "3 passed" in done.stdout, done.stdout + done.stderr
