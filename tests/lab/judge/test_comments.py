"""Comments on frames, from made-up captures: what is said, and of which frame."""

from __future__ import annotations

from emulator.lab.judge.comments import comments, summary
from emulator.lab.judge.facts import Record, gather
from emulator.lab.judge.tracing import trace
from emulator.lab.judge.verdict import judge
from emulator.wire import pcapng
from emulator.wire.segment import RST, Segment
from tests.support.tape import Conversation


def told(talk: Conversation, *records: Record) -> dict[str, tuple[int, pcapng.Frame]]:
    """Each comment, its time cut off, with the number and the frame it is on."""
    facts = gather(trace(talk.frames), records)
    found = comments(facts, judge(facts))
    assert list(found) == sorted(found)
    return {
        text.split(" s  ", 1)[-1]: (number, talk.frames[number - 1])
        for number, texts in found.items()
        for text in texts
    }


def one(said: dict[str, tuple[int, pcapng.Frame]], start: str) -> tuple[str, pcapng.Frame]:
    """The comment that begins like this, and its frame."""
    [(text, (_, frame))] = [(t, f) for t, f in said.items() if t.startswith(start)]
    return text, frame


def opened(snat: str = "10.88.0.10") -> Conversation:
    talk = Conversation(snat=snat)
    talk.heartbeat("a", active=True)
    talk.open("a")
    talk.client("ls\n", "a")
    talk.server("file\n", "a")
    talk.acks("a")
    return talk


def failed_over(talk: Conversation) -> Record:
    """bigip-a falls silent, a segment is lost at it, bigip-b takes over."""
    triggered = {"what": "failover-triggered", "time": talk.now / 1e9 + 5e-4, "device": "bigip-a"}
    talk.client("pwd\n", "a", until="router:a-ext")
    talk.wait(3)
    talk.heartbeat("b", active=False)
    talk.heartbeat("b", active=True)
    talk.wait(1)
    return {**triggered, "how": "power-off"}


def test_nothing_is_said_where_nothing_happened() -> None:
    assert told(opened()) == {}


def test_the_story_of_a_session_that_lives_on() -> None:
    talk = opened()
    record = failed_over(talk)
    talk.client("pwd\n", "b", again=True)
    talk.server("/root\n", "b")
    talk.acks("b")
    talk.wait(1)
    talk.heartbeat("b", active=True)  # the captures go on
    said = told(talk, record)

    _, frame = one(said, "failover triggered 0.5 ms before this frame: power-off of bigip-a")
    assert frame.interface.name == "client:eth0"
    _, frame = one(said, "takeover: first heartbeat of bigip-b as the active device")
    assert frame.interface.name == "bigip-b:ha"
    _, frame = one(said, "last heartbeat of bigip-a before bigip-b took over")
    assert frame is talk.frames[0]
    _, frame = one(said, "telnet: dropped here: bigip-a never received it, to the server")
    assert frame.interface.name == "router:a-ext"
    for end, last, first in (("server", b"ls\n", b"pwd\n"), ("client", b"file\n", b"/root\n")):
        _, frame = one(said, f"telnet: last good byte to the {end}, number {len(last)}, by bigip-a")
        assert frame.data.endswith(last)
        _, frame = one(said, f"telnet: first byte after, to the {end}, by bigip-b, 4.")
        assert frame.data.endswith(first)
        assert frame.interface.name == {"server": "backend-1:eth0", "client": "client:eth0"}[end]
    assert "lives on: bigip-b took over" in " ".join(said)


def test_a_reset_says_why_where_it_begins() -> None:
    talk = opened(snat="10.0.11.11")
    record = failed_over(talk)
    talk.client("pwd\n", "b", again=True, snat="10.0.21.11")
    talk.server_resets("b", snat="10.0.21.11")
    said = told(talk, record)
    text, frame = one(said, "telnet: reset because: The server's connection is with 10.0.11.11")
    assert text.endswith("[snat-address-changed]")
    assert frame.interface.name == "backend-1:eth0"
    assert Segment.parse(frame.data[14:]).flags & RST
    _, frame = one(said, "telnet: the reset reaches client")
    assert frame.interface.name == "client:eth0"
    one(said, "telnet: last good byte to the server, number 3; none came after it")


def test_many_losses_of_a_kind_are_told_once_with_their_number() -> None:
    talk = opened()
    record = failed_over(talk)
    for _ in range(5):
        talk.client("pwd\n", "a", again=True, until="router:a-ext")
    talk.wait(9)
    talk.heartbeat("b", active=True)
    text, _ = one(told(talk, record), "telnet: dropped here")
    assert text.endswith("(the first of 6 such)")


def test_a_loss_the_device_wrote_down_is_told_in_its_words() -> None:
    talk = opened()
    talk.client("pwd\n", "a", until="bigip-a:ext")
    segment = Segment.parse(talk.frames[-1].data[14:])
    record = {
        "what": "standby-drop", "node": "bigip-a", "time": talk.now / 1e9,
        "source": str(segment.source), "destination": str(segment.destination),
        "seq": segment.seq.value,
    }  # fmt: skip
    talk.wait(9)
    talk.heartbeat("b", active=True)
    text, frame = one(told(talk, record), "telnet: dropped here")
    assert text.endswith("it does not come out of bigip-a, to the server (bigip-a: standby-drop)")
    assert frame.interface.name == "bigip-a:ext"


def test_a_route_is_effective_with_the_first_segment_that_goes_by_it() -> None:
    talk = opened()
    record = failed_over(talk)
    route = {"table": "rtb-client", "destination": "10.99.0.0/24", "target": "eni-bigip-b-ext"}
    effective = {"what": "effective", "node": "fabric", "time": talk.now / 1e9, **route}
    talk.client("pwd\n", "b", again=True)
    said = told(talk, record, effective)
    _, frame = one(said, "route effective 0.003 s before: 10.99.0.0/24")
    assert frame.interface.name == "router:b-ext"


def test_without_journals_the_frames_still_tell_what_they_show() -> None:
    """Times then count from the takeover."""
    talk = opened()
    failed_over(talk)
    talk.client("pwd\n", "b", again=True)
    facts = gather(trace(talk.frames))
    texts = [text for found in comments(facts, judge(facts)).values() for text in found]
    assert "+0.000 s  takeover: first heartbeat of bigip-b as the active device" in texts
    assert not any("triggered" in text for text in texts)


def test_the_section_says_what_became_of_each_session() -> None:
    talk = opened()
    verdicts = judge(gather(trace(talk.frames)))
    text = summary("scenario x", verdicts, "1.2", None)
    assert text.startswith("mirrorlab 1.2, scenario x\ntelnet: SURVIVED. ")
    assert "VOID" not in text
    assert "VOID, no network result follows from it: lost" in summary("x", [], "1", "lost")
