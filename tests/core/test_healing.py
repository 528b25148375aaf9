"""What a device does once a disturbance is over."""

from __future__ import annotations

from emulator.core.commands import CloseChannel, InstallFlow, Release, RequestRoutes
from emulator.core.device import ACK_TIMEOUT_S, Device
from emulator.core.events import ChannelUp, HeartbeatHeard, PacketQueued, Tick
from emulator.wire.heartbeat import Heartbeat
from tests.support.pair import A, B, config
from tests.support.segments import syn


def heard(*, active: bool) -> HeartbeatHeard:
    return HeartbeatHeard(Heartbeat(B, active, False, 1, 1))


def active() -> Device:
    device = Device(config(A), 0.0)
    device.handle(heard(active=False), 0.1)
    assert device.active
    return device


def test_after_a_split_brain_the_device_that_stays_active_asks_for_the_routes_again() -> None:
    """The one that yielded may have taken them."""
    device = active()
    assert RequestRoutes() not in device.handle(heard(active=True), 1.0)
    assert RequestRoutes() in device.handle(heard(active=False), 1.5)
    assert RequestRoutes() not in device.handle(heard(active=False), 2.0)


def test_a_peer_that_yielded_before_it_was_heard_had_the_routes_all_the_same() -> None:
    """Both were active and deaf to each other; the peer heard us first."""
    device = active()
    device.handle(Tick(), 4.0)  # silent for longer than the time-out
    assert RequestRoutes() in device.handle(heard(active=False), 9.0)
    assert RequestRoutes() not in device.handle(heard(active=False), 9.5)


def test_a_peer_that_was_active_and_was_not_heard_then_says_so_afterwards() -> None:
    """One heartbeat says it is active, and that one is lost; its routes stay where they are."""
    device = active()
    quiet = HeartbeatHeard(Heartbeat(B, False, False, 1, 2))
    assert RequestRoutes() not in device.handle(quiet, 0.6)
    yielded = HeartbeatHeard(Heartbeat(B, False, False, 1, 4, heir=True, takeovers=1))
    assert RequestRoutes() in device.handle(yielded, 1.6)
    again = HeartbeatHeard(Heartbeat(B, False, False, 1, 5, heir=True, takeovers=1))
    assert RequestRoutes() not in device.handle(again, 2.1)


def test_a_peer_that_leaves_mirror_messages_unanswered_is_given_up() -> None:
    """Its kernel may go on acknowledging: the packet that waits for it is let go all the same."""
    device = active()
    device.handle(ChannelUp(), 0.2)
    held = device.handle(PacketQueued(7, "ext", syn()), 0.3)
    assert Release(7) not in held
    assert Release(7) not in device.handle(Tick(), 0.3 + ACK_TIMEOUT_S - 0.2)
    commands = device.handle(Tick(), 0.3 + ACK_TIMEOUT_S + 1.1)
    kinds = [type(command) for command in commands]
    assert CloseChannel in kinds
    assert kinds.index(InstallFlow) < kinds.index(Release)
