"""Names out of files that mean something to a shell, a path or a terminal: none gets that far.

What a lab runs is a list of words, never a line; names that become part of a path have a form
of their own, and a file named by a file lies beside it.
"""

from __future__ import annotations

import ast
import json
import socket
import stat
import threading
from pathlib import Path
from typing import Any

import pytest

from emulator.core.device import Device
from emulator.device import tmsh
from emulator.device.control import ControlServer, ask
from emulator.lab.instance import check_id
from emulator.lab.ownership import write_private
from emulator.lab.runner import handed_over
from emulator.lab.scenario_file import ScenarioError, find, load
from emulator.lab.settings.scenario import Scenario
from emulator.wire import pcapng
from tests.support.inputs import of_texts, service
from tests.support.pair import config

ROOT = Path(__file__).resolve().parents[2]
HOSTILE = [
    "../x", "/etc/passwd", "$(id)", "`id`", "a;id", "a\nb", "a\0b", "-rf", "\x1b[2J", "a b|c",
]  # fmt: skip
ids = [ascii(name) for name in HOSTILE]
any_name = pytest.mark.parametrize("name", HOSTILE, ids=ids)


@any_name
def test_a_scenarios_name_and_a_labs_are_no_paths(name: str) -> None:
    with pytest.raises(ValueError, match="name"):
        Scenario.model_validate({"title": "t", "name": name})
    with pytest.raises(ValueError, match="lab name"):
        check_id(name)


@any_name
def test_a_scenario_finds_its_declaration_beside_it_or_nowhere(tmp_path: Path, name: str) -> None:
    """Whoever runs it as root reads what root may read."""
    (tmp_path / "x").write_text("{}")
    (tmp_path / "inner").mkdir()
    path = tmp_path / "inner" / "s.yaml"
    path.write_text(f"title: t\ncloud:\n  declaration: {json.dumps(name)}\n")
    with pytest.raises(ScenarioError) as caught:
        load(path)
    assert "cloud.declaration" in str(caught.value)
    assert str(caught.value).isprintable()


def test_a_link_out_of_the_folder_is_outside(tmp_path: Path) -> None:
    (tmp_path / "secret.json").write_text("{}")
    inner = tmp_path / "inner"
    inner.mkdir()
    (inner / "cfe.json").symlink_to(tmp_path / "secret.json")
    (inner / "s.yaml").write_text("title: t\ncloud:\n  declaration: cfe.json\n")
    with pytest.raises(ScenarioError, match="not in the scenario's own folder"):
        load(inner / "s.yaml")


@any_name
def test_a_built_in_scenario_is_named_by_its_name(name: str) -> None:
    with pytest.raises((ScenarioError, ValueError)):
        load(find(name))


@any_name
def test_what_declarations_call_things_reaches_no_path(name: str) -> None:
    """AS3 and tmsh: the scenario they make is refused in one line, or has a name of its form."""
    as3: dict[str, Any] = {
        "class": "ADC", "schemaVersion": "3.50.0",
        "T": {"class": "Tenant", "A": {
            "class": "Application", name: service(pool=name),
            name + "p": {"class": "Pool", "members": [
                {"servicePort": 22, "serverAddresses": ["10.40.1.5"]}]},
        }},
    }  # fmt: skip
    quoted = name.replace("\0", "").replace("\n", " ")
    conf = f'ltm virtual "{quoted}" {{\n destination 203.0.113.4:22\n mirror enabled\n}}\n'
    for texts in ({"as3": as3}, {"bigip_conf": conf}):
        found = of_texts(**texts)
        if found.scenario is not None:
            Scenario.model_validate(found.scenario.model_dump())  # its name has the form
            assert name != found.scenario.name
        else:
            assert "\n" not in str(found.refusal)


@any_name
def test_what_an_operator_types_is_words_of_a_table(name: str) -> None:
    device = Device(config(), 0.0)
    for line in (
        name,
        f"show {name}",
        f"modify ltm virtual {name} mirror enabled",
        f"modify sys db {name} value enable",
        f"show sys connection type {name}",
    ):
        with pytest.raises(tmsh.TmshError):
            tmsh.execute(device, line, 1.0)


@any_name
def test_a_capture_files_names_are_words(tmp_path: Path, name: str) -> None:
    """Interface names and comments are kept as they are, and written as text."""
    path = tmp_path / "x.pcapng"
    path.write_bytes(
        pcapng.section(name, name) + pcapng.interface(name, f"mac={name}")
        + pcapng.packet(0, 1, bytes(60), 60, name)
    )  # fmt: skip
    with path.open("rb") as source:
        [frame] = pcapng.read(source)
    assert frame.interface.name == name
    assert sorted(p.name for p in tmp_path.iterdir()) == ["x.pcapng"]


SHELLS = {
    # Where a shell runs: its script is a constant, what comes from elsewhere are its arguments.
    "emulator/lab/workload/ftp.py", "emulator/lab/workload/postgresql.py", "netns/execute.py",
    "emulator/commands/hands.py",  # the person's own, interactive
    "emulator/lab/campaign/fulldisk.py", "emulator/lab/campaign/openssh.py",  # a package's own
}  # fmt: skip

SUSPECT = ('"sh"', "shell", "system(", "popen", "getoutput")


def test_no_shell_sees_a_name() -> None:
    """No shell=True, no os.system; `sh -c` only with a constant script."""
    found = set()
    for folder in ("emulator", "netns"):
        for path in (ROOT / folder).rglob("*.py"):
            where, text = str(path.relative_to(ROOT)), path.read_text()
            if not any(word in text for word in SUSPECT):
                continue
            for node in ast.walk(ast.parse(text)):
                if isinstance(node, ast.keyword):
                    assert node.arg != "shell", where
                if isinstance(node, ast.Attribute):
                    assert node.attr not in ("system", "popen", "getoutput"), where
                if isinstance(node, ast.List | ast.Tuple) and _runs_a_shell(node):
                    found.add(where)
    assert found == SHELLS


def _runs_a_shell(node: ast.List | ast.Tuple) -> bool:
    """["sh", "-c", SCRIPT, ...]: the script must be the name of a constant."""
    words = [e.value if isinstance(e, ast.Constant) else e for e in node.elts]
    if "sh" not in words:
        return False
    if "-c" in words:
        script = words[words.index("-c") + 1]
        assert isinstance(script, ast.Name)
        assert script.id.isupper()
    return True


# Who may read what.


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


def test_secrets_and_runs_are_their_owners_alone(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("old")
    secret.chmod(0o644)
    write_private(secret, b"new")
    assert (mode(secret), secret.read_bytes()) == (0o600, b"new")
    with handed_over(tmp_path / "runs" / "one") as folder:
        assert mode(folder) == 0o700


def test_a_control_socket_is_roots_from_the_first_moment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before it listens nobody else could have opened it."""
    seen: list[int] = []
    listen = socket.socket.listen

    def listens(self: socket.socket, backlog: int) -> None:
        seen.append(mode(tmp_path / "x.sock"))
        listen(self, backlog)

    monkeypatch.setattr(socket.socket, "listen", listens)
    server = ControlServer(tmp_path / "x.sock", lambda request: {"heard": request})
    server.socket.setblocking(True)
    answering = threading.Thread(target=server.serve)
    answering.start()
    assert ask(tmp_path / "x.sock", {"status": True}) == {"heard": {"status": True}}
    answering.join()
    server.socket.close()
    assert seen == [0o600]
