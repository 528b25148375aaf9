"""A stranger on the HA network against a pair in clear text, and against a secured one.

What he does is the same; docs/security.md has what came of it.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from ipaddress import IPv4Address
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

import pytest

from emulator.device.control import ask
from emulator.lab import trust
from emulator.lab.deployment import DEVICES
from emulator.lab.wait import wait_until
from emulator.pytest_plugin import RunningLab
from emulator.wire.heartbeat import Heartbeat
from emulator.wire.mirror import Decoder, FlowDown, FlowRecord, FlowUp, Hello, SnatKind
from emulator.wire.segment import Endpoint
from netns.execute import call_in
from tests.support.stranger import HEARTBEAT_PORT, MIRROR_PORT, OWN, Stranger, say, shake_hands

pytestmark = pytest.mark.e2e
VIRTUAL, POOL = IPv4Address("10.99.0.10"), IPv4Address("10.88.0.10")
CLIENT = IPv4Address("10.0.1.10")
ELSEWHERE = IPv4Address("10.88.0.102")  # backend-2, in no pool
ECHO, TELNET, NOWHERE = 7, 23, 9999
HELLO = Hello("bigip-a", "traffic-group-1", True)
RESIGNED = Heartbeat("bigip-a", False, True, 0, 1)

SCENARIO: dict[str, Any] = {
    "world": "onprem",
    "sessions": ["echo"],
    "virtual_server": {"snat": "pool", "snat_pool": [str(POOL)]},
    # A busy host may keep a device from its processor for seconds: that shall not be a failover.
    "devices": {"failover_timeout_s": 60},
}
# The way in he makes himself: the client's port 40999 to where no service is, on to backend-2's.
WAY_IN = FlowRecord(
    "vs_alien", Endpoint(CLIENT, 40999), Endpoint(VIRTUAL, NOWHERE), Endpoint(POOL, 40999),
    Endpoint(ELSEWHERE, 22), SnatKind.POOL, 300,
)  # fmt: skip


@dataclass
class Talk:
    """A conversation with the echo server, by its client's port."""

    there: socket.socket

    @property
    def client(self) -> Endpoint:
        address, port = self.there.getsockname()
        return Endpoint(IPv4Address(address), port)

    def lives(self) -> bool:
        """Whether something said comes back."""
        try:
            self.there.sendall(b"are you there?")
            return self.there.recv(100) != b""
        except OSError:
            return False


@pytest.fixture
def talks() -> Iterator[Callable[[RunningLab], list[Talk]]]:
    """Three conversations, all of them held by the standby."""
    with ExitStack() as stack:

        def begin(pair: RunningLab) -> list[Talk]:
            made = [Talk(stack.enter_context(pair.connect(ECHO, timeout_s=20))) for _ in range(3)]
            assert all(talk.lives() for talk in made)
            wait_until("the standby to hold them", lambda: len(held(pair)) == 3, timeout_s=20)
            return made

        yield begin


def held(pair: RunningLab, device: str = "bigip-b") -> dict[str, dict[str, Any]]:
    """A device's flows, by client."""
    flows = ask(pair.lab.socket(device), {"flows": True})["flows"]
    assert isinstance(flows, list)
    return {flow["client"]: flow for flow in flows}


def refused(pair: RunningLab, device: str = "bigip-b") -> dict[str, int]:
    counts = pair.lab.status(device)["refused"]
    assert isinstance(counts, dict)
    return counts


def record_of(flow: dict[str, Any]) -> FlowRecord:
    """As it was mirrored."""
    ends = [
        Endpoint(IPv4Address(address), int(port))
        for address, port in (
            str(flow[k]).split(":") for k in ("client", "virtual", "snat", "member")
        )
    ]
    return FlowRecord(flow["virtual_server"], *ends, SnatKind.POOL, 300)


def deeds(changed: FlowRecord, deleted: Talk) -> list[Any]:
    """Create one, change one, delete one."""
    elsewhere = replace(changed, member=Endpoint(ELSEWHERE, ECHO))
    gone = FlowDown(deleted.client, Endpoint(VIRTUAL, ECHO))
    return [HELLO, FlowUp(WAY_IN), FlowUp(elsewhere), gone]


def greeting(pair: RunningLab) -> str:
    """What the client reads by the way the stranger has made, or why it does not."""

    def read() -> str:
        with socket.socket() as there:
            there.settimeout(5)
            there.bind((str(CLIENT), WAY_IN.client.port))
            there.connect((str(VIRTUAL), NOWHERE))
            return there.recv(100).decode(errors="replace")

    try:
        return call_in(pair.lab.world.namespace("client"), read)
    except OSError as error:
        return f"nothing: {error.strerror or error}"


T = TypeVar("T")


def told(what: T) -> T:
    """Printed, for docs/security.md."""
    print(what)
    return what


def test_in_clear_text_he_writes_the_standbys_table(
    lab: Callable[..., RunningLab], failover: Callable[..., str], talks: Callable[..., list[Talk]]
) -> None:
    """A flow that he creates lets his packets in after the takeover; one he changes and one he
    deletes end sessions that would have lived."""
    pair = lab(SCENARIO)
    changed, deleted, left_alone = talks(pair)
    stranger = Stranger(pair.lab)
    flow = record_of(held(pair)[str(changed.client)])
    with stranger.posing(), stranger.connect() as there:
        assert say(there, deeds(flow, deleted)) == 4
        flows = held(pair)
        assert str(WAY_IN.client) in flows
        assert flows[str(changed.client)]["member"] == f"{ELSEWHERE}:{ECHO}"
        assert str(deleted.client) not in flows
        assert failover(pair) == "bigip-b"
    print(pair.tmsh("bigip-b", "show sys connection"))
    assert told(greeting(pair)).startswith("SSH-2.0")
    assert told([talk.lives() for talk in (changed, deleted, left_alone)]) == [False, False, True]


@pytest.mark.long
def test_in_clear_text_a_recording_and_a_forged_heartbeat_do(
    lab: Callable[..., RunningLab], talks: Callable[..., list[Talk]]
) -> None:
    """What was said once can be said again: a flow that is long closed is back. And one datagram
    makes the standby take over while the active device serves."""
    pair = lab(SCENARIO)
    closed, *_ = talks(pair)
    stranger = Stranger(pair.lab)
    recording = recorded(pair, stranger, 150)  # hello and all three flows
    client = str(closed.client)
    pair.tmsh("bigip-a", f"delete sys connection cs-client-port {closed.client.port}")
    wait_until("the standby to forget it", lambda: client not in held(pair), timeout_s=20)
    with stranger.posing(), stranger.connect() as there:
        there.sendall(recording)
        wait_until("it is back", lambda: client in held(pair), timeout_s=20)
        stranger.datagram(RESIGNED.emit())

        def both() -> bool:
            journal = pair.lab.journal("bigip-b")
            return any(line["what"] == "active" for line in journal)

        wait_until("the standby to take over", both, timeout_s=20)
        assert "standby" not in {line["what"] for line in pair.lab.journal("bigip-a")}


def test_secured_he_is_refused_and_the_sessions_live(
    lab: Callable[..., RunningLab],
    failover: Callable[..., str],
    talks: Callable[..., list[Talk]],
    tmp_path: Path,
) -> None:
    """Every attempt fails, is counted and named; the table is as before."""
    pair = lab(SCENARIO, devices={"statemirror_secure": True})
    changed, deleted, left_alone = talks(pair)
    before = set(held(pair))
    flow = record_of(held(pair)[str(changed.client)])
    stranger = Stranger(pair.lab)
    with stranger.tap(port=HEARTBEAT_PORT) as tap:
        heartbeat = tap.datagram()
    recording = recorded(pair, stranger, 900)  # the handshake, and what came after it
    trust.establish(tmp_path, ("bigip-a", "bigip-b"))
    other = str(trust.folder_of(tmp_path, "bigip-a"))  # of another pair

    def attempt(reason: str, action: Callable[[], object]) -> None:
        count = refused(pair).get(reason, 0)
        action()
        wait_until(reason, lambda: refused(pair).get(reason, 0) > count, timeout_s=20)
        assert pair.active == "bigip-a"

    def connects(source: IPv4Address | None = None) -> socket.socket:
        return stack.enter_context(stranger.connect(source))

    with ExitStack() as stack:
        stack.enter_context(stranger.posing())
        attempt("foreign-address", lambda: say(connects(OWN), [HELLO]))
        attempt("no-tls", lambda: say(connects(), deeds(flow, deleted)))
        attempt("certificate", lambda: shake_hands(connects(), None))
        attempt("certificate", lambda: shake_hands(connects(), other))
        attempt("handshake", lambda: plays(connects(), recording))
        attempt("too-many-connections", lambda: [connects() for _ in range(6)])
        attempt("heartbeat-foreign", lambda: stranger.datagram(RESIGNED.emit()))
        attempt("heartbeat-replayed", lambda: stranger.datagram(heartbeat))
    assert set(held(pair)) == before
    assert held(pair)[str(changed.client)]["member"] == str(flow.member)
    shown = told(pair.tmsh("bigip-b", "show sys ha-mirror"))
    journal = {
        line["reason"] for line in pair.lab.journal("bigip-b") if line["what"] == "peer-refused"
    }
    for reason in refused(pair):
        assert reason in shown
        assert reason in journal
    assert failover(pair) == "bigip-b"
    assert not told(greeting(pair)).startswith("SSH-2.0")
    assert told([talk.lives() for talk in (changed, deleted, left_alone)]) == [True, True, True]


@pytest.mark.long
@pytest.mark.parametrize("secure", [False, True], ids=["clear", "secured"])
def test_who_answers_in_the_standbys_place_is_told_everything_or_nothing(
    lab: Callable[..., RunningLab], talks: Callable[..., list[Talk]], secure: bool
) -> None:
    pair = lab(SCENARIO, devices={"statemirror_secure": secure})
    clients = {str(talk.client) for talk in talks(pair)}
    stranger = Stranger(pair.lab, peer="bigip-b", victim="bigip-a")
    with stranger.posing(), stranger.listen() as ear:
        pair.run("bigip-a", "ss", "-K", "dport", "=", f":{MIRROR_PORT}")
        there, _ = ear.accept()
        with there:
            there.settimeout(5)
            if secure:
                assert shakes_hands_as_the_standby(there)
                wait_until("it is refused", lambda: refused(pair, "bigip-a"), timeout_s=20)
                assert set(refused(pair, "bigip-a")) == {"certificate"}
                return
            decoder, heard = Decoder(), set[str]()
            while not clients <= heard:
                for message in decoder.feed(there.recv(65536)):
                    if isinstance(message.body, FlowUp):
                        heard.add(str(message.body.record.client))


def shakes_hands_as_the_standby(there: socket.socket) -> bool:
    """With a certificate that the pair does not know; whether the handshake fails."""
    with TemporaryDirectory() as folder:
        trust.establish(Path(folder), DEVICES)
        own = trust.folder_of(Path(folder), "bigip-b")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(own / "device.crt", own / "device.key")
        try:
            with context.wrap_socket(there, server_side=True) as tls:
                return tls.recv(1) == b""
        except OSError:
            return True


def recorded(pair: RunningLab, stranger: Stranger, octets: int) -> bytes:
    """What bigip-a says on a mirroring channel, from its beginning; a new one is made for it."""
    with stranger.tap(port=MIRROR_PORT) as tap:
        pair.run("bigip-a", "ss", "-K", "dport", "=", f":{MIRROR_PORT}")
        stream = tap.stream(octets)

    def up() -> bool:
        return all(pair.lab.status(node)["mirror_channel"] == "up" for node in DEVICES)

    wait_until("a new channel", up, timeout_s=20)
    return stream


def plays(there: socket.socket, recording: bytes) -> None:
    """The same bytes once more; then nothing, so that it is up to the other end."""
    there.sendall(recording)
    there.shutdown(socket.SHUT_WR)
    with contextlib.suppress(OSError):
        while there.recv(65536):
            pass
