"""Who is active: the table is complete, the timers are right, and a pair agrees."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulator.core.failover import IGNORED, TRANSITIONS, Failover, Role, Signal
from emulator.wire.heartbeat import Heartbeat
from tests.support.segments import examples

FIRST, SECOND = 0, 1  # places in the HA order
ACTIVE, STANDBY = Role.ACTIVE, Role.STANDBY


def device(order: int = FIRST, role: Role = Role.STANDBY) -> Failover:
    """A device that started at second 0 and, if active, became so at once."""
    machine = Failover(order=order, timeout_s=3.0, now=0.0)
    if role is ACTIVE:
        assert machine.heard(says(machine, active=False, resigned=True), 0.0)
    assert machine.role is role
    return machine


def says(to: Failover, *, active: bool, resigned: bool = False, order: int | None = None):
    """A heartbeat of the other device of the pair."""
    peer = 1 - to._order if order is None else order
    return Heartbeat("peer", active, resigned, peer, 1)


def test_every_role_and_signal_is_decided_exactly_once():
    every = set(itertools.product(Role, Signal))
    assert set(TRANSITIONS) | IGNORED == every
    assert not set(TRANSITIONS) & IGNORED


def test_every_transition_is_one():
    assert all(role is not after for (role, _), after in TRANSITIONS.items())


@pytest.mark.parametrize(
    ("order", "role", "peer_active", "peer_resigned", "signal", "after"),
    [
        (FIRST, STANDBY, False, False, Signal.PEER_STANDBY, ACTIVE),
        (SECOND, STANDBY, False, False, None, STANDBY),
        (FIRST, STANDBY, True, False, None, STANDBY),
        (SECOND, STANDBY, True, False, None, STANDBY),
        (FIRST, STANDBY, False, True, Signal.PEER_RESIGNED, ACTIVE),
        (SECOND, STANDBY, False, True, Signal.PEER_RESIGNED, ACTIVE),
        (FIRST, ACTIVE, True, False, None, ACTIVE),
        (SECOND, ACTIVE, True, False, Signal.PEER_ACTIVE_FIRST, STANDBY),
        (FIRST, ACTIVE, False, False, None, ACTIVE),
        (SECOND, ACTIVE, False, False, None, ACTIVE),
        (FIRST, ACTIVE, False, True, None, ACTIVE),
        (SECOND, ACTIVE, False, True, None, ACTIVE),
    ],
)
def test_what_a_heartbeat_does(order, role, peer_active, peer_resigned, signal, after):
    machine = device(order, role)
    heartbeat = says(machine, active=peer_active, resigned=peer_resigned)
    assert machine.heard(heartbeat, 1.0) is signal
    assert machine.role is after


def test_three_seconds_of_silence_make_a_standby_active():
    machine = device()
    machine.heard(says(machine, active=True), 1.0)
    assert machine.next_timer() == 4.0
    assert machine.tick(3.999) is None
    assert machine.role is STANDBY
    assert machine.tick(4.0) is Signal.PEER_SILENT
    assert (machine.role, machine.since) == (ACTIVE, 4.0)


def test_every_heartbeat_begins_the_three_seconds_anew():
    machine = device()
    for second in range(1, 10):
        machine.heard(says(machine, active=True), float(second))
        assert machine.tick(second + 2.9) is None
    assert machine.next_timer() == 12.0


def test_a_device_that_never_heard_a_peer_waits_from_its_start():
    machine = Failover(order=SECOND, timeout_s=3.0, now=100.0)
    assert machine.next_timer() == 103.0
    assert machine.tick(102.9) is None
    assert machine.tick(103.0) is Signal.PEER_SILENT


def test_silence_leaves_an_active_device_active_and_without_a_timer():
    machine = device(role=ACTIVE)
    assert machine.peer_active is False
    assert machine.tick(3.0) is None
    assert machine.role is ACTIVE
    assert machine.peer_active is None
    assert machine.next_timer() is None


def test_a_peer_heard_again_starts_the_timer_again():
    machine = device(role=ACTIVE)
    machine.tick(3.0)
    machine.heard(says(machine, active=False), 9.0)
    assert machine.next_timer() == 12.0


def test_the_operator_moves_only_the_active_device():
    machine = device()
    assert machine.operator_standby(1.0) is None
    assert not machine.resigned


def test_a_device_that_resigned_leaves_the_peer_the_time_to_take_over():
    """First in the HA order, it would otherwise take the group straight back."""
    machine = device(FIRST, ACTIVE)
    assert machine.operator_standby(1.0) is Signal.OPERATOR
    assert (machine.role, machine.since, machine.resigned) == (STANDBY, 1.0, True)
    assert machine.heard(says(machine, active=False), 1.1) is None
    assert machine.role is STANDBY


def test_resigning_is_over_once_the_peer_is_active():
    machine = device(FIRST, ACTIVE)
    machine.operator_standby(1.0)
    machine.heard(says(machine, active=True), 1.2)
    assert not machine.resigned
    assert machine.heard(says(machine, active=False), 2.0) is Signal.PEER_LEFT


def test_a_device_that_resigned_to_a_dead_peer_takes_the_group_back():
    machine = device(FIRST, ACTIVE)
    machine.operator_standby(1.0)
    assert machine.tick(3.0) is Signal.PEER_SILENT
    assert (machine.role, machine.resigned) == (ACTIVE, False)


class Two:
    """Both devices of a pair and nothing between them: a heartbeat is heard at once."""

    def __init__(self) -> None:
        self.both = [Failover(order=order, timeout_s=3.0, now=0.0) for order in (FIRST, SECOND)]
        self.said = [0, 0]

    def beat(self, sender: int) -> Heartbeat:
        one = self.both[sender]
        self.said[sender] += 1
        return Heartbeat(
            f"bigip-{sender}", one.role is ACTIVE, one.resigned, sender, self.said[sender],
            one.heir, one.takeovers,
        )  # fmt: skip

    def tell(self, sender: int, now: float) -> None:
        self.both[1 - sender].heard(self.beat(sender), now)

    def restart(self, order: int, now: float) -> None:
        """With nothing of what it knew."""
        self.both[order] = Failover(order=order, timeout_s=3.0, now=now)
        self.said[order] = 0

    @property
    def roles(self) -> list[Role]:
        return [machine.role for machine in self.both]


@pytest.mark.parametrize("speaks_first", [FIRST, SECOND])
def test_on_cold_start_the_first_in_the_ha_order_becomes_active(speaks_first):
    pair = Two()
    for step in range(6):
        pair.tell((speaks_first + step) % 2, 0.1 * step)
    assert pair.roles == [ACTIVE, STANDBY]


@pytest.mark.parametrize("speaks_first", [FIRST, SECOND])
def test_a_split_brain_heals_to_one_active(speaks_first):
    pair = Two()
    for machine in pair.both:
        machine.tick(3.0)
    assert pair.roles == [ACTIVE, ACTIVE]
    pair.tell(speaks_first, 9.0)
    pair.tell(1 - speaks_first, 9.1)
    assert pair.roles == [ACTIVE, STANDBY]


def test_a_device_that_comes_back_does_not_take_the_group_away():
    """No auto-failback: it hears the peer is active and stands by."""
    pair = Two()
    pair.both[SECOND].tick(3.0)
    pair.restart(FIRST, 10.0)
    for step in range(4):
        pair.tell((SECOND + step) % 2, 10.1 + step)
    assert pair.roles == [STANDBY, ACTIVE]


@pytest.mark.parametrize("speaks_first", [FIRST, SECOND])
@pytest.mark.parametrize("lived", [2, 30])
def test_a_device_that_begins_anew_within_the_time_out_leaves_the_group_to_its_heir(
    lived: int, speaks_first: int
):
    """It has forgotten every flow; the standby holds them all, and is second in the order."""
    pair, now = Two(), 0.0
    for step in range(2 * lived):
        pair.tell(step % 2, now := 0.25 * step)
    assert pair.roles == [ACTIVE, STANDBY]
    pair.restart(FIRST, now + 0.3)
    for step in range(20):
        now += 0.25
        pair.tell((speaks_first + step) % 2, now)
        for machine in pair.both:
            machine.tick(now)
        assert pair.roles != [ACTIVE, STANDBY]
    assert pair.roles == [STANDBY, ACTIVE]


def test_a_heartbeat_that_was_overtaken_says_nothing():
    pair = Two()
    late = pair.beat(FIRST)  # it stands by
    for step in range(4):
        pair.tell((SECOND + step) % 2, 0.25 * step)
    assert pair.roles == [ACTIVE, STANDBY]
    assert pair.both[SECOND].heard(late, 1.5) is None
    assert pair.roles == [ACTIVE, STANDBY]


steps = st.lists(
    st.tuples(
        st.sampled_from(
            ("tell 0", "tell 1", "operator 0", "operator 1", "restart 0", "restart 1", "tick")
        ),
        st.floats(0.0, 2.0),
    ),
    max_size=25,
)


@given(steps)
@examples(200)
def test_whatever_happened_the_pair_agrees_once_it_talks(story):
    """Any order of heartbeats, losses, time-outs and operators; then ten seconds of calm."""
    pair, now = Two(), 0.0
    for step, wait in story:
        now += wait
        match step.split():
            case ["tell", sender]:
                pair.tell(int(sender), now)
            case ["operator", order]:
                pair.both[int(order)].operator_standby(now)
            case ["restart", order]:
                pair.restart(int(order), now)
            case ["tick"]:
                for machine in pair.both:
                    machine.tick(now)
    for beat in range(40):  # one that began anew may have to be silent for its peer first
        pair.tell(beat % 2, now + 0.25 * beat)
        for machine in pair.both:
            machine.tick(now + 0.25 * beat)
    assert sorted(role.value for role in pair.roles) == ["active", "standby"]
    assert not any(machine.resigned for machine in pair.both)
