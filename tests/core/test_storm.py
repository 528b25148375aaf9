"""Two devices in bad weather: random schedules, and what must hold whatever they bring.

A schedule is a function of its seed (`tests.support.schedules`); a failure prints the seed and
the smallest schedule that still fails.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from emulator.core.commands import RequestRoutes
from emulator.core.config import Commit
from emulator.core.device import Device
from emulator.core.failover import Failover
from emulator.core.mirroring import Receiver
from emulator.core.proxy import Proxy
from emulator.core.reassembly import Reassembly
from emulator.wire.mirror import ResyncEnd
from tests.support.pair import A, B
from tests.support.schedules import COMMITS, Act, carry_out, fails, promised, schedule, smallest
from tests.support.storm import Storm

FEW, MANY = range(18), range(1000, 4000)


def whatever_happens(seeds: range) -> None:
    for seed in seeds:
        commit = COMMITS[seed % len(COMMITS)]
        if broken := fails(schedule(seed), commit, seed):
            least = smallest(schedule(seed), lambda acts, s=seed, c=commit: fails(acts, c, s))
            pytest.fail(f"seed {seed}, {commit}: {broken}\n" + "\n".join(map(str, least)))


def loses(seed: int) -> str:
    """What one failover of a whole pair costs the conversations of a schedule, or breaks."""
    commit = (None, Commit.SYNC)[seed % 2]
    try:
        storm = carry_out(promised(seed), commit, seed)
    except AssertionError as error:
        return f"{commit}: {error}"
    if storm.resets or storm.completed < len(storm.talks):
        return f"{commit}: {storm.resets} reset, {storm.completed} of {len(storm.talks)} complete"
    return ""


def nothing_is_lost(seeds: range) -> None:
    for seed in seeds:
        if broken := loses(seed):
            pytest.fail(f"seed {seed}: {broken}\n" + "\n".join(map(str, promised(seed))))


def test_whatever_happens_the_pair_comes_back_and_no_byte_is_wrong() -> None:
    whatever_happens(FEW)


def test_one_failover_of_a_whole_pair_loses_no_conversation() -> None:
    nothing_is_lost(FEW)


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_whatever_happens_thousands_of_times() -> None:
    whatever_happens(MANY)


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_one_failover_thousands_of_times() -> None:
    nothing_is_lost(MANY)


def test_a_schedule_is_a_function_of_its_seed() -> None:
    assert schedule(7) == schedule(7) != schedule(8)
    assert promised(7) == promised(7) != promised(8)


@pytest.mark.long
def test_the_weather_is_bad_enough() -> None:
    """Schedules that never had two active devices, or a lost channel, would test nothing."""
    seen: set[str] = set()
    for seed in range(24):
        storm = carry_out(schedule(seed), Commit.SYNC, seed)
        seen |= {note.what for node in (storm.a, storm.b) for _, note in node.journal}
    assert {
        "flow-restored", "restore-failed", "mirror-channel-lost", "mirror-invalidated",
        "flow-remirrored", "peer-returned", "reset-sent",
    } <= seen  # fmt: skip


# What the invariants are for: each of these breaks the devices, and has to be found.


def not_held(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = Proxy.__init__

    def init(self: Proxy, *arguments: object) -> None:
        whole(self, *arguments)
        self._sync = frozenset()

    monkeypatch.setattr(Proxy, "__init__", init)


def no_heir(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Failover, "heir", property(lambda self: False))


def no_takeovers_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("emulator.core.device.TAKEOVERS", 1)


def routed_before_restored(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = Device._changed

    def changed(self: Device, signal: object, now: float) -> list:
        commands = whole(self, signal, now)
        return sorted(commands, key=lambda command: not isinstance(command, RequestRoutes))

    monkeypatch.setattr(Device, "_changed", changed)


def stale_flows_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = Receiver._enter

    def enter(self: Receiver, body: object) -> None:
        if not isinstance(body, ResyncEnd):
            whole(self, body)

    monkeypatch.setattr(Receiver, "_enter", enter)


def altered_bytes_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("emulator.wire.mirror._check", lambda *arguments: 0)


def bytes_shifted(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = Reassembly.read
    monkeypatch.setattr(Reassembly, "read", lambda self, start, end: whole(self, start, end)[::-1])


def unheard(seed: int) -> str:
    """Both devices deaf to most heartbeats for a while."""
    acts = [Act(0.5, "deaf", f"{A} {B}", 6.0, 0.65), Act(3.0, "talk", number=3000)]
    return fails(acts, None, seed)


def altered(seed: int) -> str:
    """The channel alters bytes, then the active device dies."""
    acts = [Act(at_s, "talk", number=30_000) for at_s in (0.1, 0.5)]
    acts += [Act(0.2, "corrupt", "", 6.0, 0.5), Act(1.0 + seed * 0.3, "crash", A, 5.0)]
    return fails(acts, Commit.SYNC, seed)


def test_altered_bytes_of_the_channel_reach_no_end() -> None:
    assert [seed for seed in range(6) if altered(seed)] == []


@pytest.mark.parametrize(
    ("breakage", "finds", "seeds"),
    [
        (not_held, loses, range(1, 60, 2)),
        (no_heir, loses, range(60)),
        (bytes_shifted, loses, range(1, 60, 2)),
        (routed_before_restored, loses, range(60)),
        (stale_flows_kept, lambda seed: fails(schedule(seed), COMMITS[seed % 3], seed), range(60)),
        (altered_bytes_pass, altered, range(12)),
        (no_takeovers_counted, unheard, range(10, 40)),
    ],
)
def test_a_broken_device_is_found(
    breakage: Callable[[pytest.MonkeyPatch], None],
    finds: Callable[[int], str],
    seeds: range,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    breakage(monkeypatch)
    assert any(finds(seed) for seed in seeds)


def test_the_smallest_schedule_is_found() -> None:
    acts = schedule(3)
    talks = [act for act in acts if act.what == "talk"]
    assert smallest(acts, lambda few: "fails" if talks[0] in few else "") == talks[:1]


def test_a_storm_of_nothing_is_calm() -> None:
    storm = Storm(Commit.SYNC)
    storm.power_on().run(2)
    storm.talk(3000)
    storm.run(5)
    storm.settle()
    assert (storm.completed, storm.resets) == (1, 0)
