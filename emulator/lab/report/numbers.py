"""Numbers of a result by their path, as page elements that say where they are from. Pure.

`<span class="n" data-path="connections.0.bytes.sent" data-raw="13798">13,798</span>`; a time
that is shown relative to another has `data-minus`, a sum over connections `data-sum` (what of
each) and `data-of` (which ones).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

UNITS = {"": "", "s": " s", "ms": " ms", "bytes": " bytes"}


class Numbers:
    """What a template calls to show a number of `data` (result.json, matrix.json, why.json)."""

    def __init__(self, data: Mapping[str, Any]) -> None:
        self._data = data

    def at(self, path: str) -> Any:
        """The value at a dotted path; KeyError, IndexError."""
        value: Any = self._data
        for step in path.split("."):
            value = value[int(step)] if isinstance(value, list) else value[step]
        return value

    def show(
        self, path: str, unit: str = "", minus: str = "", none: str = "not seen",
        sign: bool = True,
    ) -> Markup:  # fmt: skip
        """The number at `path`, less the one at `minus`; `none` where there is none."""
        value = self.at(path)
        if value is None or isinstance(value, bool) or not isinstance(value, int | float):
            return Markup("<span class=none>{}</span>").format(none)
        if minus:
            value = round(value - self.at(minus), 6)
        of = Markup(' data-minus="{}"').format(minus) if minus else Markup("")
        return Markup('<span class="n" data-path="{}"{} data-raw="{}">{}{}</span>').format(
            path, of, repr(value), shown(value, signed=sign and bool(minus)), UNITS[unit]
        )

    def total(self, what: str, of: Sequence[int], unit: str = "") -> Markup:
        """The sum of a number over some connections."""
        value = sum(self.at(f"connections.{index}.{what}") or 0 for index in of)
        return Markup(
            '<span class="n" data-sum="{}" data-of="{}" data-raw="{}">{}{}</span>'
        ).format(what, ",".join(map(str, of)), repr(value), shown(value), UNITS[unit])

    def longest(self, of: Sequence[int]) -> Markup | None:
        """The longest blackout of some connections, either way; None where none had one."""
        paths = [
            f"connections.{i}.blackout_s.{way}" for i in of for way in ("to_client", "to_server")
        ]
        known = [path for path in paths if self.at(path) is not None]
        return self.show(max(known, key=self.at), "s") if known else None


def shown(value: float, *, signed: bool = False) -> str:
    """As a reader wants it: 13,798, 4.013, +0.002."""
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:+.3f}" if signed else f"{value:.3f}"
