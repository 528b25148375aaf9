"""The takeover kick: ends that wait for their next retransmission are told to try now.

After an outage of T seconds a sender's next retransmission comes up to T seconds later (RTO
doubling, RFC 6298). RFC 6069 lets an ICMP host unreachable that quotes the segment at its
`snd_una` undo one doubling; when the timer is then overdue the sender transmits at once. No
BIG-IP does this: `takeover_kick` is off by default.

For each end of each flow taken over::

    WAITING --its path is back: probe--> it answers --kick it--> DONE
       \\-- it sends bytes of its own accord -----------------/

Rules
1. The probe is one byte the end has had already: a TCP answers with where it stands
   (RFC 9293 section 3.10.7.4), and its answer shows that the way from it leads here.
2. Until one end of a side has been heard, only CANARIES of that side are probed: the routes of a
   side move together.
3. The end of a proxied flow: `theirs`, its oldest unacknowledged byte, is where our connection
   has come to, once a bare acknowledgement has told it so. Our own retransmission timer is
   kicked along with it.
4. The end of a fastL4 flow: `theirs` is what the *other* end's answer acknowledges, which is
   passed on to it. The mirrored acknowledgements (`wire.mirror.FlowAcks`) are too old for
   that, but right for the probe.
5. KICKS messages, as the timer may have doubled as often; an end that moves gets no more.
"""

from __future__ import annotations

import heapq
from collections import deque
from dataclasses import dataclass, field

from emulator.core.commands import Command, Note, SendSegment, SendUnreachable
from emulator.core.flow import Flow, FlowState, FlowTable
from emulator.wire.segment import ACK, Endpoint, Segment
from emulator.wire.seqnum import SeqNum

STEP_S = 0.02  # between two probes, and between two kicks of one end
KICKS = 12
CANARIES = 4
GIVE_UP_S = 180.0  # no path for so long: the ends' own timers will have to do
_AT_ONCE = 250  # probes in one step
_ROUNDS = 3  # of probes, to an end whose path is back
_WINDOW = 0xFFFF  # as large as a restored connection's own
_GARBAGE = b"\0"


@dataclass(slots=True, eq=False)
class _End:
    """One end of a flow. `ours`: a place of our stream it has acknowledged, for the probe."""

    flow: Flow
    from_client: bool
    local: Endpoint
    remote: Endpoint
    ours: SeqNum | None
    theirs: SeqNum | None
    kicked: bool = False
    done: bool = False

    def probe(self) -> Segment | None:
        if self.ours is None:
            return None
        ack = self.theirs or SeqNum(0)
        return Segment(self.local, self.remote, self.ours + -1, ack, ACK, _WINDOW, _GARBAGE)


@dataclass(slots=True)
class _Group:
    """One side's ends."""

    back: bool = False
    canaries: deque[_End] = field(default_factory=deque)
    to_probe: deque[_End] = field(default_factory=deque)
    rounds: int = 0


# When, a number that keeps the order, for whom (None: whatever that end does), what; nothing
# to send means that it was the last.
_Due = tuple[float, int, _End | None, tuple[Command, ...]]


class Kicks:
    """What is under way since the last takeover. `now` in seconds, as everywhere."""

    def __init__(self, table: FlowTable, *, enabled: bool) -> None:
        self.enabled = enabled
        self._table = table
        self.stop()

    def stop(self) -> None:
        """Forget everything: another device serves the flows."""
        self._groups = {True: _Group(), False: _Group()}
        self._ends: dict[tuple[Flow, bool], _End] = {}
        self._due: list[_Due] = []
        self._count = 0
        self._next: float | None = None
        self._until = 0.0

    def add(
        self, flow: Flow, *, from_client: bool, ours: SeqNum | None, theirs: SeqNum | None = None
    ) -> None:
        """An end of a flow that is taken over; before `start`."""
        if not self.enabled:
            return
        record = flow.record
        local, remote = (
            (record.virtual, record.client) if from_client else (record.snat, record.member)
        )
        end = _End(flow, from_client, local, remote, ours, theirs)
        self._ends[flow, from_client] = end
        self._groups[from_client].canaries.append(end)
        if not flow.standard:
            flow.state = FlowState.TAKEN

    def start(self, now: float) -> list[Command]:
        """The routes have been asked for."""
        if not self._ends:
            return []
        self._next, self._until = now, now + GIVE_UP_S
        return [Note("kick-waits", {"ends": len(self._ends)})]

    def next_timer(self) -> float | None:
        """When `tick` is due, or None."""
        first = self._due[0][0] if self._due else None
        timers = [t for t in (self._next, first) if t is not None]
        return min(timers, default=None)

    def tick(self, now: float) -> list[Command]:
        """Probes and kicks that are due."""
        commands: list[Command] = []
        while self._due and self._due[0][0] <= now:
            _, _, end, messages = heapq.heappop(self._due)
            if end is None or (not end.done and self._alive(end)):
                commands += messages
            if end is not None and not messages:
                self._finish(end)
        if not self._due and all(end.done for end in self._ends.values()):
            self.stop()
        if self._next is None or now < self._next:
            return commands
        self._next = now + STEP_S
        for group in self._groups.values():
            commands += self._probe(group)
        if now >= self._until or not self._probing():
            self._next = None
        if now >= self._until:
            for end in self._ends.values():
                self._finish(end)
        return commands

    def arrived(
        self, flow: Flow, segment: Segment, *, from_client: bool, now: float
    ) -> list[Command]:
        """A segment of a flow that was taken over came in and is released before these."""
        end = self._ends.get((flow, from_client))
        if end is None:
            return []
        commands: list[Command] = []
        group = self._groups[from_client]
        if not group.back:
            group.back = True
            side = "client" if from_client else "server"
            commands.append(Note("path-back", {"side": side, "end": str(end.remote)}))
            group.to_probe = deque(e for e in group.canaries if not e.kicked)
            for other in list(group.to_probe):
                commands += self._kick_passed_on(other, now)
        if flow.standard:
            commands += self._kick_proxied(end, segment, now)
        else:
            other_end = self._ends.get((flow, not from_client))
            if other_end is not None and other_end.theirs is None:
                other_end.theirs = segment.ack
                if self._groups[not from_client].back:
                    commands += self._kick_passed_on(other_end, now)
        if segment.payload:
            self._finish(end)
        return commands

    @property
    def under_way(self) -> bool:
        """Whether segments that come in matter here."""
        return bool(self._ends)

    def _kick_passed_on(self, end: _End, now: float) -> list[Command]:
        """fastL4: as soon as it is known where the end stands."""
        if end.flow.standard or end.theirs is None or end.kicked or end.done:
            return []
        return self._kick(end, [], [], now)

    def _kick_proxied(self, end: _End, segment: Segment, now: float) -> list[Command]:
        """Its answer says what it has of ours; so it can be told what we have of its bytes."""
        if end.kicked or end.done or end.theirs is None:
            return []
        told = Segment(end.local, end.remote, segment.ack, end.theirs, ACK, _WINDOW)
        own = Segment(end.local, end.remote, segment.ack, end.theirs, ACK)
        return self._kick(end, [SendSegment(told)], [SendUnreachable(own, to_us=True)], now)

    def _kick(
        self, end: _End, first: list[Command], along: list[Command], now: float
    ) -> list[Command]:
        assert end.theirs is not None
        end.kicked = True
        quoted = Segment(end.remote, end.local, end.theirs, SeqNum(0), ACK)
        message = SendUnreachable(quoted)
        for number in range(1, KICKS):
            self._later(now + number * STEP_S, end, (message,))
            if along:
                self._later(now + number * STEP_S, None, tuple(along))
        self._later(now + KICKS * STEP_S, end, ())
        details = {"end": str(end.remote), "from": str(end.local), "seq": end.theirs.value}
        return [Note("kick", details), *first, message, *along]

    def _later(self, at: float, end: _End | None, messages: tuple[Command, ...]) -> None:
        self._count += 1
        heapq.heappush(self._due, (at, self._count, end, messages))

    def _probe(self, group: _Group) -> list[Command]:
        """The canaries of a side that is silent, every end of one that is not."""
        if group.back and not group.to_probe and group.rounds < _ROUNDS:
            group.rounds += 1
            group.to_probe = deque(group.canaries)
        queue = group.to_probe if group.back else group.canaries
        commands: list[Command] = []
        for _ in range(min(len(queue), _AT_ONCE if group.back else CANARIES)):
            end = queue.popleft()
            if end.kicked or end.done or not self._alive(end):
                continue
            if not group.back:
                queue.append(end)
            probe = end.probe()
            if probe is not None:
                commands.append(SendSegment(probe))
        return commands

    def _probing(self) -> bool:
        return any(
            g.canaries and (not g.back or g.to_probe or g.rounds < _ROUNDS)
            for g in self._groups.values()
        )

    def _alive(self, end: _End) -> bool:
        record = end.flow.record
        return self._table.get(record.client, record.virtual) is end.flow

    def _finish(self, end: _End) -> None:
        """Enough: the flow goes the fast way again once both ends are done."""
        end.done = True
        flow = end.flow
        other = self._ends.get((flow, not end.from_client))
        if flow.state is FlowState.TAKEN and (other is None or other.done):
            flow.state = FlowState.OPEN
