"""A device's end of the HA network: the mirroring channel, its port, the heartbeats.

Descriptors to events, commands to bytes, as `device.loop` has them for everything else. What is
secured is read from the configuration each time a connection or a heartbeat begins, so an
operator's change counts from then on.
"""

from __future__ import annotations

import selectors
import socket
import time
from collections.abc import Callable
from functools import partial

from emulator.core.config import Config
from emulator.core.device import Device
from emulator.core.events import (
    ChannelDown,
    ChannelUp,
    Event,
    HeartbeatHeard,
    PeerMessages,
    PeerRefused,
)
from emulator.core.heartbeatguard import HeartbeatGuard
from emulator.core.refusals import Refused
from emulator.device.channel import ChannelLost, HeartbeatSocket, MirrorChannel
from emulator.device.doorway import Doorway
from emulator.device.secure import Clear, Secure, Transport
from emulator.device.trust import Trust, TrustError
from emulator.wire.heartbeat import Heartbeat, HeartbeatError
from emulator.wire.mirror import Buffer, Message

_TOGETHER = 32  # messages in one write
_HEARTBEATS_AT_ONCE = 256  # a flood must not keep the device from its packets

Handle = Callable[[Event], None]


class PeerLink:
    """Everything that comes from or goes to the peer, or whoever says he is.

    `handle`: an event, at once; `post`: an event once the command under way is done; `clock`:
    the device's.
    """

    def __init__(
        self,
        device: Device,
        selector: selectors.BaseSelector,
        handle: Handle,
        post: Handle,
        clock: Callable[[], float],
    ) -> None:
        config = device.config
        self._device, self._selector = device, selector
        self._handle, self._post, self._clock = handle, post, clock
        self._trust = Trust(config.trust)
        self._guard: HeartbeatGuard | None = None
        own, peer, port = config.ha_address, config.peer_ha_address, config.mirror_port
        self._channel = MirrorChannel(own, peer, port, self._protect)
        self._doorway = Doorway(own, peer, port, self._protect, self._refuse, self._watch_waiting)
        self._heartbeat = HeartbeatSocket(own, peer, config.heartbeat_port)
        self._watched: tuple[socket.socket, int] | None = None
        self._queued = 0  # messages and segments that wait for `flush`
        read = selectors.EVENT_READ
        selector.register(self._doorway.listener, read, self._on_accept)
        selector.register(self._heartbeat.socket, read, lambda _: self.hear())

    # What comes in.

    def hear(self) -> None:
        """The heartbeats that are there."""
        for _ in range(_HEARTBEATS_AT_ONCE):
            try:
                if (data := self._heartbeat.receive()) is None:
                    return
                if self._config.failover_secure:
                    data = self._heartbeat_guard().unseal(data)
                self._handle(HeartbeatHeard(Heartbeat.parse(data)))
            except HeartbeatError as error:
                self._refuse(Refused("heartbeat-malformed", str(error)))
            except TrustError as error:
                self._refuse(Refused("trust", str(error)))
            except Refused as why:
                self._refuse(why)

    def sweep(self, now: float) -> None:
        """Give up what takes too long."""
        self._doorway.sweep(now)
        if self._channel.overdue(now):
            why = Refused("handshake", "the peer does not go on with the handshake")
            self._lost(ChannelLost(why.detail, why))

    def _on_accept(self, _: int) -> None:
        self._doorway.accept(self._clock())

    def _on_waiting(self, there: socket.socket, _: int) -> None:
        """Who has introduced himself is the peer, as far as anybody can tell."""
        introduced = self._doorway.ready(there)
        if introduced is None:
            return
        if self._device.active:
            introduced.connection.close()
            self._refuse(Refused("role", "a mirroring channel to the active device"))
            return
        self._channel.adopt(introduced.connection)
        self.watch()
        self._handle(ChannelUp(self._channel.protection))
        self._handle(PeerMessages(tuple(introduced.messages)))

    def on_channel(self, connection: socket.socket, mask: int) -> None:
        """The channel's socket is ready."""
        if connection is not self._channel.connection:
            return  # an earlier event of the same round closed it
        try:
            if self._channel.connecting or self._channel.securing:
                if self._channel.advance():
                    self._handle(ChannelUp(self._channel.protection))
                self.watch()
                return
            if mask & selectors.EVENT_WRITE:
                self._channel.flush()
                self.watch()
            if mask & selectors.EVENT_READ and (messages := self._channel.read()):
                self._handle(PeerMessages(tuple(messages)))
        except ChannelLost as error:
            self._lost(error)

    # What goes out.

    def connect(self) -> None:
        self._to_peer(partial(self._channel.connect, self._clock()))
        self.watch()

    def send(self, message: Message) -> None:
        """Part of what the next `flush` sends; of many, some now."""
        self._channel.put(message)
        self._queued += 1
        if self._queued >= _TOGETHER:
            self.flush()

    def queue(self, *parts: Buffer) -> None:
        """Part of a message that the next `flush` sends."""
        self._channel.queue(*parts)
        self._queued += 1

    def flush(self) -> None:
        """Send what is queued, if anything is; copes with the channel's loss. Whoever has served
        a descriptor calls it: nothing waits for the next one."""
        if self._queued:
            self._queued = 0
            self._to_peer(self._channel.flush)
            self.watch()

    def close_channel(self) -> None:
        self.flush()
        self._channel.close()
        self.watch()  # at once: a restored socket may get the same descriptor

    def send_heartbeat(self, heartbeat: Heartbeat) -> None:
        data = heartbeat.emit()
        if self._config.failover_secure:
            try:
                data = self._heartbeat_guard().seal(data, _wall_us())
            except TrustError as error:
                self._refuse(Refused("trust", str(error)))
                return
        self._heartbeat.send(data)

    def watch(self) -> None:
        """Keep the selector on the channel's present connection, for what it waits for."""
        connection = self._channel.connection
        mask = selectors.EVENT_READ | (selectors.EVENT_WRITE if self._channel.wants_write else 0)
        wanted = (connection, mask) if connection is not None else None
        if wanted == self._watched:
            return
        if self._watched is not None:
            self._selector.unregister(self._watched[0])
        if wanted is not None:
            there = wanted[0]
            self._selector.register(there, wanted[1], lambda m: self.on_channel(there, m))
        self._watched = wanted

    @property
    def _config(self) -> Config:
        return self._device.config

    def _protect(self, connecting: bool) -> Transport:
        if self._config.statemirror_secure:
            return Secure(self._trust, connecting=connecting)
        return Clear()

    def _heartbeat_guard(self) -> HeartbeatGuard:
        if self._guard is None:
            tolerance_s = self._config.failover_timeout_s
            self._guard = HeartbeatGuard(
                *self._trust.heartbeat_keys(), wall_us=_wall_us(), tolerance_s=tolerance_s
            )
        return self._guard

    def _refuse(self, why: Refused) -> None:
        self._post(PeerRefused(why.reason, why.detail))

    def _watch_waiting(self, there: socket.socket, begin: bool) -> None:
        if begin:
            call = partial(self._on_waiting, there)
            self._selector.register(there, selectors.EVENT_READ, call)
        else:
            self._selector.unregister(there)

    def _to_peer(self, effect: Callable[[], object]) -> None:
        try:
            effect()
        except ChannelLost as error:
            self._lost(error)
        except OSError as error:
            self._lost(ChannelLost(str(error)))

    def _lost(self, why: ChannelLost) -> None:
        self._channel.close()
        self.watch()
        if why.refused is not None:
            self._refuse(why.refused)
        self._post(ChannelDown(str(why)))


def _wall_us() -> int:
    """The pair's clocks are compared, across restarts: not the monotonic one."""
    return time.time_ns() // 1000
