"""Verdicts on proxied connections: what was acknowledged and where it is, on made-up captures."""

from __future__ import annotations

from emulator.lab.judge.evidence import Cause
from emulator.lab.judge.facts import Record
from emulator.lab.judge.proxied import mirror_lag, passed_on
from emulator.lab.judge.verdict import judge
from emulator.wire.segment import ACK, RST, Segment
from emulator.wire.seqnum import SeqNum
from tests.support.proxytape import SNAT, Proxied
from tests.support.tape import SERVER, hops


def talking() -> Proxied:
    talk = Proxied()
    talk.channel_opens()
    talk.open("a")
    talk.says(b"hello", "a")
    return talk


def found(talk: Proxied, *records: Record) -> tuple[str, str | None]:
    [verdict] = judge(talk.facts(*records))
    return verdict.outcome, verdict.cause.id


def cause(talk: Proxied) -> Cause:
    [verdict] = judge(talk.facts())
    return verdict.cause


def later(talk: Proxied) -> None:
    """So much later that what has not arrived will not."""
    talk.wait(5)
    talk.heartbeat("b", active=True)


def test_two_connections_of_a_device_are_one_conversation() -> None:
    talk = talking()
    [connection] = talk.facts().connections
    assert connection.proxied
    assert bytes(connection.to_server.delivered) == b"hello"
    later(talk)
    assert found(talk) == ("SURVIVED", None)


def test_lag_by_what_the_new_device_acknowledges() -> None:
    talk = talking()
    talk.says(b"x" * 50, "a", mirrored=False, relayed=False)
    talk.wait(1)
    talk.device_acks("b", back=50)
    later(talk)
    assert found(talk) == ("STALLED", "mirror-lag")
    assert "acknowledged 50 bytes of client's" in cause(talk).text
    texts = [e.text for e in cause(talk).evidence]
    assert any("the new device's: only" in text for text in texts)


def test_lag_by_what_the_channel_never_carried() -> None:
    """The new device says nothing at all."""
    talk = talking()
    talk.says(b"x" * 50, "a", mirrored=False, relayed=False)
    later(talk)
    assert found(talk) == ("STALLED", "mirror-lag")
    assert "acknowledged 50 bytes of client's" in cause(talk).text
    assert "Over the mirroring channel they never came" in cause(talk).text


def test_lag_by_what_was_lost_on_the_channel() -> None:
    """Sent is not held: the message has to reach the standby."""
    talk = talking()
    talk.lossy = True
    talk.says(b"x" * 50, "a", relayed=False)
    later(talk)
    assert found(talk) == ("STALLED", "mirror-lag")


def test_a_secured_channel_says_nothing_of_what_came_over_it() -> None:
    """No lag is made of what cannot be read; the devices' acknowledgements still tell."""
    talk = talking()
    talk.says(b"x" * 50, "a", mirrored=False, relayed=False)
    later(talk)
    facts = talk.facts()
    [connection] = facts.connections
    assert mirror_lag(connection, facts) is not None
    facts.held = None
    assert mirror_lag(connection, facts) is None


def test_what_was_mirrored_is_not_lag() -> None:
    talk = talking()
    talk.says(b"x" * 50, "a", relayed=False)
    later(talk)
    assert found(talk) == ("STALLED", "unknown")


def test_what_was_not_acknowledged_is_not_lag() -> None:
    """The client still has it, and will send it again."""
    talk = talking()
    talk.says(b"x" * 50, "a", mirrored=False, acked=False, relayed=False)
    [connection] = talk.facts().connections
    assert mirror_lag(connection, talk.facts()) is None


def test_a_connection_older_than_the_channel_was_not_late_but_not_mirrored() -> None:
    talk = Proxied()
    talk.open("a", mirrored=False)
    talk.channel_opens()
    talk.says(b"x" * 50, "a", mirrored=False, relayed=False)
    later(talk)
    assert found(talk)[1] != "mirror-lag"


def test_a_handshake_that_was_not_mirrored_in_time_ends_in_a_reset_for_lag() -> None:
    """The new device knows no flow; the old one had answered the client."""
    talk = Proxied()
    talk.channel_opens()
    talk.heartbeat("a", active=True)
    talk.open("a", server=False, mirrored=False)
    talk.heartbeat("b", active=True)
    talk.device_resets_client("b")
    assert found(talk) == ("RESET", "mirror-lag")


def test_a_pair_without_a_channel_has_no_lag() -> None:
    talk = Proxied()
    talk.open("a", mirrored=False)
    talk.says(b"x", "a", mirrored=False)
    talk.heartbeat("b", active=True)
    talk.device_resets_client("b")
    assert found(talk) == ("RESET", "no-flow-reset")


def cut(talk: Proxied, seconds: float) -> None:
    """The channel loses what the active device sends, for so long; then it dies."""
    talk.lossy = True
    talk.says(b"unmirrored", "a")
    talk.wait(seconds)
    talk.heartbeat("a", active=True)
    talk.wait(3)
    talk.heartbeat("b", active=True)
    talk.device_resets_client("b")


def test_a_flow_the_new_device_lacks_for_want_of_a_channel() -> None:
    talk = talking()
    cut(talk, 10)
    assert found(talk) == ("RESET", "mirror-channel-down")
    assert "never acknowledged" in cause(talk).evidence[0].text


def test_the_journals_reason_is_quoted() -> None:
    talk = talking()
    cut(talk, 10)
    lost: Record = {
        "time": talk.now / 1e9 - 5, "node": "bigip-a", "what": "mirror-channel-lost",
        "reason": "Connection timed out",
    }  # fmt: skip
    [verdict] = judge(talk.facts(lost))
    assert 'its journal: "Connection timed out"' in verdict.cause.text


def test_a_channel_that_was_late_but_not_lost_is_not_down() -> None:
    talk = talking()
    cut(talk, 1)
    assert found(talk) == ("RESET", "mirror-lag")


def test_a_fin_that_never_got_there_is_a_stall() -> None:
    talk = talking()
    talk.client_closes("a", mirrored=False, relayed=False)
    later(talk)
    assert found(talk) == ("STALLED", "mirror-lag")


def test_a_fin_that_got_there_is_half_a_close() -> None:
    talk = talking()
    talk.client_closes("a")
    later(talk)
    assert found(talk)[0] == "SURVIVED"


def test_a_reset_a_proxy_passes_on_is_followed_to_the_end_that_sent_it() -> None:
    talk = talking()
    reset = Segment(SERVER, SNAT, talk.server_next, SeqNum(0), RST)
    talk.put(reset, hops("server", "a")[:4])
    talk.device_resets_client("a")
    [connection] = talk.facts().connections
    [(_, arrival)] = connection.resets
    origin = next(t.origin for t, _ in connection.resets)
    relayed = passed_on(connection, origin)
    assert relayed is not None
    assert relayed.origin.node == "backend-1"
    assert arrival.node == "client"


def test_without_a_reset_from_the_other_end_none_was_passed_on() -> None:
    talk = talking()
    talk.device_resets_client("a")
    [connection] = talk.facts().connections
    assert passed_on(connection, connection.resets[0][0].origin) is None


def test_bytes_a_device_swallowed_are_stuck_there_only_if_it_did_not_take_them() -> None:
    """A proxy ends every segment: what it acknowledged is not lost in it."""
    talk = talking()
    talk.says(b"taken", "a", relayed=False)
    talk.from_client(b"ignored", ACK, "b")
    talk.wait(2)
    later(talk)
    assert found(talk) == ("STALLED", "no-flow-dropped")


def test_what_a_proxy_has_acknowledged_and_not_yet_delivered_is_no_hole_in_the_capture() -> None:
    talk = talking()
    talk.says(b"on its way", "a", relayed=False)
    [connection] = talk.facts().connections
    assert connection.to_server.acknowledged > len(connection.to_server.delivered)
    assert not connection.to_server.gap
