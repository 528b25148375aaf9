"""A device's prompt, with a lab that answers from a script."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from emulator.commands.prompt import converse
from emulator.device.control import ControlError


class Lab:
    """Answers what it knows, refuses the rest."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.asked: list[str] = []

    def status(self, node: str) -> dict[str, object]:
        return {"role": "active"}

    def tmsh(self, node: str, line: str) -> str:
        self.asked.append(line)
        if line.startswith("run"):
            return ""
        if line != "show sys failover":
            raise ControlError(f'Syntax Error: unexpected argument "{line}"')
        return "Failover active for 0d 00:00:01"


def test_lines_from_a_pipe(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """No prompt among the answers; an error does not end it; nothing after quit is asked."""
    lab = Lab(tmp_path)
    typed = "show sys failover\n\ngarbage\nrun sys failover standby\nquit\nshow sys failover\n"
    monkeypatch.setattr("sys.stdin", io.StringIO(typed))
    converse(lab, "bigip-a")  # type: ignore[arg-type]
    told = capsys.readouterr()
    assert told.out == "Failover active for 0d 00:00:01\n"
    assert told.err == 'Syntax Error: unexpected argument "garbage"\n'
    assert lab.asked == ["show sys failover", "garbage", "run sys failover standby"]


def test_the_end_of_input_ends_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lab = Lab(tmp_path)
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    converse(lab, "bigip-a")  # type: ignore[arg-type]
    assert lab.asked == []
