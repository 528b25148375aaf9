"""The device's one thread: descriptors and timers to events, commands to effects.

The only reader of the clock (monotonic, seconds). It decides nothing: `core.device` does.
"""

from __future__ import annotations

import os
import selectors
import socket
import time
from collections import deque
from collections.abc import Callable
from functools import partial
from pathlib import Path

from netfilterqueue import Packet

from emulator.core.commands import (
    AbandonRelays,
    AbortRelay,
    Accelerate,
    CancelRoutes,
    CloseChannel,
    Command,
    ConnectChannel,
    ConnectServer,
    Decelerate,
    Discard,
    FollowRole,
    Hold,
    InstallFlow,
    Listen,
    Note,
    ReadActivity,
    Release,
    RemoveFlow,
    RequestRoutes,
    RestoreRelay,
    SendArp,
    SendHeartbeat,
    SendSegment,
    SendToPeer,
    SendUnreachable,
    SetMac,
    SnapshotRelay,
)
from emulator.core.config import Config
from emulator.core.device import Device
from emulator.core.events import (
    ArpHeard,
    DatagramQueued,
    Event,
    PacketQueued,
    Tick,
)
from emulator.core.fastpath import datagram as fast_datagram
from emulator.core.fastpath import established
from emulator.core.tracker import RelayPlan
from emulator.device import account, status, tmsh
from emulator.device.cloudclient import CloudClient
from emulator.device.control import ControlServer
from emulator.device.dataplane import follow_role
from emulator.device.journal import Journal
from emulator.device.kernelflows import KernelFlows
from emulator.device.mirrorpath import AnyPacket, MirrorPath
from emulator.device.packetrules import PacketRules
from emulator.device.peerlink import PeerLink
from emulator.device.relay import Relays
from emulator.kernel import rules
from emulator.kernel.arp import ArpSocket, set_mac
from emulator.kernel.copyqueue import CopiedPacket, CopyQueue
from emulator.kernel.nfqueue import FEW, PacketQueue, dropped
from emulator.kernel.rawsocket import RawSender
from emulator.wire.datagram import Datagram
from emulator.wire.segment import PROTO_UDP, Segment, SegmentError, parse_headers

_LOCAL_OUT = 3  # NF_INET_LOCAL_OUT
_UDP = bytes([PROTO_UDP])
_BREATH = 64  # commands
_MANY = 256  # commands, which take longer than to wake the extension up
_LINGERS = 64  # packets that may follow each other before anything else has its turn
LATE_S = 0.5  # a timer this late is worth a line in the journal: the host disturbed us


class Shell:
    """One running device. `run` returns after `stop`."""

    def __init__(self, config: Config, journal: Journal, control: Path) -> None:
        self._journal = journal
        self._now = time.monotonic()
        self._device = Device(config, self._now)
        self._sides = self._device.traffic.table.sides
        self._events: deque[Event] = deque()
        self._held: dict[int, AnyPacket] = {}
        self._current: tuple[int, AnyPacket] | None = None
        self._packet_id = 0
        self._stopping = False
        self._interfaces = {socket.if_nametoindex(i): i for i in config.data_interfaces}
        self._rules = PacketRules(config)
        shared = dict.fromkeys(f.interface for f in config.floating)
        self._arp = {name: ArpSocket(name) for name in shared}
        self._queue = PacketQueue(rules.QUEUE, self._on_packet)
        self._copies = CopyQueue(rules.COPY_QUEUE, self._on_copied)
        self._flows = KernelFlows(self._refused)
        self._raw = RawSender()
        self._cloud = CloudClient(config) if config.cloud_failover else None
        self._control = ControlServer(control, self._on_control)
        self._selector = selectors.DefaultSelector()
        self._peer = PeerLink(
            self._device, self._selector, self._dispatch, self._post, lambda: self._now
        )
        self._mirror_path = MirrorPath(self._device, self._peer, self._held, self._accept)
        self._relays = Relays(self._selector, self._events.append)
        self._register()

    def run(self) -> None:
        """Serve until `stop`."""
        self._journal.write("started", {"pid": os.getpid()})
        due = self._device.next_timer()
        while not self._stopping:
            wait = max(0.0, due - time.monotonic())
            ready = self._selector.select(wait)
            self._now = time.monotonic()
            if self._now - due > LATE_S:
                self._journal.write("late", {"seconds": round(self._now - due, 3)})
            for key, mask in ready:
                key.data(mask)
                self._drain()
            self._relays.sweep(self._now)
            self._peer.sweep(self._now)
            self._drain()
            due = self._device.next_timer()
            if self._now >= due:
                # What the peer has sent by now counts before its silence does: after a late
                # wake-up its heartbeats wait in the socket.
                self._peer.hear()
                self._dispatch(Tick())
                self._drain()
                due = self._device.next_timer()
        if self._cloud:
            self._cloud.close()
        self._journal.write("stopped", {})

    def stop(self) -> None:
        """Safe to call from a signal handler."""
        self._stopping = True

    def _register(self) -> None:
        read = selectors.EVENT_READ
        self._selector.register(self._queue, read, self._on_queue)
        self._selector.register(self._copies, read, self._on_copies)
        self._selector.register(self._control.socket, read, lambda _: self._control.serve())
        for arp in self._arp.values():
            self._selector.register(arp.socket, read, lambda _, arp=arp: self._on_arp(arp))
        if self._cloud:
            self._selector.register(self._cloud.fd, read, self._on_extension)

    # Descriptors to events.

    def _on_queue(self, _: int) -> None:
        count = self._queue.process()
        self._peer.flush()
        for _ in range(_LINGERS if count <= FEW else 0):
            if self._device.sender.outstanding_octets or not self._queue.linger():
                return
            self._peer.flush()

    def _on_packet(self, packet: Packet) -> None:
        data = packet.get_payload()
        if self._device.active and established(self._sides, data, self._now):
            packet.accept()
            return
        if data[9:10] == _UDP:
            self._on_datagram(packet, data)
            return
        if self._device.active and self._device.traffic.passes(data, self._now):
            packet.accept()
            return
        self._decide(packet, parse_headers, data, copied=False)

    def _on_datagram(self, packet: Packet, data: bytes) -> None:
        if self._device.active and fast_datagram(self._sides, data, self._now):
            packet.accept()
            return
        self._decide(packet, Datagram.parse, data, copied=False)

    def _on_copies(self, _: int) -> None:
        self._copies.process()
        self._mirror_path.let_go()

    def _on_copied(self, packet: CopiedPacket) -> None:
        self._packet_id += 1
        if self._device.active and self._mirror_path.take(packet, self._packet_id, self._now):
            return
        self._mirror_path.let_go()
        self._decide(packet, Segment.parse, packet.get_payload(), copied=True)

    def _decide(
        self,
        packet: AnyPacket,
        parse: Callable[[bytes], Segment | Datagram],
        data: bytes,
        *,
        copied: bool,
    ) -> None:
        try:
            parsed = parse(data)
        except SegmentError as error:
            self._journal.write("malformed", {"reason": str(error)})
            packet.drop()
            return
        self._packet_id += 1
        self._current = (self._packet_id, packet)
        outgoing = packet.hook == _LOCAL_OUT
        interface = "" if outgoing else self._interfaces.get(packet.indev, "?")
        if isinstance(parsed, Datagram):
            self._dispatch(DatagramQueued(self._packet_id, interface, parsed))
        else:
            whole = data if copied else b""
            self._dispatch(PacketQueued(self._packet_id, interface, parsed, whole))
        self._current = None

    def _on_arp(self, arp: ArpSocket) -> None:
        while (packet := arp.receive()) is not None:
            self._dispatch(ArpHeard(arp.interface, packet))

    def _on_extension(self, _: int) -> None:
        assert self._cloud is not None
        for event in self._cloud.events():
            self._dispatch(event)

    def _on_control(self, request: dict[str, object]) -> dict[str, object]:
        if request.get("status"):
            return self._status()
        if request.get("flows"):
            self._kernel(self._read_activity, "activity", "all")
            return {"flows": account.flows(self._device, self._now)}
        if request.get("dry_run"):
            return {"started": self._cloud is not None and self._cloud.rehearse()}
        if isinstance(begun := request.get("complete"), str):
            return {"words": tmsh.completions(self._device, begun)}
        line = request.get("tmsh")
        if not isinstance(line, str):
            return {"error": "a request is {'tmsh': LINE}, {'status': true}, {'flows': true}, ..."}
        records = self._status().get("persistence", [])
        self._kernel(self._read_activity, "activity", "all")
        try:
            assert isinstance(records, list)
            answer = tmsh.execute(self._device, line, self._now, records)
        except tmsh.TmshError as error:
            return {"error": str(error)}
        self._carry_out(answer.commands)
        self._rules.follow(self._device.config)
        self._carry_out(self._device.traffic.accelerated.reconsider())
        return {"text": answer.text}

    def _status(self) -> dict[str, object]:
        return {
            **status.of(self._device, self._now),
            "cloud_failover": self._cloud.state if self._cloud else "none",
            "dry_run": self._cloud.rehearsal if self._cloud else {"state": "none"},
            **account.more(self._device, self._now),
            "queue_drops": dropped(),
        }

    # Events to commands to effects.

    def _dispatch(self, event: Event) -> None:
        self._carry_out(self._device.handle(event, self._now))

    def _carry_out(self, commands: list[Command]) -> None:
        if self._cloud and len(commands) > _MANY and RequestRoutes() in commands[-_MANY:]:
            self._cloud.prepare()  # it looks up meanwhile, and changes nothing before its turn
        released: list[AnyPacket] = []
        for number, command in enumerate(commands, 1):
            if isinstance(command, Release):
                released.append(self._packet(command.packet_id))
                continue
            if released:
                self._accept(released)
            self._execute(command)
            if number % _BREATH == 0:
                self._breathe()
        if released:
            self._accept(released)
        self._flows.settle()
        if self._current is None:
            self._peer.flush()

    def _accept(self, packets: list[AnyPacket]) -> None:
        """Let them go on, in one go where they are many; the list is empty then. What that rests
        on is done before: the peer told, the flows in the kernel."""
        self._peer.flush()
        self._flows.settle()
        copied = [packet for packet in packets if isinstance(packet, CopiedPacket)]
        if len(copied) == len(packets):
            self._copies.accept(copied)
        else:
            for packet in packets:
                packet.accept()
        packets.clear()

    def _breathe(self) -> None:
        """Restoring thousands of flows takes longer than the peer's patience."""
        now = time.monotonic()
        if now - self._now > self._device.config.heartbeat_interval_s:
            self._now = now
            self._execute(self._device.heartbeat(now))

    def _drain(self) -> None:
        """Events that effects gave rise to; then what the peer is to be told by now is sent."""
        while self._events:
            self._dispatch(self._events.popleft())
        self._peer.flush()

    def _post(self, event: Event) -> None:
        """An event that an effect gave rise to; never in the middle of a packet's."""
        self._events.append(event)
        if self._current is None:
            self._drain()

    def _execute(self, command: Command) -> None:
        """In order; what the kernel is to do with flows is gathered until something rests on it."""
        match command:
            case Note(what, details):
                self._journal.write(what, details)
            case SendToPeer(message):
                self._peer.send(message)
            case InstallFlow() | RemoveFlow() | Accelerate() | Decelerate():
                self._flows.carry_out(command)
            case Hold(packet_id):
                self._held[packet_id] = self._packet(packet_id)
            case _:
                self._flows.settle()
                self._effect(command)

    def _effect(self, command: Command) -> None:  # noqa: C901 - one row per command
        match command:
            case Discard(packet_id):
                self._packet(packet_id).drop()
            case SendSegment(segment):
                self._kernel(lambda: self._raw.send(segment), "send", segment.destination)
            case SendUnreachable(quoted, to_us):
                self._kernel(
                    lambda: self._raw.send_unreachable(quoted, to_us=to_us), "send", quoted.source
                )
            case ConnectChannel():
                self._peer.connect()
            case CloseChannel():
                self._peer.close_channel()
            case SendHeartbeat(heartbeat):
                self._peer.send_heartbeat(heartbeat)
            case SendArp(interface, packet):
                self._kernel(lambda: self._arp[interface].send(packet), "arp", packet.sender)
            case FollowRole(active):
                follow = partial(follow_role, self._device.config.data_plane, active=active)
                self._kernel(follow, "data-plane", "active" if active else "standby")
            case SetMac(interface, mac):
                self._kernel(lambda: set_mac(interface, mac), "set-mac", mac)
            case RequestRoutes():
                if self._cloud:
                    self._cloud.request_routes()
            case CancelRoutes():
                if self._cloud:
                    self._cloud.cancel()
            case ReadActivity():
                self._kernel(self._read_activity, "activity", "all")
            case _:
                self._relay(command)

    def _read_activity(self) -> None:
        self._dispatch(self._flows.activity())

    def _relay(self, command: Command) -> None:
        """The connections of standard virtual servers."""
        match command:
            case Listen(virtual):
                self._kernel(lambda: self._relays.listen(virtual), "listen", virtual)
            case ConnectServer(record):
                self._relays.connect(record)
            case AbortRelay(client, virtual):
                self._relays.abort(client, virtual)
            case RestoreRelay(plan):
                self._restore(plan)
            case SnapshotRelay(client, virtual):
                snapshot = self._relays.snapshot(client, virtual)
                if snapshot is not None:
                    self._dispatch(snapshot)
            case AbandonRelays():
                self._relays.abandon()
            case _:
                raise AssertionError(f"unexpected command: {command!r}")

    def _packet(self, packet_id: int) -> AnyPacket:
        if self._current is not None and self._current[0] == packet_id:
            return self._current[1]
        return self._held.pop(packet_id)

    def _kernel(self, effect: Callable[[], object], what: str, end: object) -> None:
        """An effect the kernel may refuse: that is journalled, never fatal."""
        try:
            effect()
        except OSError as error:
            self._refused(what, str(end), error)

    def _refused(self, what: str, end: str, error: OSError) -> None:
        self._journal.write(f"{what}-failed", {"flow": end, "reason": str(error)})

    def _restore(self, plan: RelayPlan) -> None:
        if not self._relays.restore(plan):
            return
        for leg in (plan.client, plan.server):
            if leg is not None and leg.fin is not None:
                tell = partial(self._raw.send, leg.fin, to_us=True)
                self._kernel(tell, "send", leg.fin.destination)
