"""The lab's BIG-IP beside a peer: the cells of the comparison, and what agrees in each. Pure.

A cell is one world under one failover, run twice: with the lab's own data plane and with the
peer's. Everything else is the same. Sessions are compared one by one, by what the verdict on
the packets says: the outcome, and the cause of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from emulator.lab.settings.scenario import Scenario
from emulator.lab.study.explanations import EXPLANATIONS, Difference, Explanation
from emulator.lab.study.factors import FACTORS, Changes, changed

SCHEMA = "mirrorlab/differential/1"
SESSIONS = ("ssh", "telnet", "echo", "idle", "feed")
PEER_OF = {"fastL4": "conntrackd", "standard": "haproxy"}
HOWS = ("force-standby", "power-off")
_SNAT: dict[str, Changes] = {
    "automap": {"virtual_server": {"snat": "automap"}},
    "pool": {"virtual_server": {"snat": "pool"}},
    "none": next(f.changes for f in FACTORS if f.id == "snat-none"),
}
_STATE: dict[str, Changes] = {
    "mirrored": {"virtual_server": {"mirroring": True}},
    "not mirrored": {"virtual_server": {"mirroring": False}},
    "loose initiation": {"virtual_server": {"mirroring": False, "loose_initiation": True}},
}
# The lab's own choice, the other way round; no peer has such a setting.
KEPT = "mirrored, automap address kept"
_KEEP: Changes = {"devices": {"rebuild_automap": False}}


@dataclass(frozen=True, slots=True)
class Cell:
    """One comparison; `state`: what the new active device can know of a connection."""

    world: str
    server: str
    snat: str
    state: str
    how: str

    @property
    def peer(self) -> str:
        return PEER_OF[self.server]

    @property
    def name(self) -> str:
        labels = (self.world, self.server, self.snat, self.state, self.how)
        return "_".join(label.replace(",", "").replace(" ", "-") for label in labels)

    def scenario(self, data_plane: str) -> Scenario:
        """What is run, on either data plane; raises NotPossible."""
        base = Scenario.model_validate(
            {
                "title": "Beside a peer", "world": self.world, "sessions": SESSIONS,
                "cloud": {"propagation_delay_s": 1.0 if self.world == "cloud" else 4.0},
            }
        )  # fmt: skip
        changes: list[Changes] = [
            _snat(self.snat, self.world), _STATE["mirrored" if self.state == KEPT else self.state],
            {"virtual_server": {"type": self.server}, "failover": {"how": self.how}},
            {"devices": {"data_plane": data_plane}},
        ]  # fmt: skip
        if self.state == KEPT and data_plane == "bigip":
            changes.append(_KEEP)
        return changed(base, *changes, name=f"{self.name[:48].rstrip('-_')}-{data_plane}")

    def key(self, data_plane: str) -> str:
        """Of a run; the peer's is the same where only a setting of ours differs."""
        cell = self if data_plane == "bigip" or self.state != KEPT else self._plain()
        return f"{cell.name}_{data_plane}"

    def _plain(self) -> Cell:
        return Cell(self.world, self.server, self.snat, "mirrored", self.how)


def cells() -> list[Cell]:
    """The whole comparison."""
    found = [
        Cell("cloud", "fastL4", snat, state, how)
        for snat in _SNAT for state in _STATE for how in HOWS
    ]  # fmt: skip
    found += [Cell("cloud", "fastL4", "automap", KEPT, how) for how in HOWS]
    found += [
        Cell("cloud", "standard", snat, "not mirrored", how) for snat in _SNAT for how in HOWS
    ]
    found += [
        Cell("onprem", "fastL4", snat, state, "power-off")
        for snat in _SNAT for state in ("mirrored", "not mirrored")
    ]  # fmt: skip
    found += [Cell("onprem", "standard", snat, "not mirrored", "power-off") for snat in _SNAT]
    return found


def _snat(kind: str, world: str) -> Changes:
    """A cloud's routes are none on-premises."""
    changes = _SNAT[kind]
    return changes if world == "cloud" else {k: v for k, v in changes.items() if k != "cloud"}


@dataclass(frozen=True, slots=True)
class Ending:
    """How one session ended; `cause` None: nothing went wrong.

    `shown`: the frames the verdict names, in words; they differ from run to run.
    """

    outcome: str
    cause: str | None
    shown: tuple[str, ...] = field(default=(), compare=False)

    def __str__(self) -> str:
        return f"{self.outcome} {self.cause}" if self.cause else self.outcome


@dataclass(frozen=True, slots=True)
class Pair:
    """One session on both data planes."""

    session: str
    ours: Ending
    peer: Ending
    explanation: Explanation | None = None

    @property
    def same_outcome(self) -> bool:
        return self.ours.outcome == self.peer.outcome

    @property
    def agrees(self) -> bool:
        return self.ours == self.peer


@dataclass(frozen=True, slots=True)
class Compared:
    """A finished cell. `runs`: where ours and the peer's evidence is."""

    cell: Cell
    pairs: tuple[Pair, ...]
    runs: tuple[str, str] = ("", "")

    @property
    def agrees(self) -> bool:
        return all(pair.agrees for pair in self.pairs)

    @property
    def unexplained(self) -> list[Pair]:
        return [p for p in self.pairs if not p.agrees and p.explanation is None]


def compare(
    cell: Cell,
    ours: Mapping[str, Any],
    peer: Mapping[str, Any],
    runs: tuple[str, str] = ("", ""),
    known: Sequence[Explanation] = EXPLANATIONS,
) -> Compared:
    """Two results, session by session; one that a result lacks counts as a difference."""
    left, right = _endings(ours), _endings(peer)
    pairs = []
    for session in dict.fromkeys([*left, *right]):
        mine, theirs = left.get(session, _ABSENT), right.get(session, _ABSENT)
        pair = Pair(session, mine, theirs)
        if not pair.agrees:
            difference = Difference(
                cell.server, cell.snat, cell.state, cell.how, session,
                (mine.outcome, mine.cause), (theirs.outcome, theirs.cause),
            )  # fmt: skip
            fits = (e for e in known if e.fits(difference))
            pair = Pair(session, mine, theirs, next(fits, None))
        pairs.append(pair)
    return Compared(cell, tuple(pairs), runs)


_ABSENT = Ending("ABSENT", None)


def _endings(result: Mapping[str, Any]) -> dict[str, Ending]:
    failover = result.get("failover") or {}
    found = {
        c["name"]: Ending(
            c["outcome"], c["cause"]["id"], _shown(c["cause"], failover.get("triggered", 0.0))
        )
        for c in result["connections"]
    }
    return {name: found[name] for name in sorted(found, key=_place)}


def _shown(cause: Mapping[str, Any], since: float) -> tuple[str, ...]:
    return tuple(f"{e['time'] - since:+.3f} s  {e['text']}" for e in cause.get("evidence", ()))


def _place(session: str) -> int:
    return SESSIONS.index(session) if session in SESSIONS else len(SESSIONS)


def in_words(endings: Sequence[tuple[str, Ending]]) -> str:
    """ "RESET no-flow-reset", or who ended how where they differ."""
    groups: dict[str, list[str]] = {}
    for session, ending in endings:
        groups.setdefault(str(ending), []).append(session)
    if len(groups) == 1:
        return next(iter(groups))
    return "; ".join(f"{', '.join(names)}: {text}" for text, names in groups.items())


def agreement(compared: Compared) -> str:
    """ "yes", or what differs and which explanation it has."""
    if compared.agrees:
        return "yes"
    kinds = {"cause" if p.same_outcome else "outcome" for p in compared.pairs if not p.agrees}
    what = "outcome" if "outcome" in kinds else "cause only"
    ids = sorted({p.explanation.id for p in compared.pairs if p.explanation})
    if compared.unexplained:
        ids.append("unexplained")
    return f"no, {what} ({', '.join(ids)})"


def count(found: Sequence[Compared]) -> dict[str, int]:
    """Cells and sessions that agree, differ in the cause only, differ in the outcome."""
    pairs = [pair for compared in found for pair in compared.pairs]
    return {
        "cells": len(found),
        "cells_agreeing": sum(c.agrees for c in found),
        "cells_with_the_same_outcomes": sum(all(p.same_outcome for p in c.pairs) for c in found),
        "sessions": len(pairs),
        "sessions_agreeing": sum(p.agrees for p in pairs),
        "sessions_with_another_cause": sum(p.same_outcome and not p.agrees for p in pairs),
        "sessions_with_another_outcome": sum(not p.same_outcome for p in pairs),
        "unexplained": sum(len(c.unexplained) for c in found),
    }


def as_data(found: Sequence[Compared]) -> dict[str, Any]:
    """The whole comparison as JSON."""
    return {"schema": SCHEMA, "count": count(found), "cells": list(map(_cell_data, found))}


def _cell_data(compared: Compared) -> dict[str, Any]:
    cell = compared.cell
    return {
        "world": cell.world,
        "virtual_server": cell.server,
        "peer": cell.peer,
        "snat": cell.snat,
        "state": cell.state,
        "failover": cell.how,
        "sessions": {p.session: _pair_data(p) for p in compared.pairs},
        "runs": dict(zip(("ours", "peer"), compared.runs, strict=True)),
    }


def _pair_data(pair: Pair) -> dict[str, Any]:
    return {
        "ours": {"outcome": pair.ours.outcome, "cause": pair.ours.cause},
        "peer": {"outcome": pair.peer.outcome, "cause": pair.peer.cause},
        "agrees": pair.agrees,
        "explanation": pair.explanation.id if pair.explanation else None,
    }


def differences(found: Sequence[Compared]) -> Iterator[tuple[Cell, Pair]]:
    """Every session whose endings differ."""
    for compared in found:
        yield from ((compared.cell, pair) for pair in compared.pairs if not pair.agrees)
