"""Every number on a page is the one in result.json, and every one of that is on the page."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from emulator.lab.report import pages
from emulator.lab.report.numbers import Numbers
from tests.support.reportdata import Page, connection, reference_run, result, wrong


def leaves(data: Any, path: str = "") -> Iterator[str]:
    """The paths of all numbers."""
    if isinstance(data, dict | list):
        items = data.items() if isinstance(data, dict) else enumerate(data)
        for key, value in items:
            yield from leaves(value, f"{path}.{key}" if path else str(key))
    elif isinstance(data, int | float) and not isinstance(data, bool):
        yield path


def test_every_number_equals_result_json(tmp_path: Path) -> None:
    folder = reference_run(tmp_path)
    data = json.loads((folder / "result.json").read_text())
    page = Page(pages.write_report(folder).read_text())
    assert wrong(page, data) == []
    shown = {a["data-path"] for a, _ in page.having("data-path")}
    # What the session's program counted is kept in result.json, and not repeated.
    assert {p for p in leaves(data) if ".program." not in p} - shown == set()


def test_a_number_that_differs_is_noticed(tmp_path: Path) -> None:
    """The check itself can fail: another file than the page was made of."""
    folder = reference_run(tmp_path)
    data = json.loads((folder / "result.json").read_text())
    page = Page(pages.write_report(folder).read_text())
    data["connections"][0]["bytes"]["missing"] += 1
    assert len(wrong(page, data)) == 2  # in the table, and in the sum on page one


def test_the_page_names_each_outcome_as_often_as_the_file(tmp_path: Path) -> None:
    folder = reference_run(tmp_path)
    data = json.loads((folder / "result.json").read_text())
    page = Page(pages.write_report(folder).read_text())
    counted = {a["data-group"]: int(a["data-count"]) for a, _ in page.having("data-group")}
    outcomes = [c["outcome"] for c in data["connections"]]
    assert counted == {outcome: outcomes.count(outcome) for outcome in outcomes}


def test_the_ladder_marks_the_frames_of_the_evidence(tmp_path: Path) -> None:
    folder = reference_run(tmp_path)
    data = json.loads((folder / "result.json").read_text())
    page = Page(pages.write_report(folder).read_text())
    marked = {
        int(f) for a, _ in page.having("data-evidence") for f in a["data-evidence"].split(",")
    }
    assert marked == {e["frame"] for e in data["connections"][0]["cause"]["evidence"]}


def test_a_relative_time_and_a_sum_say_what_they_are_of() -> None:
    data = result(connection(), connection("telnet"))
    numbers = Numbers(data)
    shown = Page(str(numbers.show("failover.takeover", "s", "failover.triggered")))
    assert shown.having("data-minus")[0][1] == "+3.000 s"
    assert (
        Page(str(numbers.total("bytes.sent", (0, 1), "bytes"))).having("data-sum")[0][1]
        == "2,468 bytes"
    )
    assert "not seen" in numbers.show("failover.first_byte", "s", "failover.triggered")
    assert wrong(shown, data) == []


@pytest.mark.parametrize("path", ["nothing", "connections.7.name"])
def test_a_number_that_is_not_in_the_file_is_no_number(path: str) -> None:
    with pytest.raises((KeyError, IndexError)):
        Numbers(result()).show(path)
