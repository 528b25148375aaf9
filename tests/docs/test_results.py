"""docs/results.md is made of docs/results.json, by the claims as they are in the code."""

from __future__ import annotations

import json
from pathlib import Path

from emulator.lab.study.claimtable import CLAIMS
from emulator.lab.study.resultspage import markdown

DOCS = Path(__file__).resolve().parents[2] / "docs"
DATA = json.loads((DOCS / "results.json").read_text())


def test_the_page_is_made_of_the_data() -> None:
    assert (DOCS / "results.md").read_text() == markdown(DATA)


def test_the_data_answers_the_claims_there_are() -> None:
    """A claim or a case that was changed since has to be run again: make results."""
    answered = [(c["id"], c["text"], [k["label"] for k in c["cases"]]) for c in DATA["claims"]]
    assert answered == [(c.id, c.text, [k.label for k in c.cases]) for c in CLAIMS]
