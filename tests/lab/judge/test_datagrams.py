"""UDP flows by their frames alone: answered, lost, moved to another device."""

from __future__ import annotations

from dataclasses import replace

from emulator.lab.judge.facts import gather
from emulator.lab.judge.tracing import trace
from emulator.lab.judge.verdict import Verdict, judge
from emulator.lab.workload.applications import DATAGRAM_PORTS
from emulator.wire import pcapng
from emulator.wire.datagram import Datagram
from emulator.wire.segment import Endpoint
from tests.support.tape import MS, POINTS, hops

PORT = DATAGRAM_PORTS["udp"]
CLIENT = Endpoint.of("10.0.1.10:40000")
VIP = Endpoint.of(f"10.99.0.10:{PORT}")
SERVER = Endpoint.of(f"10.0.31.100:{PORT}")


class Tape:
    """Numbered datagrams and their answers, hop by hop, 1 ms each."""

    def __init__(self) -> None:
        self.frames: list[pcapng.Frame] = []
        self.now = 1_000_000_000 * 1_000_000_000
        self.number = 0

    def wait(self, seconds: float) -> None:
        self.now += int(seconds * 1e9)

    def ask(
        self, via: str, *, snat: str = "10.88.0.10", until: str = "", answer: bool = True
    ) -> None:
        """`until`: the last point the request is seen at; it is not answered then."""
        payload = b"%08d datagram" % self.number
        self.number += 1
        source = Endpoint.of(f"{snat}:40000")
        asked = Datagram(CLIENT, VIP, payload)
        self._send(asked, replace(asked, source=source, destination=SERVER), "client", via, until)
        if answer and not until:
            said = Datagram(SERVER, source, payload)
            self._send(said, replace(said, source=VIP, destination=CLIENT), "server", via)

    def _send(
        self, sent: Datagram, after: Datagram, origin: str, via: str, until: str = ""
    ) -> None:
        for point, outgoing in hops(origin, via):
            self.now += MS
            if point.startswith("bigip-") and outgoing:
                sent = after
            mac = bytes.fromhex(POINTS[point].description[4:21].replace(":", ""))
            data = bytes(6) + (mac if outgoing else bytes(6)) + b"\x08\x00" + sent.emit()
            self.frames.append(pcapng.Frame(POINTS[point], self.now, data, len(data)))
            if point == until:
                return

    def verdict(self) -> Verdict:
        [found] = judge(gather(trace(self.frames)))
        return found


def talked(times: int = 5, via: str = "a") -> Tape:
    tape = Tape()
    for _ in range(times):
        tape.ask(via)
        tape.wait(0.1)
    return tape


def test_a_quiet_flow_survived_and_lost_nothing() -> None:
    verdict = talked().verdict()
    assert (verdict.name, verdict.outcome, verdict.cause.id) == ("udp", "SURVIVED", None)
    octets = 5 * 2 * len(b"00000000 datagram")
    assert (verdict.bytes.sent, verdict.bytes.delivered, verdict.bytes.missing) == (
        octets, octets, 0,
    )  # fmt: skip
    assert verdict.blackout.to_client_s is None


def test_what_is_lost_in_an_outage_stays_lost_and_the_flow_goes_on() -> None:
    tape = talked()
    for _ in range(20):
        tape.ask("a", until="router:a-ext")
        tape.wait(0.1)
    for _ in range(10):
        tape.ask("b")
        tape.wait(0.1)
    verdict = tape.verdict()
    assert (verdict.outcome, verdict.cause.id) == ("SURVIVED", None)
    assert verdict.bytes.missing == 20 * 17
    assert 2.0 < (verdict.blackout.to_client_s or 0) < 3.0
    assert "20 datagrams were lost" in verdict.cause.text
    assert "still sees 10.88.0.10:40000" in verdict.cause.text


def test_a_server_answers_whoever_asks() -> None:
    """An address that changes ends no UDP flow, where the server's socket is connected to none."""
    tape = talked()
    for _ in range(10):
        tape.ask("b", snat="10.0.21.11")
    verdict = tape.verdict()
    assert verdict.outcome == "SURVIVED"
    assert "sees 10.0.21.11:40000 instead of 10.88.0.10:40000" in verdict.cause.text


def test_nobody_answers_any_more() -> None:
    tape = talked()
    for _ in range(60):
        tape.ask("a", until="router:a-ext")
        tape.wait(0.1)
    verdict = tape.verdict()
    assert (verdict.outcome, verdict.cause.id) == ("STALLED", "route-never-moved")


def test_a_device_swallows_them() -> None:
    tape = talked()
    for _ in range(60):
        tape.ask("b", until="bigip-b:ext")
        tape.wait(0.1)
    verdict = tape.verdict()
    assert (verdict.outcome, verdict.cause.id) == ("STALLED", "no-flow-dropped")


def test_a_client_that_asks_nothing_is_not_stalled() -> None:
    tape = talked()
    tape.wait(60)
    tape.frames.append(replace(tape.frames[0], time_ns=tape.now, data=b"\0" * 60))
    assert tape.verdict().outcome == "SURVIVED"


def test_datagrams_do_not_disturb_tcp() -> None:
    from tests.support.tape import Conversation

    talk = Conversation()
    talk.open("a")
    talk.client("ls\n", "a")
    talk.acks("a")
    alone = judge(gather(trace(talk.frames)))
    both = sorted([*talk.frames, *talked().frames], key=lambda f: f.time_ns)
    found = judge(gather(trace(both)))
    assert [v.name for v in found] == ["telnet", "udp"]
    assert (found[0].outcome, found[0].bytes) == (alone[0].outcome, alone[0].bytes)
