"""The mirroring channel in a capture: up or down, and what came over it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from emulator.lab.judge.mirrorwatch import Down, channel_of, down_at, held_by, up_at
from emulator.lab.judge.tracing import trace
from emulator.wire import pcapng
from emulator.wire.segment import Segment
from tests.support.proxytape import SNAT, Proxied
from tests.support.tape import CLIENT, SERVER, VIP


def down(talk: Proxied) -> Down | None:
    return down_at(channel_of(trace(talk.frames)), "bigip-a", talk.now)


def up(talk: Proxied) -> bool:
    return up_at(channel_of(trace(talk.frames)), "bigip-a", talk.now)


def opened() -> Proxied:
    talk = Proxied()
    talk.channel_opens()
    talk.open("a")
    return talk


def test_a_channel_that_answers_is_up_however_long_it_is_quiet() -> None:
    talk = opened()
    talk.wait(60)
    assert up(talk)
    assert down(talk) is None


def test_no_channel_at_all_is_neither_up_nor_down() -> None:
    talk = Proxied()
    talk.open("a", mirrored=False)
    assert not up(talk)
    assert down(talk) is None


def test_an_unanswered_syn_is_a_channel_that_is_down() -> None:
    talk = Proxied()
    talk.heartbeat("b", active=False)
    talk.lossy = True
    talk.channel_opens()
    talk.wait(1)
    found = down(talk)
    assert found is not None
    assert "no answer" in found.what


@pytest.mark.parametrize(("seconds", "lost"), [(1.0, False), (10.0, True)])
def test_unacknowledged_bytes_are_loss_after_the_time_out(seconds: float, lost: bool) -> None:
    talk = opened()
    talk.lossy = True
    talk.says(b"x", "a")
    talk.wait(seconds)
    assert (down(talk) is not None) is lost
    assert up(talk) is not lost


def test_the_frame_to_look_at_is_the_first_that_was_not_acknowledged() -> None:
    talk = opened()
    talk.lossy = True
    talk.says(b"x", "a", acked=False, relayed=False)
    first = len(talk.frames)
    talk.wait(2)
    talk.says(b"y", "a", acked=False, relayed=False)
    talk.wait(10)
    talk.channel_ends()
    found = down(talk)
    assert found is not None
    assert found.since.frame == first


def test_a_reset_ends_it_and_a_new_handshake_mends_it() -> None:
    talk = opened()
    talk.channel_ends()
    assert down(talk) is not None
    talk.channel_opens()
    assert down(talk) is None
    assert up(talk)


def test_what_the_standby_holds_is_what_reached_it() -> None:
    talk = opened()
    talk.says(b"hello", "a")
    held_to = talk.client_next
    talk.lossy = True
    talk.says(b"lost", "a")
    held = held_by(channel_of(trace(talk.frames)))
    assert held[CLIENT, VIP] == held_to
    assert held[SERVER, SNAT] == talk.server_next
    assert (VIP, CLIENT) in held
    assert (SNAT, SERVER) in held


@pytest.mark.parametrize("cut", [1, 7, 40])
def test_a_capture_that_begins_in_mid_stream_is_read_from_its_first_whole_message(
    cut: int,
) -> None:
    """As with a round of the kill test: the channel is older than the capture."""
    talk = opened()
    begun = len(talk.frames)
    talk.says(b"ML" * 30, "a")
    talk.says(b"more", "a")
    frames = talk.frames[begun:]
    sightings = [n for n, f in enumerate(frames) if f.interface.name.endswith(":ha")][:2]
    for number in sightings:  # of the first message, now without its beginning
        frame = frames[number]
        whole = Segment.parse(frame.data[14:])
        part = replace(whole, seq=whole.seq + cut, payload=whole.payload[cut:])
        data = frame.data[:14] + part.emit()
        frames[number] = pcapng.Frame(frame.interface, frame.time_ns, data, len(data))
    held = held_by(channel_of(trace(frames)))
    assert held[CLIENT, VIP] == talk.client_next
