"""Errors of the API that begin and end while it runs.

A scenario's own errors are there from the start; beside them those of a file in the lab's
folder, a list of {"action", "code", "status", "rate"}, for as long as it exists.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from netns.cloud.front import Fault


class FaultFile(Iterable[Fault]):
    """The faults in force at the moment they are looked at."""

    def __init__(self, path: Path, always: Iterable[Fault]) -> None:
        self._path, self._always = path, list(always)

    def __iter__(self) -> Iterator[Fault]:
        yield from self._always
        for row in self._rows():
            yield Fault(row["action"], row["code"], row["status"], row["rate"], 0, None)

    def _rows(self) -> list[dict[str, Any]]:
        try:
            return list(json.loads(self._path.read_text()))
        except (OSError, ValueError):  # none, or gone this moment
            return []
