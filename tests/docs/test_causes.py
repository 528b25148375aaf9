"""docs/causes.md has a section for every cause, and names only scenarios that exist."""

from __future__ import annotations

import re
from pathlib import Path

from emulator.lab.judge.causes import CAUSES

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "causes.md").read_text()


def test_every_cause_has_its_section_and_no_other_has() -> None:
    sections = re.findall(r"^### (\S+)$", PAGE, re.MULTILINE)
    assert sorted(sections) == sorted(CAUSES)
