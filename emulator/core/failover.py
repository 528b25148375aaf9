"""Which of the two devices is active for the traffic group.

Rule 1: every transition is a row of TRANSITIONS; nothing else sets the role.
Rule 2: a pair without a row is ignored on purpose: it must stand in IGNORED.
Rule 3: no clock in here: `now` is an argument, the next timer a return value.

                peer silent for 3 s / peer resigned / peer was active and is not any more
                / both standby, we are first and the peer is no heir
        STANDBY --------------------------------------------------------------> ACTIVE
           ^                                                                      |
           +------ operator says so / both active and the peer precedes us -------+

A device that begins anew within the time-out has lost what it served; its peer, the *heir*,
holds what was mirrored and takes over, whoever is first. Heartbeats that were overtaken by
later ones are passed over.

Sources: network failover over UDP 1026, `failover.nettimeoutsec` 3 s (F5 K2397, K9057).
Which of two active devices yields after a split is not documented for this case; the HA
order decides here (`docs/fidelity.md`).
"""

from __future__ import annotations

from enum import Enum

from emulator.wire.heartbeat import Heartbeat


class Role(Enum):
    STANDBY = "standby"
    ACTIVE = "active"


class Signal(Enum):
    """What an event means to the state machine."""

    PEER_SILENT = "no failover status messages received from the peer"
    PEER_RESIGNED = "the peer was told to stand by"
    PEER_LEFT = "the peer was active and has begun anew"
    PEER_HEIR = "the peer stands by for the device we were before we began anew"
    PEER_ACTIVE = "the peer is active and comes after us in the HA order"
    PEER_ACTIVE_FIRST = "the peer is active and precedes us in the HA order"
    PEER_STANDBY = "the peer stands by and comes after us in the HA order"
    PEER_STANDBY_FIRST = "the peer stands by and precedes us in the HA order"
    OPERATOR = "the operator said so"


TRANSITIONS: dict[tuple[Role, Signal], Role] = {
    (Role.STANDBY, Signal.PEER_SILENT): Role.ACTIVE,
    (Role.STANDBY, Signal.PEER_RESIGNED): Role.ACTIVE,
    (Role.STANDBY, Signal.PEER_LEFT): Role.ACTIVE,
    (Role.STANDBY, Signal.PEER_STANDBY): Role.ACTIVE,
    (Role.ACTIVE, Signal.OPERATOR): Role.STANDBY,
    (Role.ACTIVE, Signal.PEER_ACTIVE_FIRST): Role.STANDBY,
}

IGNORED: frozenset[tuple[Role, Signal]] = frozenset(
    {
        (Role.STANDBY, Signal.PEER_ACTIVE),
        (Role.STANDBY, Signal.PEER_ACTIVE_FIRST),
        (Role.STANDBY, Signal.PEER_STANDBY_FIRST),  # it will become active, not we
        (Role.STANDBY, Signal.PEER_HEIR),  # it will become active, whoever is first
        (Role.STANDBY, Signal.OPERATOR),
        (Role.ACTIVE, Signal.PEER_SILENT),
        (Role.ACTIVE, Signal.PEER_RESIGNED),
        (Role.ACTIVE, Signal.PEER_LEFT),
        (Role.ACTIVE, Signal.PEER_HEIR),
        (Role.ACTIVE, Signal.PEER_ACTIVE),  # it yields to us
        (Role.ACTIVE, Signal.PEER_STANDBY),
        (Role.ACTIVE, Signal.PEER_STANDBY_FIRST),
    }
)


_OVERTAKEN = 16  # heartbeats: what is older than that is of a device that began anew


class Failover:
    """One device's view of the pair."""

    def __init__(self, *, order: int, timeout_s: float, now: float) -> None:
        self.role = Role.STANDBY
        self.since = now
        self.resigned = False  # standby by order; over once the peer is active
        self.peer_active: bool | None = None  # None: not heard, or silent
        self.peer_takeovers: int | None = None  # how often it has become active, as it last said
        self.takeovers = 0
        self._order = order
        self._timeout_s = timeout_s
        self._heard = now
        self._latest: int | None = None  # sequence number of the peer's

    @property
    def heir(self) -> bool:
        """Whether we stand by for a device that was active when last heard."""
        return self.role is Role.STANDBY and self.peer_active is True

    def heard(self, heartbeat: Heartbeat, now: float) -> Signal | None:
        """A heartbeat came in; returns the signal that changed the role, or None."""
        if self._latest is not None and 0 < self._latest - heartbeat.sequence < _OVERTAKEN:
            return None
        left = self.heir and not heartbeat.active
        self._heard, self._latest = now, heartbeat.sequence
        self.peer_active, self.peer_takeovers = heartbeat.active, heartbeat.takeovers
        first = heartbeat.order < self._order
        if heartbeat.active:
            self.resigned = False
            signal = Signal.PEER_ACTIVE_FIRST if first else Signal.PEER_ACTIVE
        elif heartbeat.resigned:
            signal = Signal.PEER_RESIGNED
        elif self.resigned:
            return None  # the peer has not taken over yet: leave it the time
        elif left:
            signal = Signal.PEER_LEFT
        elif heartbeat.heir:
            signal = Signal.PEER_HEIR
        else:
            signal = Signal.PEER_STANDBY_FIRST if first else Signal.PEER_STANDBY
        return self._fire(signal, now)

    def operator_standby(self, now: float) -> Signal | None:
        """`run sys failover standby`: no effect on a device that stands by."""
        self.resigned = self.resigned or self.role is Role.ACTIVE
        return self._fire(Signal.OPERATOR, now)

    def tick(self, now: float) -> Signal | None:
        """Whether the peer has been silent for too long."""
        if now < self._heard + self._timeout_s:
            return None
        self.peer_active = self._latest = None
        return self._fire(Signal.PEER_SILENT, now)

    def next_timer(self) -> float | None:
        """When `tick` is due, or None when nothing is waited for."""
        silent = self.role is Role.ACTIVE and self.peer_active is None
        return None if silent else self._heard + self._timeout_s

    def _fire(self, signal: Signal, now: float) -> Signal | None:
        row = (self.role, signal)
        if row in IGNORED:
            return None
        self.role = TRANSITIONS[row]
        self.since = now
        if self.role is Role.ACTIVE:
            self.resigned = False
            self.takeovers += 1
        return signal
