"""The device's flight recorder: JSON lines, each written before the effect it tells of."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path


class Journal:
    """Append-only; a crash leaves whole lines (line buffered, no fsync: power loss of the
    host is no case here)."""

    def __init__(self, path: Path, node: str) -> None:
        self._file = path.open("a", buffering=1)
        self._node = node

    def write(self, what: str, details: Mapping[str, object]) -> None:
        """One line: wall-clock time in seconds, node, what happened, details."""
        line = {"time": round(time.time(), 6), "node": self._node, "what": what, **details}
        self._file.write(json.dumps(line) + "\n")

    def close(self) -> None:
        self._file.close()
