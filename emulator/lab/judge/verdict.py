"""From facts to a verdict: outcome, blackout, bytes, cause. Pure.

Outcomes
  TIMED_OUT  an end gave up: its kernel, or its program for want of an answer (`endrules`)
  RESET      an end's own socket received a reset
  CLOSED     both ends sent FIN, and both arrived
  STALLED    open, and bytes or a FIN sent more than STALLED_S before the end are undelivered
  SURVIVED   none of these

Rules never look at a scenario. `docs/fidelity.md` lists what each rule takes as evidence.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from emulator.lab.judge import datagrams, shortlived, splitbrain
from emulator.lab.judge.endrules import gave_up
from emulator.lab.judge.evidence import Cause, Evidence
from emulator.lab.judge.explain import (
    explain_given_up,
    explain_loss,
    explain_reset,
    explain_survival,
)
from emulator.lab.judge.facts import Connection, Direction, Facts
from emulator.lab.judge.shortlived import SHORT, Members
from emulator.lab.judge.streams import ByteCount, Stream, compare
from emulator.lab.judge.tracing import TAIL_NS, Sighting

STALLED_S = 3.0
_ANSWER_NS = 1_000_000_000  # a short connection is answered in less, or not


@dataclass(frozen=True, slots=True)
class Blackout:
    """Last byte delivered by the first device to first byte delivered by the other, seconds."""

    to_client_s: float | None
    to_server_s: float | None


@dataclass(frozen=True, slots=True)
class Verdict:
    """What happened to one connection."""

    name: str
    connection: Connection
    outcome: str
    blackout: Blackout
    bytes: ByteCount
    cause: Cause
    members: Members | None = None  # of a client that opens one short connection after another


def judge(facts: Facts) -> list[Verdict]:
    """A verdict per connection, in the order they were opened, then one on all short ones of a
    kind, then one per UDP flow."""
    verdicts = [judge_connection(c, facts) for c in facts.connections if c.name not in SHORT]
    for name in sorted(SHORT):
        short = [c for c in facts.connections if c.name == name]
        if short:
            verdicts.append(_judge_short(short, facts))
    flows = datagrams.flows(facts.raw_datagrams, facts.end_ns)
    return verdicts + [_judge_datagrams(flow, facts) for flow in flows]


def _judge_short(connections: list[Connection], facts: Facts) -> Verdict:
    """One verdict on connections that come one after the other: unless they are answered to the
    end, that of the last one that had time to be."""
    each = [judge_connection(c, facts) for c in connections]
    old = [v for v in each if facts.end_ns - _opened_ns(v.connection) > _ANSWER_NS]
    last, whole = (old or each)[-1], shortlived.merged(connections)
    found, shown = shortlived.members(connections), shortlived.shown(connections)
    blackout = Blackout(
        _blackout(whole, Direction.TO_CLIENT), _blackout(whole, Direction.TO_SERVER)
    )
    outcome, cause = last.outcome, last.cause
    if outcome == "SURVIVED":  # open, and nothing came of it
        unopened = replace(whole, server=None)  # where its SYN went, and those before it
        outcome, cause = "STALLED", explain_loss(unopened, facts)
    if shortlived.works(connections):
        cause_id, text = shortlived.in_words(found, shown)
        outcome, cause = "SURVIVED", Cause(cause_id, text, _evidence(shown))
    total = sum((v.bytes for v in each), ByteCount())
    return Verdict(last.name, whole, outcome, blackout, total, cause, found)


def _judge_datagrams(flow: Connection, facts: Facts) -> Verdict:
    outcome = datagrams.outcome(flow)
    if outcome == "STALLED":
        cause = splitbrain.blame(explain_loss(flow, facts), flow, facts)
    else:
        text, shown = datagrams.why_it_lives(flow, facts)
        cause = Cause(None, text, _evidence(shown))
    blackout = Blackout(_blackout(flow, Direction.TO_CLIENT), _blackout(flow, Direction.TO_SERVER))
    return Verdict(flow.name, flow, outcome, blackout, datagrams.count(flow), cause)


def _opened_ns(connection: Connection) -> int:
    return connection.transmissions[0][0].origin.time_ns


def _evidence(shown: Sequence[tuple[Sighting, str]]) -> tuple[Evidence, ...]:
    return tuple(Evidence.of(sighting, text) for sighting, text in shown)


def judge_connection(connection: Connection, facts: Facts) -> Verdict:
    """The verdict on one TCP connection."""
    given = gave_up(connection, facts)
    outcome = "TIMED_OUT" if given is not None else _outcome(connection, facts)
    match outcome:
        case "RESET":
            cause = splitbrain.blame(explain_reset(connection, facts), connection, facts)
        case "TIMED_OUT" if given is not None:
            cause = explain_given_up(connection, facts, given)
        case "STALLED":
            cause = splitbrain.blame(explain_loss(connection, facts), connection, facts)
        case "CLOSED":
            cause = Cause(
                None, "Both ends closed the connection in the regular way.", _fins(connection)
            )
        case _:
            cause = splitbrain.mention(explain_survival(connection, facts), facts)
    blackout = Blackout(
        _blackout(connection, Direction.TO_CLIENT), _blackout(connection, Direction.TO_SERVER)
    )
    return Verdict(connection.name, connection, outcome, blackout, _bytes(connection), cause)


def _outcome(connection: Connection, facts: Facts) -> str:
    if connection.resets:
        return "RESET"
    if len(connection.fins) == 2:
        return "CLOSED"
    if any(_stalled(connection.stream(d), facts.end_ns) for d in Direction):
        return "STALLED"
    if any(_close_stalled(connection, d, facts.end_ns) for d in Direction):
        return "STALLED"
    return "STALLED" if _never_opened(connection, facts.end_ns) else "SURVIVED"


def _stalled(stream: Stream, end_ns: int) -> bool:
    oldest = stream.oldest_undelivered()
    return oldest is not None and end_ns - oldest.origin.time_ns > STALLED_S * 1e9


def _never_opened(connection: Connection, end_ns: int) -> bool:
    """Whether the client's SYN reached nobody who would answer it."""
    began = connection.transmissions[0][0].origin.time_ns
    reached = connection.server is not None or connection.proxied
    return not reached and end_ns - began > STALLED_S * 1e9


def _close_stalled(connection: Connection, direction: Direction, end_ns: int) -> bool:
    """Whether an end's FIN never reached the other, which waits for more."""
    closed = connection.closed.get(direction)
    arrived = direction in connection.fins
    return closed is not None and not arrived and end_ns - closed.time_ns > STALLED_S * 1e9


def _blackout(connection: Connection, direction: Direction) -> float | None:
    """Across the first change of the delivering device; None when there was none."""
    advances = connection.stream(direction).advances
    for before, after in pairwise(advances):
        if before.device != after.device:
            return round((after.arrival.time_ns - before.arrival.time_ns) / 1e9, 3)
    return None


def _bytes(connection: Connection) -> ByteCount:
    """Both directions. What was first sent within STALLED_S of the end may be in flight."""
    total = ByteCount()
    for direction in Direction:
        stream = connection.stream(direction)
        horizon = connection.end_ns - int(STALLED_S * 1e9)
        old = max((end for end, t in stream.first_sent if t.origin.time_ns <= horizon), default=0)
        alive = not connection.resets and len(connection.fins) < 2
        in_flight = len(stream.sent) - old if alive else 0
        delivered = bytes(stream.delivered[: _seen_leaving(stream, connection.end_ns)])
        total += compare(bytes(stream.sent), delivered, in_flight=in_flight)
    return total


def _seen_leaving(stream: Stream, end_ns: int) -> int | None:
    """Where to cut `delivered`: at the end of the captures bytes may arrive that were not
    seen to leave; anywhere else such bytes are counted (as altered)."""
    late = stream.advances and end_ns - stream.advances[-1].arrival.time_ns < TAIL_NS
    return len(stream.sent) if late else None


def _fins(connection: Connection) -> tuple[Evidence, ...]:
    return tuple(
        Evidence.of(arrival, f"FIN reaches {arrival.node}")
        for arrival in sorted(connection.fins.values(), key=lambda a: a.frame)
    )
