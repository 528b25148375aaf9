"""One BIG-IP: composes failover, traffic and mirroring. The only entry for the shell.

`handle(event, now)` returns commands to be carried out in order (the contract is in
`core.commands`); `next_timer()` says when a `Tick` is due.
"""

from __future__ import annotations

from emulator.core.announce import Announcer
from emulator.core.commands import (
    CancelRoutes,
    CloseChannel,
    Command,
    ConnectChannel,
    Discard,
    FollowRole,
    Note,
    RequestRoutes,
    SendHeartbeat,
    SendToPeer,
)
from emulator.core.config import Config
from emulator.core.events import (
    AddressAnswer,
    ArpHeard,
    ChannelDown,
    ChannelUp,
    ClientAccepted,
    DatagramQueued,
    Event,
    ExtensionNote,
    FlowActivity,
    HeartbeatHeard,
    OperatorStandby,
    PacketQueued,
    PeerMessages,
    PeerRefused,
    RelayEnded,
    RelaySnapshot,
    RestoreFailed,
    RouteAnswer,
    ServerUnreachable,
    Tick,
)
from emulator.core.failover import Failover, Role, Signal
from emulator.core.intake import Intake
from emulator.core.mirroring import Receiver, Sender
from emulator.core.refusals import Refusals, Refused
from emulator.core.traffic import Traffic
from emulator.wire.heartbeat import TAKEOVERS, Heartbeat
from emulator.wire.mirror import Ack, Message

RECONNECT_DELAY_S = 1.0  # statemirror.reconnect.delay
SWEEP_INTERVAL_S = 1.0
ACK_TIMEOUT_S = 4.0  # a peer that owes acknowledgements and sends none for longer is lost


class Device:
    """The decisions of one device; drive it from one thread."""

    def __init__(self, config: Config, now: float) -> None:
        self.config = config
        self.failover = Failover(order=config.order, timeout_s=config.failover_timeout_s, now=now)
        self.sender = Sender(config.name, config.traffic_group)
        self.traffic = Traffic(config, self.sender)
        self._announcer = Announcer(config)
        self.refusals = Refusals()
        self._receiver = Receiver(
            self.traffic.table, config.traffic_group, self.traffic.proxy.names,
            self.traffic.persistence, config.mirror_limits, self.refusals,
        )  # fmt: skip
        self._intake = Intake()
        self._mirrors = any(v.mirrors_anything for v in config.virtual_servers)
        self._sequence = 0
        self._next_heartbeat = now
        self._next_connect = now
        self._next_sweep = now + SWEEP_INTERVAL_S
        self.channel_up = False
        self.channel_since: float | None = None  # when the present channel came up
        self.channel_protection = ""  # protocol and cipher of the present channel
        self.heartbeats, self.last_heartbeat = 0, now  # heard of the peer, and when the last
        self.peer_name = ""  # as its heartbeats call it
        self._connecting = False
        self._channel_lost: float | None = None  # when the standby lost it
        self._answered = now  # when the standby last acknowledged a mirror message

    @property
    def active(self) -> bool:
        """Whether the traffic group is active here; only then may the fast path forward."""
        return self.failover.role is Role.ACTIVE

    def handle(self, event: Event, now: float) -> list[Command]:  # noqa: C901 - one row per event
        """Decide; every event has a rule here."""
        match event:
            case PacketQueued():
                traffic = self.traffic
                decide = traffic.packet if self.active else traffic.packet_on_standby
                return decide(event, now)
            case DatagramQueued(packet_id):
                # A standby serves no datagram; the kernel's own (HA network) are not queued.
                return self.traffic.datagram(event, now) if self.active else [Discard(packet_id)]
            case FlowActivity():
                return self.traffic.activity(event, now)
            case ClientAccepted() | ServerUnreachable() | RelayEnded() | RestoreFailed():
                return self.traffic.proxy.relayed(event, now)
            case RelaySnapshot():
                return self.traffic.proxy.resync.snapshot(event, now)
            case HeartbeatHeard(heartbeat):
                self.heartbeats, self.last_heartbeat = self.heartbeats + 1, now
                self.peer_name = heartbeat.device
                return [*self._check_mirror(heartbeat, now), *self._heard(heartbeat, now)]
            case OperatorStandby():
                return self._changed(self.failover.operator_standby(now), now)
            case Tick():
                return self._tick(now)
            case ArpHeard():
                return self._announcer.heard(event, active=self.active)
            case ChannelUp(protection):
                self.channel_protection = protection
                return self._channel_up(now)
            case ChannelDown(reason):
                return self._channel_down(reason, now)
            case PeerRefused(reason, detail):
                return [*self.refusals.add(reason, detail, now)]
            case PeerMessages(messages):
                return self._messages(messages, now)
            case RouteAnswer(table, destination, error, changed):
                what = "route-accepted" if changed else "route-unchanged"
                what = "route-refused" if error else what
                details = {"table": table, "destination": destination, "error": error}
                return [Note(what, {k: v for k, v in details.items() if v})]
            case AddressAnswer(action, address, target, error):
                what = "address-refused" if error else "address-accepted"
                details = {"action": action, "address": address, "target": target, "error": error}
                return [Note(what, {k: v for k, v in details.items() if v})]
            case ExtensionNote(what, about):
                return [Note(what, about)]
        raise AssertionError(f"unexpected event: {event!r}")

    def reconfigure(self, config: Config, now: float) -> None:
        """An operator has changed a virtual server or a variable (`core.operate`)."""
        self.config = config
        self.traffic.reconfigure(config)
        self._mirrors = any(v.mirrors_anything for v in config.virtual_servers)
        self._next_connect = now

    def drop_channel(self, reason: str, now: float) -> list[Command]:
        """An operator has changed what the channel is; the active device connects anew."""
        commands = [CloseChannel(), *self._channel_down(reason, now)]
        self._next_connect = now
        return commands

    def next_timer(self) -> float:
        """When the next Tick is due."""
        timers = [self._next_heartbeat, self._next_sweep]
        for other in (self.failover.next_timer(), self.traffic.kicks.next_timer()):
            if other is not None:
                timers.append(other)
        if self._wants_channel():
            timers.append(self._next_connect)
        return min(timers)

    def _tick(self, now: float) -> list[Command]:
        commands = self._changed(self.failover.tick(now), now)
        if now >= self._next_heartbeat:
            commands.append(self.heartbeat(now))
        commands += self.traffic.kicks.tick(now)
        if self._wants_channel() and now >= self._next_connect:
            self._connecting = True
            commands.append(ConnectChannel())
        if now >= self._next_sweep:
            self._next_sweep = now + SWEEP_INTERVAL_S
            # A slow channel is far behind and answers all the same: it is not lost.
            owing_s = min(self.sender.lag(now).seconds, now - self._answered)
            if self.sender.connected and owing_s > ACK_TIMEOUT_S:
                commands += [CloseChannel(), *self._channel_down("the peer does not answer", now)]
            if self.active:
                commands += [*self.traffic.sweep(now), *self.traffic.proxy.resync.start()]
        return commands

    def _heard(self, heartbeat: Heartbeat, now: float) -> list[Command]:
        """After a split brain has healed the routes may lead to the device that yielded: the
        one that stays active asks for them again (the failover extension's tgrefresh). A peer
        that had been silent may have been active and have yielded before it was heard; one of
        which some heartbeats were missed says how often it has been active."""
        before, counted = self.failover.peer_active, self.failover.peer_takeovers
        was_active = counted is not None and counted != heartbeat.takeovers
        split = self.active and (before is not False or was_active)
        commands = self._changed(self.failover.heard(heartbeat, now), now)
        if split and self.active and not heartbeat.active:
            healed = before or (before is False and was_active)
            note = Note("split-brain-healed" if healed else "peer-returned")
            commands += [note, *self._announcer.take_over(), RequestRoutes()]
        return commands

    def _changed(self, signal: Signal | None, now: float) -> list[Command]:
        """What a change of role entails, or nothing."""
        if signal is None:
            return []
        self._next_connect = now
        follow = [FollowRole(self.active)] if self.config.data_plane else []
        if self.active:
            note = Note("active", {"reason": signal.value, "flows": len(self.traffic.table)})
            # The channel served the old role: the new active connects one of its own.
            channel = [CloseChannel(), *self._stop_mirroring()]
            flows = [*follow, *self.traffic.take_over(now), *self._announcer.take_over()]
            done = Note("restored", {"flows": len(self.traffic.table)})
            kick = self.traffic.kicks.start(now)
            return [note, *channel, *flows, done, self.heartbeat(now), RequestRoutes(), *kick]
        note = Note("standby", {"reason": signal.value, "flows": len(self.traffic.table)})
        # Held packets are discarded before the channel ends, or its end would release them.
        flows = [*follow, *self._announcer.stand_by(), *self.traffic.stand_by()]
        channel = [CloseChannel(), *self._stop_mirroring()]
        return [note, *flows, CancelRoutes(), *channel, self.heartbeat(now)]

    def heartbeat(self, now: float) -> SendHeartbeat:
        """What the peer is told of us now; the next one is due an interval later."""
        self._sequence += 1
        self._next_heartbeat = now + self.config.heartbeat_interval_s
        pair = self.failover
        return SendHeartbeat(
            Heartbeat(
                self.config.name, self.active, pair.resigned, self.config.order, self._sequence,
                pair.heir, pair.takeovers % TAKEOVERS,
            )
        )  # fmt: skip

    def _wants_channel(self) -> bool:
        """The active device connects, to a peer that says it stands by."""
        wanted = self._mirrors and self.active and self.failover.peer_active is False
        return wanted and not self.channel_up and not self._connecting

    def _channel_up(self, now: float) -> list[Command]:
        self.channel_up, self._connecting = True, False
        self.channel_since = now
        self._channel_lost = None
        protected = {"protection": self.channel_protection} if self.channel_protection else {}
        if not self.active:
            self._intake.begin()
            return [Note("mirror-channel-accepted", {**protected})]
        flows = self.traffic.mirrored_flows()
        messages = self.sender.start(flows, now, self.traffic.persistence.to_mirror())
        note = Note("mirror-channel-established", {"flows": len(flows), **protected})
        resync = self.traffic.proxy.resync.start()
        return [note, *(SendToPeer(message) for message in messages), *resync]

    def _channel_down(self, reason: str, now: float) -> list[Command]:
        was_up = self.channel_up
        self._next_connect = now + RECONNECT_DELAY_S
        self._channel_lost = None if self.active else now
        commands = self._stop_mirroring()
        if was_up:
            return [Note("mirror-channel-lost", {"reason": reason}), *commands]
        return commands

    def _stop_mirroring(self) -> list[Command]:
        self.channel_up = self._connecting = False
        self.channel_since, self.channel_protection = None, ""
        if not self.sender.connected:
            return []
        self.sender.stop()
        return self.traffic.unmirrored()

    def _check_mirror(self, heartbeat: Heartbeat, now: float) -> list[Command]:
        """A standby without a channel, whose active peer lives on: its segments go on
        unmirrored, and what is held of them grows old."""
        lost = self._channel_lost
        settled = lost is not None and now - lost > 2 * self.config.heartbeat_interval_s
        if self.active or not heartbeat.active or not settled:
            return []
        self._channel_lost = None
        return self.traffic.proxy.invalidate()

    def _messages(self, messages: tuple[Message, ...], now: float) -> list[Command]:
        commands: list[Command] = []
        last = 0
        for message in messages:
            try:
                if isinstance(message.body, Ack):
                    commands += self._acknowledged(message.body.acknowledged, now)
                    continue
                if self.active:
                    raise Refused("session", "both devices are active")
                self._intake.check(message)
                commands += self._receiver.apply(message, now)
            except Refused as why:
                note = Note("mirror-channel-refused", {"reason": why.detail})
                counted = self.refusals.add(why.reason, why.detail, now)
                down = self._channel_down(why.detail, now)
                return [*commands, *counted, note, CloseChannel(), *down]
            last = message.sequence
        if last:
            commands.append(SendToPeer(Message(0, Ack(last))))
        return commands

    def _acknowledged(self, sequence: int, now: float) -> list[Command]:
        """The peer holds everything up to a message; raises Refused."""
        if not self.active:
            return []
        self._answered = now
        released = self.traffic.mirrored(self.sender.acknowledged(sequence))
        return [*released, *self.traffic.proxy.resync.go_on()]
