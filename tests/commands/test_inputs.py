"""`lint` and `translate`: what is printed, where, and the exit status. No root, no lab."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from emulator.cli import cli
from emulator.lab.scenario_file import load
from tests.support.inputs import ARTICLE, SAMPLES


def mirrorlab(*argv: object, text: str | None = None) -> Result:
    return CliRunner().invoke(cli, [str(a) for a in argv], input=text)


INPUTS = ("--as3", ARTICLE / "as3.json", "--cfe", ARTICLE / "cfe.json")
POOL = ("--as3", ARTICLE / "as3-snat-pool.json", "--cfe", ARTICLE / "cfe-snat-pool.json")


def test_lint_warns_and_says_what_a_run_would_show() -> None:
    done = mirrorlab("lint", *INPUTS)
    assert done.exit_code == 1
    assert "as3.json:15:9: warning: mirroring is on and SNAT is automap" in done.stdout
    assert "[automap-across-zones, C5]" in done.stdout
    assert "a run would show: RESET, cause snat-address-changed" in done.stdout


def test_lint_of_what_is_in_order_is_clean() -> None:
    done = mirrorlab("lint", *POOL)
    assert (done.exit_code, done.stdout) == (0, "nothing to warn of\n")


def test_notes_alone_are_clean() -> None:
    done = mirrorlab("lint", "article-no-mirroring")
    assert (done.exit_code, "note: mirroring is not asked for" in done.stdout) == (0, True)


def test_lint_of_a_scenario_file_names_the_setting(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("title: x\nvirtual_server:\n  mirroring: true\n  snat: automap\n")
    done = mirrorlab("lint", path, "--format", "json")
    assert done.exit_code == 1
    (found,) = json.loads(done.stdout)["findings"]
    assert (found["file"], found["line"], found["column"]) == (str(path), 4, 3)
    assert found["rule"] == "automap-across-zones"


def test_lint_of_several_scenarios() -> None:
    done = mirrorlab("lint", "article", "elastic-ip", "article-snat-pool")
    assert done.exit_code == 1
    assert [line for line in done.stdout.splitlines() if "warning" in line][1].startswith(
        "elastic-ip:"
    )


def test_what_is_refused_is_said_beside_the_findings() -> None:
    done = mirrorlab("lint", "--as3", SAMPLES / "as3-udp.json", "--format", "json")
    assert done.exit_code == 2
    data = json.loads(done.stdout)
    assert "protocol 'udp'" in data["refusal"]
    assert [f["rule"] for f in data["findings"]] == ["mirrored-udp"]


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (("lint",), "nothing to lint"),
        (("translate",), "nothing to translate"),
        (("run",), "what shall run?"),
        (("lint", "--virtual", "x", "article"), "--virtual chooses among"),
        (("lint", "--as3", "nosuch.json"), "nosuch.json: No such file or directory"),
        (("lint", "a", "b", *INPUTS), "one SCENARIO at most"),
        (("lint", "nosuch"), "unknown scenario 'nosuch'"),
        (("translate", "--cfe", ARTICLE / "as3.json"), "as3.json:2:3: class: Input should be"),
        (("translate", "--as3", SAMPLES / "as3-udp.json"), "as3-udp.json:9:9: "),
        (("run", "--as3", SAMPLES / "as3-udp.json"), "as3-udp.json:9:9: "),
        (("translate", "--bigip-conf", SAMPLES / "two-virtuals.conf"), "--virtual: /Common/vs_a"),
    ],
)
def test_what_cannot_be_read_is_one_line_and_status_2(
    argv: tuple[object, ...], message: str
) -> None:
    done = mirrorlab(*argv)
    assert done.exit_code == 2, done.output
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("text", "where"),
    [('{"class": "ADC",}', "stdin:1:16: a comma before }"),
     ('{"class": "ADC",\n"class": "ADC"}', "stdin:2:1: key 'class' again"),
     (b"\xff\n".decode("latin1"), "stdin:1:1: not JSON")],
)  # fmt: skip
def test_not_even_json(text: str, where: str) -> None:
    done = mirrorlab("lint", "--as3", "-", text=text)
    assert done.exit_code == 2
    assert where in done.stderr


def test_a_file_that_is_not_text(tmp_path: Path) -> None:
    path = tmp_path / "x.conf"
    path.write_bytes(b"ltm virtual v {\n\xff }")
    done = mirrorlab("lint", "--bigip-conf", path)
    assert (done.exit_code, done.stderr) == (2, f"mirrorlab: {path}:2: not UTF-8 text\n")


def test_translate_prints_a_scenario_that_loads_and_says_what_stands_for_what(
    tmp_path: Path,
) -> None:
    done = mirrorlab("translate", *POOL, "--bigip-conf", ARTICLE / "bigip_base-a.conf")
    assert done.exit_code == 0
    path = tmp_path / "made.yaml"
    path.write_text(done.stdout)
    assert load(path).virtual_server.snat == "pool"
    assert "# self IP 10.1.10.11/24 -> 10.0.10.11 (bigip-a ext)" in done.stdout


def test_translate_over_a_scenario_keeps_what_the_inputs_do_not_say() -> None:
    done = mirrorlab("translate", "security-group-strict", *INPUTS, "--format", "json")
    data = json.loads(done.stdout)
    assert data["scenario"]["name"] == "security-group-strict"
    assert "security_groups" in data["scenario"]["cloud"]
    assert data["scenario"]["virtual_server"]["snat"] == "automap"


def test_the_reading_list_has_a_line_for_each_leaf_and_the_sums() -> None:
    done = mirrorlab("translate", "--bigip-conf", SAMPLES / "standard-tcp.conf", "--list")
    *lines, sums = done.stdout.splitlines()
    number = {c: int(n) for n, c in (part.split(" ", 1) for part in sums.split(", "))}
    for category, count in number.items():
        assert sum(f": {category}: " in line for line in lines) == count
    assert any("standard-tcp.conf:45: understood: " in line for line in lines)
    assert any("ltm rule /Common/log_client.body 7 lines" in line for line in lines)
