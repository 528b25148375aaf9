"""The pages in a browser: nothing asked of a network, nothing too wide, keys lead everywhere."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, Request, sync_playwright

from emulator.lab.report import pages
from tests.support.reportdata import connection, reference_run, result

BROWSERS = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
SIZES = {"desktop": (1280, 900), "phone": (400, 800)}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    if path is None:
        lack = pytest.fail if os.environ.get("CI") == "true" else pytest.skip
        lack(f"this host lacks a browser: one of {', '.join(BROWSERS)} (make browser)")
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=path, timeout=120_000)
        yield started
        started.close()


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One page of each kind."""
    runs = tmp_path_factory.mktemp("runs")
    found = {"report": pages.write_report(reference_run(runs))}
    fleet = runs / "20260101T000000Z-fleet-1"
    fleet.mkdir()
    import json

    many = [connection(f"ssh-{i}", "RESET" if i % 3 else "SURVIVED") for i in range(50)]
    (fleet / "result.json").write_text(json.dumps(result(*many)))
    found["fleet"] = pages.write_report(fleet)
    at = {"SNAT": "pool", "mirroring": "on"}
    cell = {"at": at, "outcomes": {"ssh": "SURVIVED", "telnet": "RESET"},
            "causes": {"telnet": "no-flow-reset"}, "blackout_s": 4.25, "run": None,
            "not_possible": None}  # fmt: skip
    axes = {"SNAT": ["pool"], "mirroring": ["on"]}
    (runs / "matrix.json").write_text(json.dumps({"axes": axes, "cells": [cell]}))
    change = {"id": "snat-pool", "change": "a pool", "cost": "a range"}
    trial = {"changes": ["snat-pool"], "saved": True, "outcomes": {"ssh": "SURVIVED"},
             "causes": [], "run": "x"}  # fmt: skip
    why = {"scenario": "a", "survives": False, "answers": [[change]], "trials": [trial]}
    (runs / "why.json").write_text(json.dumps(why))
    found |= {"matrix": pages.write_matrix(runs), "why": pages.write_why(runs)}
    return found | {"index": pages.write_index(runs)}


def opened(
    browser: Browser, path: Path, size: str = "desktop", scheme: str = "light", scripts: bool = True
) -> tuple[Page, list[str], list[str]]:
    """The page without a network, what it asked for, and what went wrong in it."""
    width, height = SIZES[size]
    context = browser.new_context(
        offline=True, color_scheme="dark" if scheme == "dark" else "light",
        viewport={"width": width, "height": height}, java_script_enabled=scripts,
    )  # fmt: skip
    context.set_default_timeout(60_000)
    page = context.new_page()
    asked: list[str] = []
    wrong: list[str] = []

    def note(request: Request) -> None:
        asked.append(request.url)

    page.on("request", note)
    page.on("console", lambda m: wrong.append(m.text) if m.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.goto(path.as_uri())
    return page, asked, wrong


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("kind", ["report", "fleet", "matrix", "why", "index"])
def test_a_page_asks_for_nothing_and_fits(
    browser: Browser, made: dict[str, Path], kind: str, size: str, scheme: str
) -> None:
    page, asked, wrong = opened(browser, made[kind], size, scheme)
    assert asked == [made[kind].as_uri()]
    assert wrong == []
    assert page.evaluate("document.documentElement.scrollWidth") <= SIZES[size][0]
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert background == ("rgb(18, 22, 28)" if scheme == "dark" else "rgb(255, 255, 255)")
    page.context.close()


def test_fifty_sessions_stay_readable(browser: Browser, made: dict[str, Path]) -> None:
    """They are told by groups; one by one only for whoever asks."""
    page, _, _ = opened(browser, made["fleet"])
    assert page.locator("[data-group]").count() == 2
    assert page.evaluate("document.documentElement.scrollHeight") < 6000
    everyone = page.locator("td strong").filter(has_text="ssh-49")
    assert not everyone.is_visible()
    page.get_by_text("All 50 sessions, one by one").click()
    assert everyone.is_visible()
    page.context.close()


def test_page_one_is_within_the_first_screen(browser: Browser, made: dict[str, Path]) -> None:
    """What a manager has to read needs no scrolling on a desktop."""
    page, _, _ = opened(browser, made["report"])
    for what in ("What was tried", "What happened", "Why", "What to do instead"):
        box = page.get_by_role("term").filter(has_text=what).bounding_box()
        assert box is not None
        assert box["y"] + box["height"] < SIZES["desktop"][1]
    page.context.close()


def test_keys_reach_the_ladder_and_open_its_rows(browser: Browser, made: dict[str, Path]) -> None:
    page, _, _ = opened(browser, made["report"])
    here = "document.activeElement.closest('.row')"
    for _ in range(60):
        page.keyboard.press("Tab")
        if page.evaluate(f"{here} !== null"):
            break
    assert page.evaluate(f"{here} !== null")
    assert page.evaluate(f"getComputedStyle({here}.firstElementChild).outlineStyle") != "none"
    first = page.evaluate(f"{here}.innerText")
    page.keyboard.press("ArrowDown")
    assert page.evaluate(f"{here}.innerText") != first
    page.keyboard.press("ArrowUp")
    assert page.evaluate(f"{here}.innerText") == first
    page.keyboard.press("Enter")
    assert page.evaluate(f"{here}.open")
    assert page.locator(".row[open] .frames tbody tr").count() >= 1
    page.context.close()


def test_the_ladder_tells_of_losses_and_resets_without_colour(
    browser: Browser, made: dict[str, Path]
) -> None:
    """A cross and words; a reset is named."""
    page, _, _ = opened(browser, made["report"])
    lost = page.locator(".ladder .row.lost")
    assert lost.count() > 0
    assert lost.locator("path.cross").count() == lost.count()
    assert "lost" in lost.first.inner_text()
    assert "RESET" in page.locator(".ladder .row.reset").first.inner_text()
    page.context.close()


def test_without_its_script_a_page_still_opens_rows(
    browser: Browser, made: dict[str, Path]
) -> None:
    page, _, _ = opened(browser, made["report"], scripts=False)
    row = page.locator(".ladder .row > summary").first
    row.click()
    assert page.locator(".row[open] .frames").first.is_visible()
    page.context.close()


def test_the_index_filters(browser: Browser, made: dict[str, Path]) -> None:
    page, _, _ = opened(browser, made["index"])
    rows = page.locator("tbody tr[data-search]")
    assert rows.count() == 2
    page.get_by_role("searchbox").fill("ssh-49")
    assert [rows.nth(i).is_visible() for i in range(2)].count(True) <= 1
    page.get_by_role("searchbox").fill("snat-address-changed reset")
    assert page.locator("[data-shown]").inner_text() == "1"
    page.context.close()


def test_paper(browser: Browser, made: dict[str, Path], tmp_path: Path) -> None:
    """It prints: page one by itself, light whatever the screen is, nothing cut at the right."""
    page, _, _ = opened(browser, made["report"], scheme="dark")
    page.emulate_media(media="print", color_scheme="dark")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert (
        page.evaluate("getComputedStyle(document.querySelector('.engineer')).breakBefore") == "page"
    )
    page.set_viewport_size({"width": 703, "height": 1000})  # A4 less its margins, in CSS pixels
    assert page.evaluate("document.documentElement.scrollWidth") <= 703
    assert page.pdf(prefer_css_page_size=True).startswith(b"%PDF")
    page.context.close()
