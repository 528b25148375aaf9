"""The commands as a person uses them, and what they say to bad input."""

from __future__ import annotations

import json
import secrets
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from emulator.lab.instance import ROOT, all_labs
from emulator.lab.wait import wait_until
from netns.build import labs, processes
from tests.e2e.conftest import MIRRORLAB

pytestmark = pytest.mark.e2e


def mirrorlab(*words: str, **options: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*MIRRORLAB, *words], capture_output=True, text=True, timeout=60, **options  # type: ignore[call-overload]
    )  # fmt: skip


@pytest.fixture
def name() -> Iterator[str]:
    """A lab name of our own; whatever is left of the lab is taken down."""
    chosen = f"t{secrets.token_hex(3)}"
    yield chosen
    mirrorlab("down", "--name", chosen)


def test_up_use_failover_down(name: str) -> None:
    """The whole of a session by hand: ssh through the VIP, mirrored flows, roles change."""
    at = ("--name", name)
    assert mirrorlab("up", "article-snat-pool", *at).returncode == 0

    again = mirrorlab("up", *at)
    assert again.returncode == 2
    assert again.stderr == (
        f"mirrorlab: lab '{name}' is already up: mirrorlab down, or --name for another one\n"
    )

    ssh = subprocess.Popen(
        [*MIRRORLAB, "exec", "client", *at, "--", "ssh", "vip", "cat"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert ssh.stdin is not None
    assert ssh.stdout is not None
    with ssh:
        ssh.stdin.write("before\n")
        ssh.stdin.flush()
        assert ssh.stdout.readline() == "before\n"
        listing = mirrorlab("tmsh", "bigip-b", "show sys connection type mirror", *at).stdout
        title, row, total = listing.splitlines()
        assert (title, total) == ("Sys::Connections", "Total records returned: 1")
        columns = row.split("  ")
        client = columns[0]
        assert client.startswith("10.0.1.10:")
        port = client.split(":")[1]
        assert columns[1:5] == ["10.99.0.10:22", f"10.88.0.10:{port}", "10.0.31.100:22", "tcp"]
        assert columns[6:] == ["(tmm: 0)", "none"]

        assert mirrorlab("failover", *at).stdout == "bigip-a: force-standby\n"
        roles = json.loads(mirrorlab("status", "--format", "json", *at).stdout)["devices"]
        assert (roles["bigip-a"]["role"], roles["bigip-b"]["role"]) == ("standby", "active")
        ssh.stdin.write("after\n")
        ssh.stdin.close()
        assert ssh.stdout.readline() == "after\n"  # waits for the route and the retransmission
    assert mirrorlab("down", *at).stdout == f"lab {name}: down\n"
    assert mirrorlab("down", *at).stdout == f"lab {name}: was not up\n"
    assert name not in all_labs()


def test_two_labs_side_by_side(name: str) -> None:
    """The same addresses in both, and neither sees the other."""
    other = f"{name}b"
    try:
        assert mirrorlab("up", "--name", name).returncode == 0
        assert mirrorlab("up", "--name", other).returncode == 0
        for lab in (name, other):
            argv = [*MIRRORLAB, "exec", "client", "--name", lab, "--", "ssh", "vip", "cat"]
            with subprocess.Popen(
                argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            ) as ssh:  # open while the device is asked: a closed flow is soon forgotten
                assert ssh.stdin is not None
                assert ssh.stdout is not None
                ssh.stdin.write("hello\n")
                ssh.stdin.flush()
                assert ssh.stdout.readline() == "hello\n"
                flows = mirrorlab("tmsh", "bigip-a", "show sys connection", "--name", lab)
                assert "Total records returned: 1" in flows.stdout
                ssh.stdin.close()
    finally:
        mirrorlab("down", "--name", other)


def test_dry_run_prints_the_plan_and_does_nothing(name: str) -> None:
    done = mirrorlab("up", "--dry-run", "--name", name)
    assert done.returncode == 0
    assert f"ip netns add ml-{name}-router" in done.stdout
    assert "10.99.0.0/24 via 10.0.10.11 onlink dev a-ext table" in done.stdout
    assert name not in all_labs()


def left_of(lab: str) -> list[object]:
    namespaces = labs().get(lab, [])
    return [*namespaces, *processes(namespaces), *ROOT.glob(lab)]


def stopped_run(output: Path, number: int) -> tuple[int, str]:
    """Start a run, send its process a signal once sessions converse; exit status and lab."""
    argv = [*MIRRORLAB, "run", "healthy", "--output", str(output)]
    process = subprocess.Popen(argv, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    assert process.stderr is not None
    with process:
        for line in process.stderr:
            if "watching steady traffic" in line:
                break
        [folder] = output.iterdir()
        lab = folder.name.rsplit("-", 1)[1]
        assert left_of(lab)
        process.send_signal(number)
        process.stderr.read()
    return process.returncode, lab


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_leaves_nothing(number: int, tmp_path: Path) -> None:
    """Ctrl-C and SIGTERM: exit 130, all taken down."""
    status, lab = stopped_run(tmp_path, number)
    assert status == 130
    assert left_of(lab) == []


def test_down_removes_what_a_killed_run_left(tmp_path: Path) -> None:
    """kill -9 of the run leaves its lab standing; `down` needs nothing from it."""
    status, lab = stopped_run(tmp_path, signal.SIGKILL)
    assert status == -signal.SIGKILL
    namespaces = labs()[lab]
    orphans = processes(namespaces)
    assert orphans
    assert mirrorlab("down", "--name", lab).stdout == f"lab {lab}: down\n"
    assert left_of(lab) == []
    wait_until(
        "orphans to be gone",
        lambda: not any(_alive(pid) for pid in orphans),
        timeout_s=5,
    )


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def yaml(text: str) -> Callable[[Path], str]:
    def write(folder: Path) -> str:
        path = folder / "mine.yaml"
        path.write_text(text)
        return str(path)

    return write


@pytest.mark.parametrize(
    ("scenario", "message"),
    [
        (
            lambda _: "artcle",
            "mirrorlab: unknown scenario 'artcle'; there are: application-timer, article, ",
        ),
        (lambda _: "no/such.yaml", "mirrorlab: no scenario file no/such.yaml"),
        (yaml("title: x\nsessions: [ssh\n"), "mine.yaml:3:1: "),
        (yaml("title: x\nvirtual_server:\n  snat: pol\n"), "mine.yaml:3:3: virtual_server.snat: "),
        (yaml("title: x\nmirroring: true\n"), "mine.yaml:2:1: mirroring: no such setting"),
        (yaml("- 1\n"), "mine.yaml:1:1: a scenario is a mapping"),
    ],
)
def test_bad_scenarios_get_one_clear_line(
    scenario: Callable[[Path], str], message: str, tmp_path: Path
) -> None:
    done = mirrorlab("run", scenario(tmp_path))
    assert done.returncode == 2
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""


@pytest.mark.parametrize("words", [["run", "article"], ["up"], ["down"], ["status"]])
def test_without_root_it_says_so(words: list[str]) -> None:
    """Inside a user namespace without a mapping nobody is root."""
    done = subprocess.run(
        ["unshare", "--user", *MIRRORLAB, *words], capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stderr) == (3, "mirrorlab: this needs root: run it with sudo\n")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["status"], "mirrorlab: no lab 'nosuch' is up (mirrorlab up starts one)\n"),
        (["failover"], "mirrorlab: no lab 'nosuch' is up (mirrorlab up starts one)\n"),
        (["tmsh", "bigip-a", "show sys failover"], "mirrorlab: no lab 'nosuch' is up"),
    ],
)
def test_commands_for_a_lab_that_is_not_up(words: list[str], message: str) -> None:
    done = mirrorlab(*words, "--name", "nosuch")
    assert done.returncode == 2
    assert done.stderr.startswith(message)


def test_output_survives_a_closed_pipe() -> None:
    """`mirrorlab schema | head -1` ends without a traceback."""
    process = subprocess.Popen(
        [*MIRRORLAB, "schema"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stderr is not None
    with process:
        process.stdout.close()
        assert process.stderr.read() == ""
