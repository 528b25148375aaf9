"""A power-off in each state a proxied connection can be in: what the ends see afterwards.

The table with every state of either leg, and what has to happen, is docs/states.md; each row
is a test here, and each test sees to it that the device's socket really is in that state.

One world, standard virtual server, `commit: sync`; the devices take turns in dying.
"""

from __future__ import annotations

import secrets
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from emulator.lab.deployment import DEVICES
from emulator.lab.faults import silence_ends, trigger
from emulator.lab.instance import Lab
from emulator.lab.settings.scenario import How, Scenario
from emulator.lab.wait import wait_until
from netns.execute import call_in, run

pytestmark = pytest.mark.e2e
PORT = 9001
PATIENCE_S = 20
BULK = bytes(range(256)) * 4096 * 4  # 4 MiB: more than all queues on the way hold


class Pair:
    """Two devices, a client and a server socket each test asks for."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.active = 0
        self.closing = ExitStack()
        address = str(lab.world.interface("backend-1", "eth0").address)
        self.listener = call_in(
            lab.world.namespace("backend-1"), lambda: socket.create_server((address, PORT))
        )
        self.listener.settimeout(PATIENCE_S)

    def client(self, *, source: int = 0) -> socket.socket:
        address = (str(self.lab.scenario.virtual_server.destination), PORT)

        def connect() -> socket.socket:
            return socket.create_connection(
                address, timeout=PATIENCE_S, source_address=("10.0.1.10", source)
            )

        return self.closing.enter_context(call_in(self.lab.world.namespace("client"), connect))

    def server(self) -> socket.socket:
        """The server's end of the next connection."""
        connection, _ = self.listener.accept()
        connection.settimeout(PATIENCE_S)
        return self.closing.enter_context(connection)

    def both(self) -> tuple[socket.socket, socket.socket]:
        """A connection in use: client's and server's end."""
        client, server = self.client(), self.server()
        client.sendall(b"hello")
        assert receive(server, 5) == b"hello"
        server.sendall(b"hello yourself")
        assert receive(client, 14) == b"hello yourself"
        return client, server

    def power_off(self) -> None:
        """The active device dies; returns once the other one is active."""
        dead, other = DEVICES[self.active], DEVICES[1 - self.active]
        trigger(self.lab, dead, How.POWER_OFF)
        wait_until(
            f"{other} to be active",
            lambda: self.lab.status(other).get("role") == "active",
            timeout_s=PATIENCE_S,
        )
        self.active = 1 - self.active

    def revive(self) -> None:
        """The dead device stands by and is mirrored to."""
        dead = DEVICES[1 - self.active]
        silence_ends(self.lab, dead)
        self.lab.start_device(dead)
        wait_until(
            "the channel to be up",
            lambda: all(self.lab.status(d).get("mirror_channel") == "up" for d in DEVICES),
            timeout_s=PATIENCE_S,
        )
        self.lab.wait_control_plane(DEVICES[self.active])

    def in_state(self, leg: str, state: str, client: socket.socket | None = None) -> None:
        """Waits until the active device's socket of that leg ("client" or "server") is in
        `state`, as ss calls it; of `client`'s connection, where one is given."""
        namespace = self.lab.world.namespace(DEVICES[self.active])
        virtual = f"{self.lab.scenario.virtual_server.destination}:{PORT}"
        port = f":{client.getsockname()[1]}" if client is not None else ""

        def there() -> bool:
            for line in run(namespace, ["ss", "-tanH"]).splitlines():
                found, _, _, local, remote = line.split()[:5]
                ours, other = (local, remote) if leg == "client" else (remote, local)
                right = ours == virtual if leg == "client" else ours.endswith(f":{PORT}")
                if found == state and right and other.endswith(port):
                    return True
            return False

        wait_until(f"the {leg} leg to be in {state}", there, timeout_s=PATIENCE_S)

    def drop(self, node: str, match: str) -> None:
        """The node loses incoming TCP segments that match, until `pass_again`."""
        rules = "table ip loss {\n chain in {\n type filter hook prerouting priority -400;\n"
        rules += f" {match} drop\n }}\n}}\n"
        run(self.lab.world.namespace(node), ["nft", "-f", "-"], stdin=rules)

    def pass_again(self, node: str) -> None:
        run(self.lab.world.namespace(node), ["nft", "delete", "table", "ip", "loss"])


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    scenario = Scenario.model_validate(
        {
            "title": "states", "sessions": ["echo"], "cloud": {"propagation_delay_s": 0.05},
            "virtual_server": {"type": "standard", "commit": "sync", "snat": "pool"},
            "devices": {"failover_timeout_s": 1.2},
        }
    )  # fmt: skip
    lab = Lab(f"s{secrets.token_hex(3)}", scenario, tmp_path_factory.mktemp("states"))
    try:
        lab.create()
        lab.start()
        lab.wait_control_plane()
        made = Pair(lab)
        with made.listener:
            yield made
    finally:
        lab.destroy()


@pytest.fixture
def pair(world: Pair) -> Iterator[Pair]:
    before = world.active
    with world.closing:
        yield world
    if world.active != before:  # else the test failed before anything did
        world.revive()


def receive(connection: socket.socket, size: int) -> bytes:
    data = bytearray()
    while len(data) < size:
        chunk = connection.recv(1 << 16)
        if not chunk:
            break
        data += chunk
    return bytes(data)


def rest(connection: socket.socket) -> bytes:
    """Everything up to the end of the stream."""
    return receive(connection, 1 << 40)


@pytest.mark.parametrize("first", ["client", "server"])
def test_established_and_idle(pair: Pair, first: str) -> None:
    client, server = pair.both()
    pair.in_state("client", "ESTAB", client)
    pair.in_state("server", "ESTAB", client)
    pair.power_off()
    ends = (client, server) if first == "client" else (server, client)
    ends[0].sendall(b"still there?")
    assert receive(ends[1], 12) == b"still there?"
    ends[1].sendall(b"yes")
    assert receive(ends[0], 3) == b"yes"


def test_established_with_every_queue_full(pair: Pair) -> None:
    """Nobody reads, both write until nothing moves; then the device dies, then both read."""
    client, server = pair.both()
    writers = [
        threading.Thread(target=lambda end=end: end.sendall(BULK), daemon=True)
        for end in (client, server)
    ]
    for writer in writers:
        writer.start()
    wait_until("the queues to fill", lambda: stuck(pair), timeout_s=PATIENCE_S, interval_s=0.3)
    pair.power_off()
    got: dict[str, bytes] = {}

    def read(name: str, end: socket.socket) -> None:
        got[name] = receive(end, len(BULK))

    readers = [
        threading.Thread(target=read, args=(name, end), daemon=True)
        for name, end in (("client", client), ("server", server))
    ]
    for thread in [*readers, *writers]:
        if thread in readers:
            thread.start()
    for thread in [*readers, *writers]:
        thread.join(PATIENCE_S)
    assert got.get("client") == BULK
    assert got.get("server") == BULK


def stuck(pair: Pair) -> bool:
    """Whether the backend's and the client's unsent queues have stopped to move."""
    sizes = []
    for _ in range(2):
        lines = []
        for node in ("client", "backend-1"):
            lines += run(pair.lab.world.namespace(node), ["ss", "-tnH"]).splitlines()
        sizes.append(sorted(tuple(line.split()[1:3]) for line in lines))
    return sizes[0] == sizes[1] and any(int(sent) > 100_000 for _, sent in sizes[0])


def test_the_client_is_done_the_server_is_not(pair: Pair) -> None:
    client, server = pair.both()
    client.sendall(b"the last of it")
    client.shutdown(socket.SHUT_WR)
    assert rest(server) == b"the last of it"
    pair.in_state("client", "CLOSE-WAIT", client)
    pair.in_state("server", "FIN-WAIT-2", client)
    pair.power_off()
    server.sendall(b"and the answer")
    server.close()
    assert rest(client) == b"and the answer"


def test_the_server_is_done_the_client_is_not(pair: Pair) -> None:
    client, server = pair.both()
    server.sendall(b"goodbye")
    server.shutdown(socket.SHUT_WR)
    assert rest(client) == b"goodbye"
    pair.in_state("client", "FIN-WAIT-2", client)
    pair.in_state("server", "CLOSE-WAIT", client)
    pair.power_off()
    client.sendall(b"one more thing")
    client.close()
    assert rest(server) == b"one more thing"


NODES = {"client": "client", "server": "backend-1"}
FINS = "tcp flags & fin == fin"
LEG = pytest.mark.parametrize("leg", ["client", "server"])


@LEG
def test_a_fin_that_did_not_get_there_is_sent_again(pair: Pair, leg: str) -> None:
    """FIN-WAIT-1: the device has one end's FIN and has passed it on; the other has not seen
    it. The way back stays open."""
    client, server = pair.both()
    deaf, speaker = (client, server) if leg == "client" else (server, client)
    pair.drop(NODES[leg], FINS)
    try:
        speaker.sendall(b"goodbye")
        speaker.shutdown(socket.SHUT_WR)
        assert receive(deaf, 7) == b"goodbye"
        pair.in_state(leg, "FIN-WAIT-1", client)
        pair.power_off()
    finally:
        pair.pass_again(NODES[leg])
    assert rest(deaf) == b""
    deaf.sendall(b"late")
    deaf.close()
    assert rest(speaker) == b"late"


@LEG
@pytest.mark.parametrize("state", ["LAST-ACK", "CLOSING"])
def test_both_ends_are_done_and_one_has_not_heard(pair: Pair, leg: str, state: str) -> None:
    """LAST-ACK where the end that has not heard was done first, CLOSING where the other was."""
    client, server = pair.both()
    deaf, other = (client, server) if leg == "client" else (server, client)
    pair.drop(NODES[leg], FINS)
    try:
        first, last = (deaf, other) if state == "LAST-ACK" else (other, deaf)
        first.shutdown(socket.SHUT_WR)
        pair.in_state(leg, "CLOSE-WAIT" if first is deaf else "FIN-WAIT-1", client)
        last.shutdown(socket.SHUT_WR)
        assert rest(other) == b""
        pair.in_state(leg, state, client)
        pair.power_off()
    finally:
        pair.pass_again(NODES[leg])
    assert rest(deaf) == b""


def test_a_syn_ack_that_did_not_get_there(pair: Pair) -> None:
    connected: list[socket.socket] = []
    pair.drop("client", "tcp flags & (syn | ack) == syn | ack")
    try:
        opening = threading.Thread(target=lambda: connected.append(pair.client()), daemon=True)
        opening.start()
        wait_until("the standby to hold the flow", lambda: held(pair) >= 1, timeout_s=PATIENCE_S)
        pair.in_state("client", "SYN-RECV")
        pair.power_off()
    finally:
        pair.pass_again("client")
    opening.join(PATIENCE_S)
    server = pair.server()
    connected[0].sendall(b"hello")
    assert receive(server, 5) == b"hello"


def held(pair: Pair) -> int:
    """Flows the standby holds."""
    return int(str(pair.lab.status(DEVICES[1 - pair.active])["mirrored_flows"]))


@pytest.mark.parametrize("lost", ["SYN", "SYN-ACK"])
def test_a_member_that_does_not_answer_yet(pair: Pair, lost: str) -> None:
    """SYN-SENT: the client is connected and has sent; the server's connection is made by the
    other device, and the client's bytes are not lost. With its SYN-ACK lost the server has half
    a connection already, with the old device's numbers."""
    dead = DEVICES[pair.active]
    node, match = (
        ("backend-1", f"tcp dport {PORT}") if lost == "SYN" else (dead, f"tcp sport {PORT}")
    )
    pair.drop(node, match)
    try:
        client = pair.client()
        client.sendall(b"early words")
        wait_until("the standby to hold the flow", lambda: held(pair) >= 1, timeout_s=PATIENCE_S)
        pair.in_state("server", "SYN-SENT", client)
        pair.power_off()
    finally:
        pair.pass_again(node)
    server = pair.server()
    assert receive(server, 11) == b"early words"
    server.sendall(b"at last")
    assert receive(client, 7) == b"at last"


def test_a_syn_that_died_with_the_device(pair: Pair) -> None:
    """The client's TCP repeats it; whoever is active by then answers."""
    connected: list[socket.socket] = []
    dead = DEVICES[pair.active]
    trigger(pair.lab, dead, How.POWER_OFF)
    opening = threading.Thread(target=lambda: connected.append(pair.client()), daemon=True)
    opening.start()
    wait_until(
        "the other device to be active",
        lambda: pair.lab.status(DEVICES[1 - pair.active]).get("role") == "active",
        timeout_s=PATIENCE_S,
    )
    pair.active = 1 - pair.active
    opening.join(PATIENCE_S)
    server = pair.server()
    connected[0].sendall(b"hello")
    assert receive(server, 5) == b"hello"


@LEG
def test_ports_in_time_wait_can_be_used_again(pair: Pair, leg: str) -> None:
    """The device's leg to the end that closed last is in TIME-WAIT."""
    source = 45000 + secrets.randbelow(5000)
    client = pair.client(source=source)
    server = pair.server()
    first, last = (server, client) if leg == "client" else (client, server)
    first.sendall(b"bye")
    first.shutdown(socket.SHUT_WR)
    assert rest(last) == b"bye"
    last.close()
    assert rest(first) == b""
    pair.in_state(leg, "TIME-WAIT", client if leg == "server" else None)
    first.close()
    pair.power_off()
    # The client's own TIME-WAIT, where it closed first, would forbid it the port.
    run(pair.lab.world.namespace("client"), ["ss", "-KtanH", f"sport = :{source}"])
    again = pair.client(source=source)
    other = pair.server()
    again.sendall(b"anew")
    assert receive(other, 4) == b"anew"
