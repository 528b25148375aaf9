"""Results for the pages: the committed reference run's folder, and made-up ones."""

from __future__ import annotations

import shutil
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

REFERENCE = Path(__file__).resolve().parents[2] / "captures" / "reference" / "run-article-telnet"


def reference_run(tmp_path: Path) -> Path:
    """A copy of the reference run's folder, as a run left it."""
    return shutil.copytree(REFERENCE, tmp_path / "20261128T000000Z-article-telnet-abc123")


def connection(name: str = "ssh", outcome: str = "SURVIVED", **changes: Any) -> dict[str, Any]:
    """One connection of a result."""
    return {
        "name": name, "application": name, "client": "10.0.1.10:40000",
        "virtual_server": "10.99.0.10:22", "server": "10.0.31.100:22", "snat": "10.88.0.10:40000",
        "outcome": outcome, "expected": None, "blackout_s": {"to_client": 1.25, "to_server": None},
        "bytes": {"sent": 1234, "delivered": 1200, "missing": 34, "repeated": 0, "altered": 0},
        "cause": {"id": None, "text": "It lived.", "evidence": []}, "program": None, **changes,
    }  # fmt: skip


def result(*connections: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """A whole result.json."""
    return {
        "schema": "mirrorlab/result/1", "scenario": "article", "title": "A title", "void": None,
        "connections": list(connections or [connection()]),
        "failover": {
            "mechanism": "route", "how": "power-off", "device": "bigip-a", "new_active": "bigip-b",
            "triggered": 1000.5, "takeover": 1003.5, "api_accepted": 1004.25, "effective": 1008.0,
            "first_byte": None, "refusals": None,
        },
        "mirror": {"mode": "connection", "commit": None, "flows": 3, "lag_bytes_at_failover": 0},
        "host": {"kernel": "6.18", "queue_drops": 0, "scheduling_lag_ms": 12.5}, **changes,
    }  # fmt: skip


class Page(HTMLParser):
    """What a page says: its elements with attributes, and the text right inside each."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str], list[str]]] = []
        self._open: list[tuple[str, dict[str, str], list[str]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        element = (tag, {k: v or "" for k, v in attrs}, list[str]())
        self.elements.append(element)
        self._open.append(element)

    def handle_data(self, data: str) -> None:
        if self._open:
            self._open[-1][2].append(data)

    def handle_endtag(self, tag: str) -> None:
        while self._open and self._open.pop()[0] != tag:
            pass

    def having(self, attribute: str) -> list[tuple[dict[str, str], str]]:
        """(attributes, text) of every element with an attribute."""
        return [(a, "".join(t)) for _, a, t in self.elements if attribute in a]


def at(data: Any, path: str) -> Any:
    """The value at a dotted path, read anew: not by the code under test."""
    for step in path.split("."):
        data = data[int(step) if isinstance(data, list) else step]
    return data


def expected(data: Any, attributes: dict[str, str]) -> float:
    if "data-sum" in attributes:
        places = [int(place) for place in attributes["data-of"].split(",")]
        return sum(at(data["connections"][place], attributes["data-sum"]) for place in places)
    value = at(data, attributes["data-path"])
    return value - at(data, attributes["data-minus"]) if "data-minus" in attributes else value


def wrong(page: Page, data: Any) -> list[str]:
    """The numbers of a page that are not those of the data, by value or as they are read."""
    found = []
    for attributes, text in page.having("data-raw"):
        value, raw = expected(data, attributes), float(attributes["data-raw"])
        said = float(text.replace(",", "").split()[0])
        if abs(raw - value) > 1e-5 or abs(said - value) > 0.0005 + 1e-5:
            found.append(f"{attributes}: {text!r}, and the file has {value}")
    return found
