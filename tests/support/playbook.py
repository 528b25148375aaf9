"""`>> event` feeds the machine, `<< command` says what must come back.

    assert (
        Playbook(device)
        >> At(3.0)
        >> Tick()
        << Noted("active", reason="...")
        << RequestRoutes()
    )

Every command must be claimed by a `<<`, in order; one too many or too few fails with the
whole script, sent and expected, in the message. `Noted` claims a `Note` by its name and by
those of its details the script cares for.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import Protocol

from emulator.core.commands import Command, Note
from emulator.core.events import Event


class Machine(Protocol):
    def handle(self, event: Event, now: float) -> list[Command]: ...


@dataclass(frozen=True)
class At:
    """Set the clock."""

    now: float


class Noted:
    """A `Note` with this name and at least these details."""

    def __init__(self, what: str, **details: object) -> None:
        self.what, self.details = what, details

    def __repr__(self) -> str:
        return f"Note({self.what!r}, {self.details})"

    def claims(self, command: Command) -> bool:
        return (
            isinstance(command, Note)
            and command.what == self.what
            and self.details.items() <= command.details.items()
        )


class Playbook:
    def __init__(self, machine: Machine, now: float = 0.0) -> None:
        self._machine, self._now = machine, now
        self._expected: list[str] = []
        self._actual: list[str] = []
        self._unclaimed: list[Command] = []

    def __rshift__(self, step: Event | At) -> Playbook:
        self._leave_unclaimed()
        if isinstance(step, At):
            self._now = step.now
            return self
        line = f">> {step!r} @ {self._now}"
        self._expected.append(line)
        self._actual.append(line)
        self._unclaimed = list(self._machine.handle(step, self._now))
        return self

    def __lshift__(self, expected: Command | Noted) -> Playbook:
        line = f"<< {expected!r}"
        self._expected.append(line)
        if not self._unclaimed:
            return self
        command = self._unclaimed.pop(0)
        claimed = expected.claims(command) if isinstance(expected, Noted) else expected == command
        self._actual.append(line if claimed else f"<< {command!r}")
        return self

    def __bool__(self) -> bool:
        self._leave_unclaimed()
        if self._actual != self._expected:
            diff = difflib.ndiff(self._expected, self._actual)
            raise AssertionError("the script was not followed:\n" + "\n".join(diff))
        return True

    def _leave_unclaimed(self) -> None:
        self._actual += [f"<< {command!r}" for command in self._unclaimed]
        self._unclaimed = []
