"""What rounds came to: one line each, the failures among them, the table of all. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from emulator.lab.campaign.chaosmodel import excuse
from emulator.lab.campaign.chaosplan import Kind, Plan

_NO_CAUSE = ("unknown", "-")
_GRAVITY = (
    "wrong bytes", "a device ended", "lost although promised", "lost, and no cause named",
    "not healed",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Lost:
    """A conversation that did not come to its end. `outcome`, `cause`, `why` (the cause in
    words): by the packets, empty where nothing was captured."""

    kind: str
    port: int
    what: str
    outcome: str = ""
    cause: str = ""
    why: str = ""

    @property
    def named(self) -> bool:
        return bool(self.cause) and self.cause not in _NO_CAUSE

    def __str__(self) -> str:
        verdict = f" [{self.outcome} {self.cause}]" if self.outcome else ""
        why = f" ({self.why})" if self.why and not self.named else ""
        return f"{self.kind} {self.port}: {self.what}{verdict}{why}"


@dataclass
class Outcome:
    """What came of one round; what is empty or 0 did not happen.

    `void`: why the lab itself disturbed it; `ended`: a device's process that ended by itself;
    `not_healed`: what was missing when the time to heal was over; `remains`: a dead flow is in
    the way of the next round; `judged`: the packets of the losses were looked at.
    """

    plan: Plan
    number: int = 0
    void: str = ""
    wrong_bytes: int = 0
    wrong: list[str] = field(default_factory=list)
    lost: list[Lost] = field(default_factory=list)
    judged: bool = False
    ended: str = ""
    not_healed: str = ""
    remains: bool = False
    healed_s: float | None = None
    octets: int = 0
    requests: int = 0
    seconds: float = 0.0

    @property
    def failures(self) -> list[str]:
        """What must not happen, and did. Of a void round only what no lab does."""
        found = []
        if self.wrong_bytes or self.wrong:
            found.append(f"wrong bytes: {self.wrong_bytes}, {'; '.join(self.wrong) or 'altered'}")
        if self.ended:
            found.append(f"a device ended: {self.ended}")
        if self.void:
            return found
        if self.not_healed:
            found.append(f"not healed: {self.not_healed}")
        why = excuse(self.plan)
        found += [
            f"lost although promised: {one}" if not why else f"lost, and no cause named: {one}"
            for one in self.lost
            if not why or (self.judged and not one.named)
        ]
        return found

    @property
    def signature(self) -> frozenset[str]:
        """What kinds of failure."""
        return frozenset(text.partition(":")[0] for text in self.failures)

    @property
    def gravest(self) -> str:
        """The worst kind of failure, empty where there is none: what the minimiser looks for. A
        conversation that is lost often keeps the pair from healing; the reverse tells less."""
        return min(self.signature, key=_GRAVITY.index, default="")

    def line(self) -> str:
        """One line for people."""
        head = f"{self.number:4} {self.plan.world:13} {' + '.join(self.plan.kinds) or 'no fault'}"
        if self.void:
            head += f"; VOID: {self.void}"
        healed = f", healed in {self.healed_s:.1f} s" if self.healed_s is not None else ""
        tail = f"; {self.octets >> 10} KiB, {self.requests} requests{healed}"
        causes = Counter(f"{one.kind} {one.cause or '?'}" for one in self.lost)
        if causes:
            why = excuse(self.plan) or "PROMISED"
            named = ", ".join(f"{n} {name}" for name, n in sorted(causes.items()))
            tail += f"; lost ({why}): {named}"
        return head + tail

    def row(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "round": self.number, "plan": self.plan.dumps(), "void": self.void or None,
            "excuse": excuse(self.plan) or None, "wrong_bytes": self.wrong_bytes,
            "lost": [
                {"kind": x.kind, "port": x.port, "what": x.what, "outcome": x.outcome or None,
                 "cause": x.cause or None, "why": x.why or None}
                for x in self.lost
            ],
            "healed_s": self.healed_s, "failures": self.failures, "bytes": self.octets,
            "requests": self.requests, "seconds": round(self.seconds, 1),
        }  # fmt: skip


COLUMNS = ("rounds", "void", "wrong", "lost", "unnamed", "broken", "not healed", "ended")


def table(outcomes: Iterable[Outcome]) -> dict[str, dict[str, int]]:
    """By fault kind, and `all`: rounds it took part in; of these void ones, those with wrong
    bytes; conversations lost with a cause and without one; lost although promised; rounds that
    did not heal, or in which a device ended."""
    rows = {name: dict.fromkeys(COLUMNS, 0) for name in (*(k.value for k in Kind), "all")}
    for one in outcomes:
        promised = not excuse(one.plan)
        counted = not one.void
        for name in {*one.plan.kinds, "all"}:
            row = rows[name]
            row["rounds"] += 1
            row["void"] += not counted
            row["wrong"] += bool(one.wrong_bytes or one.wrong)
            row["ended"] += bool(one.ended)
            row["not healed"] += counted and bool(one.not_healed)
            for lost in one.lost if counted else ():
                kind = "broken" if promised else "lost" if lost.named else "unnamed"
                row[kind] += 1
    return {name: row for name, row in rows.items() if row["rounds"]}


def causes(outcomes: Iterable[Outcome]) -> dict[str, int]:
    """Conversations lost, by reason the plan gave, outcome and cause."""
    found: Counter[str] = Counter()
    for one in outcomes:
        for lost in one.lost if not one.void else ():
            why = excuse(one.plan) or "promised"
            found[f"{why}: {lost.outcome or 'not judged'} {lost.cause or '-'}"] += 1
    return dict(sorted(found.items()))


def text(outcomes: Sequence[Outcome]) -> str:
    """The table at the end, and the failures with what repeats them."""
    rows = table(outcomes)
    width = max((len(name) for name in rows), default=0)
    lines = [f"{'fault':<{width}}  " + "  ".join(f"{c:>10}" for c in COLUMNS)]
    lines += [
        f"{name:<{width}}  " + "  ".join(f"{row[c]:>10}" for c in COLUMNS)
        for name, row in rows.items()
    ]
    lines += [f"{n:6} {name}" for name, n in causes(outcomes).items()]
    octets, requests = sum(o.octets for o in outcomes), sum(o.requests for o in outcomes)
    lines.append(f"{octets} bytes of bulk echo and {requests} requests compared")
    failed = [one for one in outcomes if one.failures]
    for one in failed:
        lines += [f"FAILED round {one.number}: {failure}" for failure in one.failures]
        lines.append(f"  --replay '{one.plan.dumps()}'")
    lines.append(f"{len(failed)} of {len(outcomes)} rounds failed")
    return "\n".join(lines)
