"""The channel's protection against whoever sits between the devices, and at the port."""

from __future__ import annotations

import contextlib
import itertools
import socket
import ssl
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulator.core.refusals import REASONS, Refused
from emulator.device.channel import ChannelLost, MirrorChannel
from emulator.device.doorway import INTRODUCTION_S, MAX_WAITING
from emulator.device.secure import Clear, Secure
from emulator.device.trust import Trust, TrustError
from emulator.lab import trust
from emulator.wire.mirror import Ack, Hello, Message, Mirrored, ResyncStart
from tests.support.channelends import HELLO, NODES, ONE, TWO, Ends, protects, wait
from tests.support.segments import examples

MESSAGES = [bytes([65 + n]) * (10 + n) for n in range(6)]


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Trust, Trust]:
    """The trust of both devices of one lab."""
    lab = tmp_path_factory.mktemp("lab")
    trust.establish(lab, NODES)
    return tuple(Trust(str(trust.folder_of(lab, node))) for node in NODES)  # type: ignore[return-value]


def ends(pair: tuple[Trust, Trust]) -> tuple[Secure, Secure]:
    """Connected: the active device's and the standby's."""
    one, two = Secure(pair[0], connecting=True), Secure(pair[1], connecting=False)
    for _ in range(3):
        for source, target in ((one, two), (two, one)):
            if data := bytes(source.seal(bytearray())):
                source.seal(bytearray()).clear()
                target.receive(data)
    assert one.established
    assert two.established
    return one, two


def records(one: Secure) -> list[bytes]:
    """MESSAGES as they go on the wire, a TLS record each."""
    made = []
    for message in MESSAGES:
        made.append(bytes(one.seal(bytearray(message))))
        one.seal(bytearray()).clear()
    return made


def arrives(two: Secure, wire: bytes, *, ended: bool = True) -> tuple[bytes, str]:
    """What the standby takes of it, and for what it refused the rest."""
    taken = b""
    try:
        taken += two.receive(wire)
        if ended:
            two.ended()
    except Refused as why:
        return taken, why.reason
    return taken, ""


# A man in the middle.


TAMPERING: dict[str, tuple[Callable[[list[bytes]], list[bytes]], str]] = {
    "nothing": (lambda r: r, "truncated"),  # the end was not announced
    "replayed": (lambda r: [*r[:3], r[1], *r[3:]], "altered"),
    "doubled": (lambda r: [r[0], r[0], *r[1:]], "altered"),
    "swapped": (lambda r: [r[1], r[0], *r[2:]], "altered"),
    "left out": (lambda r: [r[0], *r[2:]], "altered"),
    "one bit changed": (lambda r: [r[0][:-1] + bytes([r[0][-1] ^ 1]), *r[1:]], "altered"),
    "cut in a record": (lambda r: [r[0], r[1][:-4]], "truncated"),
    "cut between records": (lambda r: r[:2], "truncated"),
    "clear text between": (lambda r: [r[0], HELLO.emit(), *r[1:]], "altered"),
}


@pytest.mark.parametrize("how", list(TAMPERING))
def test_what_is_tampered_with_is_refused_by_its_name(pair: tuple[Trust, Trust], how: str) -> None:
    one, two = ends(pair)
    tamper, reason = TAMPERING[how]
    taken, refused = b"", ""
    for record in tamper(records(one)):
        got, refused = arrives(two, record, ended=False)
        taken += got
        if refused:
            break
    else:
        refused = arrives(two, b"")[1]
    assert refused == reason
    assert b"".join(MESSAGES).startswith(taken)


def test_an_announced_end_is_none_of_it(pair: tuple[Trust, Trust]) -> None:
    one, two = ends(pair)
    assert arrives(two, b"".join(records(one)) + one.close()) == (b"".join(MESSAGES), "")


@given(data=st.data())
@examples(60)
def test_whatever_is_done_to_the_stream_only_what_was_said_is_taken(
    pair: tuple[Trust, Trust], data: st.DataObject
) -> None:
    """Records dropped, repeated, moved, bytes changed, cut anywhere: a prefix of the truth, or a
    refusal by name; never anything else."""
    one, two = ends(pair)
    made = records(one)
    order = data.draw(st.lists(st.integers(0, len(made) - 1), max_size=8))
    wire = bytearray(b"".join(made[number] for number in order))
    places = st.tuples(st.integers(0, 400), st.integers(0, 255))
    for at, value in data.draw(st.lists(places, max_size=3)):
        if at < len(wire):
            wire[at] = value
    cuts = sorted(data.draw(st.lists(st.integers(0, len(wire)), max_size=4)))
    taken, reason = b"", ""
    for start, end in itertools.pairwise([0, *cuts, len(wire)]):
        got, reason = arrives(two, bytes(wire[start:end]), ended=False)
        taken += got
        if reason:
            break
    assert b"".join(MESSAGES).startswith(taken)
    assert reason in ("", "altered", "truncated")


@given(junk=st.binary(min_size=1, max_size=600))
@examples(100)
def test_junk_in_place_of_a_handshake_is_refused_by_a_name(
    pair: tuple[Trust, Trust], junk: bytes
) -> None:
    two = Secure(pair[1], connecting=False)
    taken, reason = arrives(two, junk)
    assert taken == b""
    assert reason in REASONS


def test_a_recorded_connection_played_again_is_no_handshake(pair: tuple[Trust, Trust]) -> None:
    said: list[bytes] = []
    one, two = Secure(pair[0], connecting=True), Secure(pair[1], connecting=False)
    for _ in range(3):
        said.append(bytes(one.seal(bytearray())))
        one.seal(bytearray()).clear()
        two.receive(said[-1])
        answer = bytes(two.seal(bytearray()))
        two.seal(bytearray()).clear()
        one.receive(answer)
    said += records(one)
    again = Secure(pair[1], connecting=False)
    taken, reason = arrives(again, b"".join(said))
    assert (taken, reason) == (b"", "handshake")


# Who they are.


def test_a_certificate_is_for_one_pair_alone(pair: tuple[Trust, Trust], tmp_path: Path) -> None:
    """Of another lab's device of the same name; of the device's own."""
    trust.establish(tmp_path, NODES)
    foreign = Trust(str(trust.folder_of(tmp_path, NODES[0])))
    for stranger in (foreign, pair[1]):
        one, two = Secure(stranger, connecting=True), Secure(pair[1], connecting=False)
        assert refusal(one, two) == "certificate"
        one, two = Secure(pair[0], connecting=True), Secure(foreign, connecting=False)
        assert refusal(one, two) == "certificate"  # who answers in the standby's place


def test_a_chain_that_verifies_is_not_enough(pair: tuple[Trust, Trust]) -> None:
    """It has to be the peer's very certificate."""

    class Pinned(Trust):
        def is_peer(self, certificate: bytes | None) -> bool:
            assert super().is_peer(certificate)  # as far as this pair goes
            return super().is_peer((certificate or b"") + b"x")

    two = Secure(Pinned(str(pair[1]._folder)), connecting=False)
    assert refusal(Secure(pair[0], connecting=True), two) == "certificate"


def refusal(one: Secure, two: Secure) -> str:
    """Why the handshake of the two fails, as the first to know it says."""
    try:
        for _ in range(4):
            for source, target in ((one, two), (two, one)):
                data = bytes(source.seal(bytearray()))
                source.seal(bytearray()).clear()
                target.receive(data)
    except Refused as why:
        return why.reason
    return ""


def test_older_tls_is_refused(pair: tuple[Trust, Trust]) -> None:
    old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    old.check_hostname, old.verify_mode = False, ssl.CERT_NONE
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    out = ssl.MemoryBIO()
    with contextlib.suppress(ssl.SSLWantReadError):
        old.wrap_bio(ssl.MemoryBIO(), out).do_handshake()
    assert arrives(Secure(pair[1], connecting=False), out.read())[1] == "handshake"


def test_keys_are_their_owners_alone_and_both_devices_differ(tmp_path: Path) -> None:
    trust.establish(tmp_path, NODES)
    files = [p for p in tmp_path.rglob("*") if p.is_file()]
    assert {stat.S_IMODE(p.stat().st_mode) for p in files} == {0o600}
    folders = [p for p in tmp_path.rglob("*") if p.is_dir()]
    assert {stat.S_IMODE(p.stat().st_mode) for p in folders} == {0o700}
    one, two = (trust.folder_of(tmp_path, node) for node in NODES)
    for mine, theirs in (("device.crt", "peer.crt"), ("heartbeat.key", "peer-heartbeat.key")):
        assert (one / mine).read_bytes() == (two / theirs).read_bytes()
        assert (one / mine).read_bytes() != (one / theirs).read_bytes()
    assert (one / "device.key").read_bytes() != (two / "device.key").read_bytes()
    before = (one / "device.key").read_bytes()
    trust.establish(tmp_path, NODES)  # is there
    assert (one / "device.key").read_bytes() == before


def test_a_device_without_its_trust_says_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(TrustError, match="no folder"):
        Trust("").heartbeat_keys()
    with pytest.raises(TrustError, match="No such file"):
        Trust(str(tmp_path)).context(connecting=True)
    channel = MirrorChannel(ONE, TWO, 1, lambda c: Secure(Trust(""), connecting=c))
    with pytest.raises(ChannelLost) as caught:
        channel.connect(0.0)
    assert caught.value.refused is not None
    assert caught.value.refused.reason == "trust"


# At the port.


@pytest.fixture(params=["clear", "secured"])
def port(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Ends]:
    made = Ends(tmp_path, secure=request.param == "secured")
    yield made
    made.close()


def knock(port: Ends, source: object = ONE) -> socket.socket:
    there = socket.create_connection((str(TWO), port.port), source_address=(str(source), 0))
    there.settimeout(10)
    port.until(lambda: port.serve() is None)
    return there


def reasons(port: Ends) -> list[str]:
    return [refused.reason for refused in port.refused]


def test_another_address_is_turned_away_at_once(port: Ends) -> None:
    with knock(port, "127.0.0.99") as there:
        port.until(lambda: port.serve() or port.refused)
        assert there.recv(1) == b""
    assert reasons(port) == ["foreign-address"]
    assert "127.0.0.99:" in port.refused[0].detail


def test_who_says_nothing_is_turned_away_and_the_channel_stays(port: Ends) -> None:
    port.introduce(port.one, HELLO)
    old = port.two.connection
    with knock(port):
        port.until(lambda: port.serve() or len(port.doorway) == 1)
        port.doorway.sweep(port.now + INTRODUCTION_S)
        assert len(port.doorway) == 1
        port.doorway.sweep(port.now + INTRODUCTION_S + 0.1)
        assert len(port.doorway) == 0
    assert reasons(port) == ["introduction"]
    assert port.two.connection is old


def test_only_so_many_wait_and_the_peer_comes_through_all_the_same(port: Ends) -> None:
    with contextlib.ExitStack() as stack:
        for _ in range(MAX_WAITING + 3):
            stack.enter_context(knock(port))
        port.until(lambda: port.serve() or len(port.refused) == 3)
        assert len(port.doorway) == MAX_WAITING
        assert reasons(port) == ["too-many-connections"] * 3
        port.introduce(port.one, HELLO)


@pytest.mark.parametrize(
    ("first", "clear"),
    [
        (ResyncStart(), "introduction"),
        (Ack(1), "introduction"),
        (Mirrored(bytes(40)), "introduction"),
    ],
)
def test_who_begins_with_something_else_is_not_the_peer(
    port: Ends, first: object, clear: str
) -> None:
    with knock(port) as there:
        there.sendall(Message(1, first).emit())  # type: ignore[arg-type]
        port.until(lambda: port.serve() or port.refused)
    assert reasons(port) == ["no-tls" if port.secure else clear]


@pytest.mark.parametrize(
    "header",
    [b"GET / HTTP/1.1\r\n\r\n", bytes.fromhex("4d4c 01 01 ffff 0000 00000001"), bytes(64)],
    ids=["another protocol", "longer than its kind may be", "zeros"],
)
def test_nonsense_is_one_refusal_and_nothing_waits(port: Ends, header: bytes) -> None:
    with knock(port) as there:
        there.sendall(header)
        port.until(lambda: port.serve() or port.refused)
        port.serve()
    assert len(port.refused) == 1
    assert reasons(port)[0] in (("no-tls", "handshake") if port.secure else ("malformed",))
    assert len(port.doorway) == 0


@pytest.mark.parametrize("secured", ["one", "two"])
def test_one_secured_and_the_other_not_never_connect(tmp_path: Path, secured: str) -> None:
    port = Ends(tmp_path, secure=secured == "two")
    protect = protects(tmp_path)[0] if secured == "one" else lambda _: Clear()
    channel = MirrorChannel(ONE, TWO, port.port, protect)
    channel.connect(0.0)
    said = False
    try:
        while not port.refused:
            assert port.serve() is None
            if said:
                continue
            with contextlib.suppress(ChannelLost, BlockingIOError):
                wait(channel.connection, write=channel.wants_write)  # type: ignore[arg-type]
                if channel.advance():
                    channel.send(Message(1, Hello("bigip-a", "traffic-group-1", True)))
                    said = True
        assert reasons(port)[0] in ("no-tls", "malformed")
    finally:
        channel.close()
        port.close()


def test_a_handshake_that_does_not_go_on_is_given_up(tmp_path: Path) -> None:
    """Of the active device: whoever answers at the peer's address is silent."""
    with socket.create_server((str(TWO), 0)) as silent:
        channel = MirrorChannel(ONE, TWO, silent.getsockname()[1], protects(tmp_path)[0])
        channel.connect(0.0)
        wait(channel.connection, write=True)  # type: ignore[arg-type]
        assert not channel.advance()
        assert not channel.overdue(4.9)
        assert channel.overdue(5.1)
        channel.close()
