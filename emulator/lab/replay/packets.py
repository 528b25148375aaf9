"""`replay --packets`: a flow's own packets, client to server, through the pair, as they are.

Sent by a raw socket with the lab's addresses in them, before the failover and again when the
new active device is reached; nothing answers for the client (its kernel's resets of a
connection it does not know are held back). What became of each is read from the captures.
"""

from __future__ import annotations

import json
import secrets
import socket
import time
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime
from ipaddress import IPv4Address
from pathlib import Path

from scapy.layers.inet import IP, TCP
from scapy.packet import Raw

from emulator.lab.analysis import read_journals
from emulator.lab.capture import Capture, merge
from emulator.lab.deployment import DEVICES, entry_address
from emulator.lab.faults import trigger
from emulator.lab.instance import Lab
from emulator.lab.judge.evidence import CAPTURE
from emulator.lab.judge.tracing import trace
from emulator.lab.replay.account import Json
from emulator.lab.replay.fates import Sent, fates
from emulator.lab.replay.flows import Flow
from emulator.lab.replay.recording import Recording, RecordingError, packets_of
from emulator.lab.runner import handed_over
from emulator.lab.settings.scenario import Scenario
from emulator.lab.wait import LabFault, wait_until
from emulator.lab.workload.applications import NAMES, PORTS
from emulator.wire import pcapng
from netns.execute import call_in, run

MAX_PACKETS = 200
MTU = 1500
APART_S = 0.1  # a reset is the last packet's
_PORT = 40001
_MARK, _IDENT = 77, 0x4000
_EFFECTIVE_S = 120.0
_HOLD_RESETS = (
    "table ip packets {\n chain out {\n type filter hook output priority 0;\n"
    f"  tcp flags & rst == rst meta mark != {_MARK} drop\n }}\n}}\n"
)


def rewrite(
    packet: bytes, destination: IPv4Address, source: IPv4Address, port: int, ident: int
) -> bytes:
    """The packet with the lab's addresses, ports and an identification, and right checksums;
    all else as it is."""
    parsed = IP(packet)
    parsed.src, parsed.dst, parsed.id = str(source), str(destination), ident
    del parsed.chksum
    if parsed.haslayer(TCP):
        parsed[TCP].sport, parsed[TCP].dport = _PORT, port
        del parsed[TCP].chksum
    return bytes(parsed)


def describe(packet: bytes) -> str:
    """Flags, sequence number and length, for people."""
    parsed = IP(packet)
    if not parsed.haslayer(TCP):
        return f"fragment at {parsed.frag * 8}"
    tcp = parsed[TCP]
    size = len(tcp[Raw].load) if tcp.haslayer(Raw) else 0
    fragment = ", first fragment" if parsed.flags.MF else ""
    return f"{tcp.flags} seq {tcp.seq} ack {tcp.ack} window {tcp.window}, {size} bytes{fragment}"


def replay_packets(
    scenario: Scenario, found: Recording, flow: Flow, runs: Path, progress: Callable[[str], None]
) -> Json:
    """Run it; the folder below `runs` has captures, journals and packets.json. Raises
    RecordingError, LabFault and what building a lab raises."""
    packets = packets_of(found, flow)
    if not packets:
        raise RecordingError(f"{found.path}: flow {flow.number} has no whole IPv4 packets to send")
    if len(packets) > MAX_PACKETS:
        raise RecordingError(
            f"{found.path}: flow {flow.number} has {len(packets)} packets to the server, at most "
            f"{MAX_PACKETS} can be sent one by one"
        )
    for number, packet in packets:
        if len(packet) > MTU:
            raise RecordingError(
                f"{found.path}: frame {number} has {len(packet)} bytes of IP, more than the lab's "
                f"links carry ({MTU}): captured before segmentation was done, by an offload"
            )
    lab_id = secrets.token_hex(3)
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    with handed_over(runs / f"{stamp}-packets-{scenario.name}-{lab_id}") as folder:
        lab = Lab(lab_id, scenario, folder)
        capture = Capture(lab.world, lab.folder, folder)
        losses: list[str] = []
        try:
            progress("building the world")
            lab.create()
            capture.start()
            lab.start()
            sent = _conduct(lab, packets, flow, progress)
        finally:
            try:
                losses = capture.stop()
            finally:
                lab.destroy()
        if losses:
            raise LabFault("; ".join(losses))
        return _account(lab, folder, found, flow, sent)


def _conduct(
    lab: Lab, packets: list[tuple[int, bytes]], flow: Flow, progress: Callable[[str], None]
) -> list[Sent]:
    namespace = lab.world.namespace("client")
    run(namespace, ["nft", "-f", "-"], stdin=_HOLD_RESETS)
    raw = call_in(namespace, _raw_socket)
    destination = entry_address(lab.scenario)
    port = flow.port if flow.port in NAMES else PORTS["echo"]

    def send_all(after: bool) -> list[Sent]:
        sent = []
        for index, (number, packet) in enumerate(packets):
            ident = _IDENT + index + (MAX_PACKETS if after else 0)
            out = rewrite(
                packet, destination, lab.world.interface("client", "eth0").address, port, ident
            )
            seq = IP(out)[TCP].seq if IP(out).haslayer(TCP) else -1
            sent.append(Sent(number, after, time.time(), ident, seq, describe(out)))
            raw.sendto(out, (str(destination), 0))
            _pause(APART_S)
        return sent

    with raw:
        progress(f"sending {len(packets)} packets")
        sent = send_all(False)
        if lab.scenario.failover is not None:
            lab.wait_control_plane()
            how = lab.scenario.failover.how
            progress(f"failover: {how.value} of {DEVICES[0]}")
            since = time.time()
            trigger(lab, DEVICES[0], how)
            wait_until(
                "the routes to lead to the new active device",
                lambda: routes_effective(lab, since), timeout_s=_EFFECTIVE_S,
            )  # fmt: skip
            progress(f"sending {len(packets)} packets again")
            sent += send_all(True)
    return sent


def routes_effective(lab: Lab, since: float) -> bool:
    """Whether every change the new active device asked for has been carried out."""
    log = [r for r in lab.fabric_log() if float(str(r["time"])) >= since]
    accepted = sum(r["what"] == "accepted" for r in log)
    done = lab.status(DEVICES[1]).get("cloud_failover") != "running"
    return done and 0 < accepted <= sum(r["what"] == "effective" for r in log)


def _raw_socket() -> socket.socket:
    raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, _MARK)
    return raw


def _pause(seconds: float) -> None:
    until = time.monotonic() + seconds
    wait_until("the next packet's turn", lambda: time.monotonic() >= until, timeout_s=seconds + 10)


def _account(lab: Lab, folder: Path, found: Recording, flow: Flow, sent: list[Sent]) -> Json:
    files = [p for n in lab.world.nodes if (p := folder / f"{n}.pcapng").exists()]
    merge(files, folder / CAPTURE, comment=f"mirrorlab packets under {lab.scenario.name}")
    with (folder / CAPTURE).open("rb") as source:
        traced = trace(pcapng.read(source))
    client = (lab.world.interface("client", "eth0").address, _PORT)
    with (folder / CAPTURE).open("rb") as source:
        fate = fates(sent, pcapng.read(source), traced, client, read_journals(folder))
    result: Json = {
        "schema": "mirrorlab/packets/1",
        "scenario": lab.scenario.name,
        "file": str(found.path),
        "flow": flow.number,
        "client": flow.client,
        "server": flow.server,
        "folder": str(folder),
        "packets": [asdict(f) for f in fate],
    }
    (folder / "packets.json").write_text(json.dumps(result, indent=2) + "\n")
    return result
