"""Flows put in order from what a capture point saw, whatever it missed."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulator.lab.replay.flows import CLIENT, SERVER, End, Flow, FlowTable, at_one_point, matching
from emulator.wire.linklayer import Seen
from emulator.wire.segment import ACK, FIN, RST, SYN, Endpoint

ENDS = (Endpoint.of("192.0.2.1:50000").pack(), Endpoint.of("198.51.100.2:22").pack())
ISN = (0xFFFFFFF0, 5000)  # the client's numbers wrap soon


@dataclass
class Heard:
    """A sink that keeps what was said, in order; fillers as None."""

    said: list[tuple[int, bytes | int | None]] = field(default_factory=list)

    def data(self, flow: Flow, side: int, time_ns: int, frame: int, payload: bytes) -> None:
        self.said.append((side, payload))

    def filler(self, flow: Flow, side: int, time_ns: int, frame: int, octets: int) -> None:
        self.said.append((side, octets))

    def fin(self, flow: Flow, side: int, time_ns: int, frame: int) -> None:
        self.said.append((side, None))

    def of(self, side: int) -> bytes:
        return b"".join(
            p if isinstance(p, bytes) else bytes(p or 0) for who, p in self.said if who == side
        )


class Tape:
    """Segments of one connection, by offset, into a table."""

    def __init__(self, *, wanted: bool = True) -> None:
        self.heard = Heard()
        self.table = FlowTable(self.heard, frozenset([1]) if wanted else frozenset())
        self.frame = 0

    def segment(
        self, who: int, at: int, payload: bytes = b"", flags: int = 0, ack: int | None = None,
        octets: int | None = None, point: str = "", second: float | None = None,
    ) -> Tape:  # fmt: skip
        self.frame += 1
        number = 0 if ack is None else ISN[1 - who] + 1 + ack
        seen = Seen(
            ENDS[who], ENDS[1 - who], (ISN[who] + 1 + at) & 0xFFFFFFFF, number & 0xFFFFFFFF,
            flags | (ACK if ack is not None else 0), payload,
            len(payload) if octets is None else octets,
        )  # fmt: skip
        time_ns = self.frame * 1_000_000 if second is None else int(second * 1e9)
        self.table.add(point, self.frame, time_ns, seen)
        return self

    def handshake(self) -> Tape:
        return self.segment(CLIENT, -1, flags=SYN).segment(SERVER, -1, flags=SYN, ack=0)

    def done(self) -> Flow:
        self.table.finish()
        (flow,) = self.table.flows
        return flow


def test_in_order_and_closed() -> None:
    tape = Tape().handshake()
    tape.segment(CLIENT, 0, b"who", ack=0).segment(SERVER, 0, b"root", ack=3)
    tape.segment(CLIENT, 3, flags=FIN, ack=4).segment(SERVER, 4, flags=FIN, ack=4)
    flow = tape.done()
    assert tape.heard.said == [(0, b"who"), (1, b"root"), (0, None), (1, None)]
    assert (flow.octets, flow.end(flow.last_ns)) == ((3, 4), End.CLOSED)
    assert (flow.client, flow.server) == ("192.0.2.1:50000", "198.51.100.2:22")


def test_retransmissions_overlaps_and_reordering_over_the_wrap_of_numbers() -> None:
    tape = Tape().handshake()
    tape.segment(CLIENT, 5, b"fghijklmno").segment(CLIENT, 0, b"abcdefg")
    tape.segment(CLIENT, 0, b"abc").segment(CLIENT, 13, b"nopqrstuvwxyz")
    assert tape.done().sides[CLIENT].lost == 0
    assert tape.heard.of(CLIENT) == b"abcdefghijklmnopqrstuvwxyz"


def test_what_was_acknowledged_and_never_seen_is_a_gap() -> None:
    tape = Tape().handshake().segment(SERVER, 0, b"abc", ack=0).segment(SERVER, 10, b"xyz")
    for _ in range(3):
        tape.segment(CLIENT, 0, ack=13)
    tape.segment(CLIENT, 0, b"go on", ack=13)
    assert tape.heard.said == [(1, b"abc"), (1, 7), (1, b"xyz"), (0, b"go on")]
    assert tape.done().sides[SERVER].lost == 7


def test_a_hole_nobody_acknowledges_is_a_gap_at_the_end() -> None:
    tape = Tape().handshake().segment(SERVER, 4, b"late")
    assert tape.heard.said == []
    assert (tape.done().sides[SERVER].lost, tape.heard.of(SERVER)) == (4, b"\0\0\0\0late")


def test_what_the_snapshot_length_cut_off_keeps_its_length() -> None:
    tape = Tape().handshake().segment(CLIENT, 0, b"head", octets=1000)
    tape.segment(CLIENT, 1000, b"next")
    assert tape.heard.said == [(0, b"head"), (0, 996), (0, b"next")]
    assert tape.done().sides[CLIENT].cut == 996


def test_begun_in_the_middle_the_well_known_port_is_the_servers() -> None:
    tape = Tape().segment(SERVER, 100, b"prompt", ack=50).segment(CLIENT, 50, b"ls", ack=106)
    flow = tape.done()
    assert flow.ends == ENDS
    assert (flow.syn, tape.heard.said) == (-1, [(1, b"prompt"), (0, b"ls")])


def test_a_keep_alive_says_nothing() -> None:
    tape = Tape().segment(CLIENT, 9, ack=7).segment(SERVER, 7, ack=10)
    for _ in range(5):
        tape.segment(CLIENT, 9, b"\0", ack=7).segment(SERVER, 7, ack=10)
    flow = tape.done()
    assert (tape.heard.said, flow.sides[CLIENT].lost) == ([], 0)


def test_reset_and_stalled() -> None:
    tape = Tape().handshake().segment(CLIENT, 0, b"x", ack=0).segment(SERVER, 0, flags=RST)
    flow = tape.done()
    assert (flow.end(flow.last_ns), flow.reset_by) == (End.RESET, SERVER)
    open_ = Tape().handshake().segment(CLIENT, 0, b"x", ack=0, second=1).done()
    assert open_.end(2_000_000_000) is End.OPEN
    assert open_.end(5_000_000_000) is End.STALLED


def test_the_same_port_again_is_another_flow() -> None:
    tape = Tape().handshake().segment(CLIENT, 0, b"one", ack=0)
    tape.segment(CLIENT, 70_000, flags=SYN).segment(CLIENT, 70_001, b"two")
    tape.table.finish()
    assert [flow.octets[CLIENT] for flow in tape.table.flows] == [3, 3]


def test_of_several_capture_points_one_is_taken() -> None:
    tape = Tape()
    for point in ("client:eth0", "bigip-a:ext"):
        tape.segment(CLIENT, -1, flags=SYN, point=point)
        tape.segment(CLIENT, 0, b"x" * (9 if point.startswith("big") else 5), point=point)
    (flow,) = at_one_point(tape.table.flows)
    assert (flow.point, flow.octets[CLIENT]) == ("bigip-a:ext", 9)


@given(st.integers(1, 2000), st.randoms(use_true_random=False))
def test_any_order_and_any_repetition_gives_the_same_bytes(
    size: int, chance: random.Random
) -> None:
    data = chance.randbytes(size)
    cuts = sorted({0, size, *(chance.randrange(size + 1) for _ in range(20))})
    pieces = [(a, data[a : chance.randint(b, size)]) for a, b in pairwise(cuts)]
    pieces += chance.choices(pieces, k=5)
    chance.shuffle(pieces)
    tape = Tape().handshake()
    for at, piece in pieces:
        tape.segment(CLIENT, at, piece)
    flow = tape.done()
    assert (tape.heard.of(CLIENT), flow.sides[CLIENT].lost) == (data, 0)


SEGMENTS = st.tuples(
    st.integers(0, 1), st.integers(0, 0xFFFFFFFF), st.integers(0, 0xFFFFFFFF),
    st.integers(0, 63), st.binary(max_size=8),
)  # fmt: skip


@given(st.lists(SEGMENTS, max_size=30))
def test_segments_that_make_no_sense_cost_nothing(
    segments: list[tuple[int, int, int, int, bytes]],
) -> None:
    """No error, and never much more said than the bound on what may be missing allows."""
    table = FlowTable()
    for frame, (who, seq, ack, flags, data) in enumerate(segments, 1):
        table.add(
            "", frame, frame, Seen(ENDS[who], ENDS[1 - who], seq, ack, flags, data, len(data))
        )
    table.finish()
    for flow in table.flows:
        assert all(side.waiting_octets == 0 and not side.waiting for side in flow.sides)


@pytest.mark.parametrize(
    ("wanted", "numbers"),
    [("1", [1]), ("1,3-4", [1]), ("2-9", []), ("port 22", [1]), ("host 192.0.2.1", [1]),
     ("198.51.100.2:22", [1]), ("port 22 and host 192.0.2.9", [])],
)  # fmt: skip
def test_flows_are_chosen_by_number_host_or_port(wanted: str, numbers: list[int]) -> None:
    flow = Tape().handshake().done()
    assert [f.number for f in matching([flow], wanted)] == numbers


@pytest.mark.parametrize("wanted", ["", "ssh", "port ssh", "host nobody", "1,,2", "-3"])
def test_what_chooses_nothing_is_an_error(wanted: str) -> None:
    with pytest.raises(ValueError, match=r"--flow|does not appear"):
        list(matching([Tape().handshake().done()], wanted))
