"""A faulty mirroring channel under a standard virtual server: what each device does then.

| fault                          | commit async                    | commit sync                |
| ------------------------------ | ------------------------------- | -------------------------- |
| slow                           | released at once, lag grows     | ingress waits              |
| slow, buffer full              | lost: unmirrored from then on   | cannot get so far          |
| cut, or lost in one direction  | lost after the time-out         | the same, held ones go on  |
| lost, and the active lives on  | the standby forgets the flows   | the same                   |
"""

from __future__ import annotations

import pytest

from emulator.core.commands import RestoreRelay
from emulator.core.config import Commit
from emulator.core.device import ACK_TIMEOUT_S
from tests.support.faulty import KEEPALIVE_S, FaultyPair
from tests.support.pair import A, B, client

ONE_WAY_AND_BOTH = pytest.mark.parametrize("lost", [(A,), (B,), (A, B)], ids=["to", "from", "cut"])
EITHER = pytest.mark.parametrize("commit", list(Commit))


def talking(commit: Commit) -> FaultyPair:
    """The client's connection is open and mirrored."""
    pair = FaultyPair(commit)
    pair.power_on().run(5)
    assert pair.active == [A]
    pair.open()
    assert len(pair.mirrored_at_b) == 1
    return pair


def test_async_over_a_slow_channel_is_released_at_once_and_lags() -> None:
    pair = talking(Commit.ASYNC)
    pair.slow_down(1000)
    packets = [pair.says() for _ in range(20)]
    assert {pair.verdict(p) for p in packets} == {"released"}
    lag = pair.a.device.sender.lag(pair.now)
    assert lag.octets > 20_000


@EITHER
def test_a_slow_channel_is_not_lost_for_being_far_behind(commit: Commit) -> None:
    """Its peer acknowledges all the while; only silence counts as loss."""
    pair = talking(commit)
    pair.slow_down(1000)
    for _ in range(20):
        pair.says()
    pair.run(3 * ACK_TIMEOUT_S)
    assert pair.a.device.sender.lag(pair.now).seconds > ACK_TIMEOUT_S
    assert pair.a.device.channel_up
    assert pair.a.notes("mirror-channel-lost") == []


def test_sync_over_a_slow_channel_makes_ingress_wait() -> None:
    """Released in order, as fast as the channel takes them: the client's TCP waits so long."""
    pair = talking(Commit.SYNC)
    pair.slow_down(1000)
    packets = [pair.says() for _ in range(10)]
    assert {pair.verdict(p) for p in packets} == {"held"}
    for done in range(1, 10):
        pair.run(1.1)
        verdicts = [pair.verdict(p) for p in packets]
        released = verdicts.count("released")
        assert verdicts == ["released"] * released + ["held"] * (10 - released)
        assert done - 2 <= released <= done + 1


def test_async_past_the_buffers_limit_the_channel_is_lost() -> None:
    """Buffered up to statemirror.queuelen; then the flows go on unmirrored, and what the
    standby has of them is dropped, not restored."""
    pair = talking(Commit.ASYNC)
    pair.slow_down(1000)
    for _ in range(150):
        assert pair.verdict(pair.says(60_000)) == "released"
    pair.mend()
    pair.run(4)
    assert len(pair.a.notes("mirror-channel-lost")) == 1
    assert pair.a.device.channel_up  # a new one, on which the flow is not
    assert pair.mirrored_at_b == []
    nothing_stale_is_restored(pair)


@ONE_WAY_AND_BOTH
@EITHER
def test_a_lost_channel_holds_nothing_for_longer_than_the_time_out(
    commit: Commit, lost: tuple[str, ...]
) -> None:
    pair = talking(commit)
    pair.harm(*lost)
    packet = pair.says()
    assert pair.verdict(packet) == ("held" if commit is Commit.SYNC else "released")
    pair.run(ACK_TIMEOUT_S + 1.5)
    assert pair.verdict(packet) == "released"
    assert pair.verdict(pair.says()) == "released"
    assert len(pair.a.notes("mirror-channel-lost")) == 1


@ONE_WAY_AND_BOTH
@EITHER
def test_a_standby_forgets_once_it_hears_that_the_active_lives_on(
    commit: Commit, lost: tuple[str, ...]
) -> None:
    pair = talking(commit)
    pair.harm(*lost)
    pair.says()
    pair.run(KEEPALIVE_S + 2)
    assert pair.b.notes("mirror-invalidated")[0][1] == {"flows": 1}
    nothing_stale_is_restored(pair)


@pytest.mark.parametrize("lost", [(A,), (A, B)], ids=["to", "cut"])
def test_a_standby_keeps_what_it_has_if_the_active_died_with_the_channel(
    lost: tuple[str, ...],
) -> None:
    """It heard nothing of the active device since: that is how a power-off looks, too."""
    pair = talking(Commit.SYNC)
    pair.harm(*lost)
    pair.power_off(A)
    pair.run(10)
    assert pair.active == [B]
    assert [type(c) for c in pair.relays].count(RestoreRelay) == 1


@EITHER
def test_a_mended_channel_mirrors_what_is_opened_then(commit: Commit) -> None:
    pair = talking(commit)
    pair.harm(A, B)
    pair.says()
    pair.run(10)
    pair.mend()
    pair.run(6)
    pair.open(client(1))
    pair.power_off(A)
    pair.run(10)
    restored = [c.plan.record.client for c in pair.relays if isinstance(c, RestoreRelay)]
    assert client(1) in restored


def nothing_stale_is_restored(pair: FaultyPair) -> None:
    pair.power_off(A)
    pair.run(10)
    assert pair.active == [B]
    assert RestoreRelay not in [type(c) for c in pair.relays]
    assert pair.b.notes("flow-restored") == []
