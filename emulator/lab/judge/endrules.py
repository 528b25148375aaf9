"""Connections that an end gave up of its own accord. Pure.

What shows it, at the end's own interface and nowhere else:

    its FIN, or a reset of its own making (RST with ACK), while bytes it had sent
    UNANSWERED_S ago or longer were unacknowledged and nothing had come from the other side
    since: its program ended the connection for want of an answer. Or while bytes the other side
    had sent so long ago had not come: what had been asked was acknowledged, its answer lost

    a reset that answers a segment of this very connection (RST without ACK: nobody has the
    socket any more), after such a silence or less than UNANSWERED_S after its end (more than
    one segment may arrive before the one that is answered so). If until then it had
    retransmitted whenever that was due, its kernel still had the connection, and it is its
    program that had none: a program's FIN waits behind bytes that the congestion window holds
    back. If a retransmission that was due is missing, its kernel had given up

    no retransmission when the next one was due, by the doubling of the time-out, nor until
    the captures' end: its kernel had given up

A program's own words are no evidence here. Where the segments were being lost for good (by
another device, or in the fabric), that is why the connection died, not an end's impatience.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from emulator.lab.judge.fabricrules import Finding
from emulator.lab.judge.facts import Connection, Direction, Facts, Fate, Socket
from emulator.lab.judge.tracing import ROUTER, Sighting, Transmission, is_device
from emulator.wire.segment import ACK, FIN, RST
from emulator.wire.seqnum import SeqNum

UNANSWERED_S = 1.0
RTO_MAX_S = 120.0  # Linux; a retransmission is due at the latest so long after the one before
_LATE = 1.2  # it counts as missing so much later: Linux's long timers are up to 1/8 late,
_SLACK_S = 0.5  # a host's scheduler a bit more
_FIRST_RTO_S = 3.0  # after a single try: as long as any first time-out
_MIN_SENT = 4  # transmissions of the same bytes before the next one can be foreseen


@dataclass(frozen=True, slots=True)
class GaveUp:
    """An end that gave up. `for_good`: its last segments were lost where waiting saves nobody."""

    finding: Finding
    for_good: bool


@dataclass(slots=True)
class _End:
    """One end's view, segment by segment: what it sent and is not answered yet."""

    socket: Socket
    acknowledged: SeqNum | None = None
    unanswered: list[tuple[Transmission, Sighting]] = field(default_factory=list)
    heard: Sighting | None = None

    def sent(self, transmission: Transmission, sighting: Sighting) -> None:
        if sighting.segment.octets:
            self.unanswered.append((transmission, sighting))

    def received(self, sighting: Sighting) -> None:
        self.heard = sighting
        if sighting.segment.flags & ACK:
            ack = sighting.segment.ack
            if self.acknowledged is None or self.acknowledged.precedes(ack):
                self.acknowledged = ack
            self.unanswered = [u for u in self.unanswered if ack.precedes(u[1].segment.end)]

    def oldest(self) -> list[Sighting]:
        """Every transmission of the first unanswered byte, whatever else was in the segment: a
        retransmission may begin earlier, with bytes acknowledged since."""
        if not self.unanswered:
            return []
        base = self.unanswered[0][1].segment.seq
        first = min((s.segment.seq for _, s in self.unanswered), key=lambda q: q.octets_from(base))
        if self.acknowledged is not None and first.precedes(self.acknowledged):
            first = self.acknowledged
        return [
            s
            for _, s in self.unanswered
            if not first.precedes(s.segment.seq) and first.precedes(s.segment.end)
        ]

    def waited_s(self, now: Sighting) -> float:
        """For how long bytes had been unanswered, and nothing heard, at `now`."""
        tried = self.oldest()
        if not tried:
            return 0.0
        since = max(tried[0].time_ns, self.heard.time_ns if self.heard else 0)
        return (now.time_ns - since) / 1e9


def gave_up(connection: Connection, facts: Facts) -> GaveUp | None:
    """The end that gave up first, if one did."""
    found = [
        given
        for socket in (connection.client, connection.server)
        if socket is not None and (given := _of_end(connection, facts, socket)) is not None
    ]
    return min(found, key=lambda g: g.finding.shown[-1][0].frame, default=None)


def _of_end(connection: Connection, facts: Facts, socket: Socket) -> GaveUp | None:
    end = _End(socket)
    trigger: Sighting | None = None  # the segment that ended a silence, and what it found
    before: _End = end
    for transmission, sighting in _events(connection, socket):
        flags = sighting.segment.flags
        if not sighting.outgoing:
            if flags & (RST | FIN):
                return None  # the other side ended it
            if end.waited_s(sighting) >= UNANSWERED_S:
                before = _End(socket, end.acknowledged, list(end.unanswered), end.heard)
                trigger = sighting
            end.received(sighting)
        elif flags & RST and not flags & ACK:
            return _kernel_forgot(connection, facts, before, trigger, sighting)
        elif flags & (RST | FIN):
            return _program_ended(connection, facts, end, sighting)
        else:
            end.sent(transmission, sighting)
    return _fell_silent(connection, facts, end)


def _events(connection: Connection, socket: Socket) -> Iterator[tuple[Transmission, Sighting]]:
    """What left the end for its peer, and what reached it from there, in time order."""
    found = []
    for transmission, _ in connection.transmissions:
        for sighting in (transmission.origin, transmission.last):
            segment = sighting.segment
            ours = (segment.source, segment.destination) == (socket.local, socket.remote)
            theirs = (segment.destination, segment.source) == (socket.local, socket.remote)
            if sighting.node == socket.node and (ours if sighting.outgoing else theirs):
                found.append((transmission, sighting))
    return iter(sorted(found, key=lambda event: event[1].frame))


def _program_ended(
    connection: Connection, facts: Facts, end: _End, ending: Sighting
) -> GaveUp | None:
    node = end.socket.node
    how = "aborted" if ending.segment.flags & RST else "closed"
    sign = "reset" if how == "aborted" else "FIN"
    waited_s = end.waited_s(ending)
    if waited_s < UNANSWERED_S:
        return _missed_its_answer(connection, facts, end, ending, (how, sign))
    text = (
        f"{node} {how} the connection by itself: bytes it had sent were unanswered for "
        f"{waited_s:.1f} s, and nothing had come from the other side meanwhile."
    )
    shown = (*_tries(end), (ending, f"{node}'s own {sign}, unasked"))
    return _given(
        connection, facts, end.unanswered[-1][0], Finding("application-timer", text, shown)
    )


def _missed_its_answer(
    connection: Connection, facts: Facts, end: _End, ending: Sighting, signs: tuple[str, str]
) -> GaveUp | None:
    """An end that owes nothing ended the connection while bytes for it were on their way."""
    node, (how, sign) = end.socket.node, signs
    lost = _not_come(connection, end.socket, ending)
    since_ns = max(lost[0].origin.time_ns if lost else 0, end.heard.time_ns if end.heard else 0)
    waited_s = (ending.time_ns - since_ns) / 1e9
    if not lost or waited_s < UNANSWERED_S:
        return None
    text = (
        f"{node} {how} the connection by itself: bytes that {lost[0].origin.node} had sent it had "
        f"not come for {waited_s:.1f} s, nor anything else from the other side."
    )
    shown = (
        (lost[0].origin, f"{lost[0].origin.node} sends bytes that do not come"),
        (lost[-1].last, "the last sight of the last try"),
        (ending, f"{node}'s own {sign}, unasked"),
    )
    return _given(connection, facts, lost[-1], Finding("application-timer", text, shown))


def _not_come(connection: Connection, socket: Socket, now: Sighting) -> list[Transmission]:
    """What the other side had sent this end until `now` beyond all that had arrived."""
    sent, reached = [], None  # type: list[Transmission], SeqNum | None
    for transmission, direction in connection.transmissions:
        inward = (direction is Direction.TO_CLIENT) == (socket is connection.client)
        ours = is_device(transmission.origin.node) == connection.proxied
        if not inward or not ours or transmission.origin.frame > now.frame:
            continue
        last, end = transmission.last, transmission.segment.end
        if last.frame < now.frame and not last.outgoing and connection.is_for(last):
            reached = end if reached is None or reached.precedes(end) else reached
        elif transmission.segment.octets:
            sent.append(transmission)
    return [t for t in sent if reached is None or reached.precedes(t.segment.end)]


def _kernel_forgot(
    connection: Connection, facts: Facts, end: _End, trigger: Sighting | None, reset: Sighting
) -> GaveUp | None:
    if trigger is None or reset.time_ns - trigger.time_ns >= UNANSWERED_S * 1e9:
        return None
    waited_s = end.waited_s(trigger)
    node, tried = end.socket.node, end.oldest()
    silent_s = (trigger.time_ns - tried[-1].time_ns) / 1e9
    due_s = _due_s(tried)
    shown = (
        *_tries(end),
        (trigger, f"{node} receives a segment of the connection"),
        (reset, f"{node} answers with a reset: nobody there has the connection any more"),
    )
    if silent_s < due_s * _LATE + _SLACK_S:
        text = (
            f"{node}'s program had ended the connection when the answer came after "
            f"{waited_s:.1f} s: its kernel had gone on retransmitting until then (a FIN has to "
            "wait its turn behind bytes that are not answered), and reset it."
        )
        return _given(
            connection, facts, end.unanswered[-1][0], Finding("application-timer", text, shown)
        )
    text = (
        f"{node} stopped retransmitting: after {len(tried) - 1} retransmissions the next one was "
        f"due {due_s:.1f} s after the last, and none came in {silent_s:.1f} s, until a segment of "
        "the connection found nobody there."
    )
    return _given(
        connection, facts, end.unanswered[-1][0], Finding("endpoint-gave-up", text, shown)
    )


def _due_s(tried: Sequence[Sighting]) -> float:
    """How long after the last of these tries the next one is due."""
    if len(tried) < 2:
        return _FIRST_RTO_S
    return min(2 * (tried[-1].time_ns - tried[-2].time_ns) / 1e9, RTO_MAX_S)


def _fell_silent(connection: Connection, facts: Facts, end: _End) -> GaveUp | None:
    tried = end.oldest()
    if len(tried) < _MIN_SENT:
        return None
    due_s = _due_s(tried)
    silent_s = (facts.end_ns - tried[-1].time_ns) / 1e9
    if silent_s < due_s * _LATE + _SLACK_S:
        return None
    node = end.socket.node
    text = (
        f"{node} stopped retransmitting: after {len(tried) - 1} retransmissions the next one was "
        f"due {due_s:.1f} s after the last, and none came in {silent_s:.1f} s."
    )
    return _given(
        connection, facts, end.unanswered[-1][0], Finding("endpoint-gave-up", text, _tries(end))
    )


def _given(connection: Connection, facts: Facts, tried: Transmission, finding: Finding) -> GaveUp:
    """With where the last try was lost, and when another device first passed anything on."""
    ending = connection.ending(tried, facts.points)
    elsewhere = is_device(ending.node) and ending.node != connection.first_device
    lost_for_good = ending.fate in (Fate.MISADDRESSED, Fate.FABRIC) or (
        ending.fate is Fate.DEVICE and elsewhere
    )
    text = f"{finding.text} The last try {ending.fate.value} ({ending.last.point})."
    back = _moved_after(facts, tried.origin, connection.first_device)
    if back is not None and back > UNANSWERED_S:
        text += f" {back:.1f} s after that the first segment went by the other device."
    return GaveUp(Finding(finding.cause, text, finding.shown), lost_for_good)


def _moved_after(facts: Facts, last: Sighting, first_device: str | None) -> float | None:
    """When, after `last`, an end's segment of any connection first went by another device."""
    for connection in facts.connections:
        for transmission, _ in connection.transmissions:
            origin = transmission.origin
            own = is_device(origin.node) or origin.node == ROUTER
            other = transmission.device not in (None, first_device)
            if other and not own and origin.frame > last.frame:
                return (origin.time_ns - last.time_ns) / 1e9
    return None


def _tries(end: _End) -> tuple[tuple[Sighting, str], ...]:
    """The first and the last transmission of what was never answered."""
    tried = end.oldest()
    node = end.socket.node
    shown = [(end.heard, f"the last {node} heard")] if end.heard is not None else []
    shown.append((tried[0], f"{node} sends bytes that are never answered"))
    if len(tried) > 1:
        shown.append((tried[-1], f"{node}'s last retransmission of them, number {len(tried) - 1}"))
    return tuple(shown)
