"""The pages as files: from a folder alone, nothing of a file as markup, nothing lost on the way."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from emulator.cli import cli
from emulator.lab import analysis, runner
from emulator.lab.report import pages
from tests.support.reportdata import Page, connection, reference_run, result

EVIL = "<script>alert(1)</script><img src=x onerror=alert(2)>\"'&"


def saved(folder: Path, data: dict[str, Any]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "result.json").write_text(json.dumps(data))
    return folder


def report(*arguments: str) -> Result:
    return CliRunner().invoke(cli, ["report", *arguments])


def everywhere(value: Any) -> Any:
    """The same data with markup in every text but those that are keys to something."""
    if isinstance(value, dict):
        kept = ("schema", "outcome", "device", "mode")
        return {k: v if k in kept else everywhere(v) for k, v in value.items()}
    if isinstance(value, list):
        return [everywhere(v) for v in value]
    return EVIL if isinstance(value, str) else value


def test_text_of_files_never_becomes_markup(tmp_path: Path) -> None:
    """The issue's own example, a title with <script>, and every other text likewise."""
    evidence = [{"capture": "run.pcapng", "frame": 7, "time": 1001.0, "text": "seen"}]
    reset = connection("ssh", "RESET", cause={"id": "x", "text": "so", "evidence": evidence})
    folder = saved(tmp_path / "run", everywhere(result(reset, void="why")))
    lines = [{"time": 1000.0, "node": f"bigip-{EVIL}", "what": "flow-created", "client": EVIL}]
    lines += [{"time": 999.0, "node": "lab", "what": "run-started", "command": EVIL}]
    (folder / "lab.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    text = pages.write_report(folder).read_text()
    page = Page(text)
    assert EVIL in "".join("".join(t) for _, _, t in page.elements)  # it is there, as text
    assert [t for t, _, _ in page.elements].count("script") == 1  # our own
    assert not [t for t, _, _ in page.elements if t == "img"]
    assert not [a for _, attributes, _ in page.elements for a in attributes if a.startswith("on")]
    index = Page(pages.write_index(tmp_path).read_text())
    assert not [t for t, _, _ in index.elements if t == "img"]


def test_a_study_s_text_never_becomes_markup(tmp_path: Path) -> None:
    cell = {"at": {EVIL: EVIL}, "outcomes": {EVIL: "RESET"}, "causes": {EVIL: EVIL},
            "blackout_s": None, "run": EVIL, "not_possible": None}  # fmt: skip
    (tmp_path / "matrix.json").write_text(json.dumps({"axes": {EVIL: [EVIL]}, "cells": [cell]}))
    change = {"id": EVIL, "change": EVIL, "cost": EVIL}
    trial = {
        "changes": [EVIL],
        "saved": True,
        "outcomes": {EVIL: EVIL},
        "causes": [EVIL],
        "run": "",
    }
    data = {"scenario": EVIL, "survives": False, "answers": [[change]], "trials": [trial]}
    (tmp_path / "why.json").write_text(json.dumps(data))
    for path in (pages.write_matrix(tmp_path), pages.write_why(tmp_path)):
        page = Page(path.read_text())
        assert [t for t, _, _ in page.elements].count("script") == 1
        assert not [t for t, _, _ in page.elements if t == "img"]


def test_the_folder_alone_is_enough_and_gives_the_page_the_run_had(tmp_path: Path) -> None:
    folder = reference_run(tmp_path)
    facts = analysis.facts_of(folder / "run.pcapng", analysis.read_journals(folder))

    def content() -> str:
        return (
            (folder / "report.html").read_text().rpartition("<footer>")[0]
        )  # the time it was made

    pages.write_report(folder, facts)
    first = content()
    done = report(str(folder))
    assert (done.exit_code, done.stdout.strip()) == (0, str(folder / "report.html"))
    assert content() == first


def test_a_page_stays_small_and_refers_to_nothing_outside(tmp_path: Path) -> None:
    folder = reference_run(tmp_path)
    text = pages.write_report(folder).read_text()
    assert len(text) < 400_000
    page = Page(text)
    links = [v for _, a, _ in page.elements for k, v in a.items() if k in ("href", "src")]
    assert [v for v in links if not v.startswith(("#", "data:,"))] == []
    assert "url(" not in text
    assert "@import" not in text


def test_without_captures_the_page_says_so(tmp_path: Path) -> None:
    folder = saved(tmp_path / "run", result())
    text = pages.write_report(folder).read_text()
    assert "this page has no drawings" in text
    assert "survived" in text


def test_a_void_run_gives_no_answer(tmp_path: Path) -> None:
    folder = saved(tmp_path / "run", result(void="the queue lost 3 packets"))
    text = pages.write_report(folder).read_text()
    assert "No result: the lab itself disturbed this run." in text
    assert "every session went on" not in text


def test_latest_is_the_newest_finished_run(tmp_path: Path) -> None:
    for name in ("20260101T000000Z-a-1", "20260102T000000Z-b-2"):
        saved(tmp_path / name, result(scenario=name))
    (tmp_path / "20260103T000000Z-c-3").mkdir()  # still running
    done = report("--runs", str(tmp_path))
    assert done.stdout.strip() == str(tmp_path / "20260102T000000Z-b-2" / "report.html")
    index = Page((tmp_path / "index.html").read_text())
    assert len(index.having("data-search")) == 2


@pytest.mark.parametrize(
    ("prepare", "said"),
    [
        (None, "no run 'there'"),
        ("", "not JSON"),
        ("[]", "not a JSON object"),
        ('{"schema": "other"}', "is no result of a run"),
        ('{"schema": "mirrorlab/result/1"}', "not complete (KeyError: 'scenario')"),
        ('{"schema": "mirrorlab/result/1", "scenario": "x", "connections": [{}]}', "not complete"),
    ],
)
def test_bad_input_is_one_clear_error(tmp_path: Path, prepare: str | None, said: str) -> None:
    if prepare is not None:
        (tmp_path / "there").mkdir()
        (tmp_path / "there" / "result.json").write_text(prepare)
    done = report("there", "--runs", str(tmp_path))
    error = done.exception
    text = getattr(error, "message", "") or done.output
    assert done.exit_code == 2, done.output
    assert said in text + done.output
    assert not list(tmp_path.rglob("*.html"))


@pytest.mark.parametrize("study", ["matrix", "why"])
def test_a_study_that_is_not_whole_is_one_clear_error(tmp_path: Path, study: str) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / f"{study}.json").write_text("{}")
    done = report("there", "--runs", str(tmp_path))
    assert done.exit_code == 2, done.output
    assert f"{study}.json: not complete" in str(getattr(done.exception, "message", done.output))


def test_one_broken_result_does_not_cost_the_index(tmp_path: Path) -> None:
    saved(tmp_path / "20260101T000000Z-a-1", result(connection()))
    broken = tmp_path / "20260102T000000Z-b-2"
    broken.mkdir()
    (broken / "result.json").write_text('{"schema": "mirrorlab/result/1", "connections": [{}]}')
    index = Page(pages.write_index(tmp_path).read_text())
    assert len(index.having("data-search")) == 1


def test_a_report_that_fails_costs_no_result_and_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> Path:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(pages, "write_report", broken)
    made, remark = runner._report(tmp_path, None)
    assert made is None
    assert remark == "no report was written: ZeroDivisionError: a bug"


def test_a_page_is_whole_or_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = saved(tmp_path / "run", result())
    (folder / "report.html").write_text("the old one")

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(OSError, match="No space"):
        pages.write_report(folder)
    assert (folder / "report.html").read_text() == "the old one"
    assert [p.name for p in folder.iterdir() if "report" in p.name] == ["report.html"]


def test_the_matrix_links_each_field_to_its_run(tmp_path: Path) -> None:
    run = tmp_path / "on" / "runs" / "20260101T000000Z-a-1"
    saved(run, result())
    (run / "report.html").write_text("page")
    cells = [
        {"at": {"mirroring": on}, "outcomes": {"ssh": ended}, "causes": {}, "blackout_s": gap,
         "run": f"/elsewhere/{on}/runs/20260101T000000Z-a-1", "not_possible": None}
        for on, ended, gap in (("on", "SURVIVED", 3.5), ("off", "RESET", None))
    ]  # fmt: skip
    data = {"axes": {"mirroring": ["on", "off"]}, "cells": cells}
    (tmp_path / "matrix.json").write_text(json.dumps(data))
    page = Page(pages.write_matrix(tmp_path).read_text())
    links = [(a["href"], text) for a, text in page.having("href") if "report" in a["href"]]
    assert links == [("on/runs/20260101T000000Z-a-1/report.html", "survived")]
    assert page.having("data-raw")[0][0]["data-raw"] == "3.5"
    words = " ".join("".join(t) for tag, _, t in page.elements if tag in ("a", "span", "strong"))
    assert "cut off" in words  # in words, not by colour alone
    assert "1 of 2 deployments" in words


@pytest.mark.long
def test_the_wheel_has_the_templates(tmp_path: Path) -> None:
    root = Path(__file__).resolve().parents[3]
    argv = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "-w", tmp_path, root]
    subprocess.run(argv, check=True, timeout=300)
    [wheel] = tmp_path.glob("*.whl")
    names = {Path(n).name for n in zipfile.ZipFile(wheel).namelist() if "/templates/" in n}
    templates = root / "emulator" / "lab" / "report" / "templates"
    assert names == {p.name for p in templates.iterdir()}
