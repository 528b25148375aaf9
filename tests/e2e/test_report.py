"""Every run leaves its page, and the page says what result.json says."""

from __future__ import annotations

import json

import pytest

from tests.e2e.conftest import Finished
from tests.support.reportdata import Page, wrong

pytestmark = [pytest.mark.root, pytest.mark.e2e]


@pytest.mark.parametrize("finished", ["article", "article-snat-pool", "healthy"], indirect=True)
def test_a_run_leaves_its_page(finished: Finished) -> None:
    assert "no report was written" not in finished.stderr
    text = (finished.folder / "report.html").read_text()
    page = Page(text)
    assert wrong(page, json.loads((finished.folder / "result.json").read_text())) == []
    counted = {a["data-group"]: int(a["data-count"]) for a, _ in page.having("data-group")}
    assert sum(counted.values()) == len(finished.outcomes)
    assert counted.keys() == set(finished.outcomes.values())
    assert page.having("data-ladder")
    assert len(text) < 1_500_000
    index = Page((finished.folder.parent / "index.html").read_text())
    links = [a["href"] for a, _ in index.having("href")]
    assert f"{finished.folder.name}/report.html" in links
    assert (finished.folder / "scenario.yaml").is_file()
