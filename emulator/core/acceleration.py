"""Flows whose established segments are not shown to us: `pva-acceleration full`.

On a BIG-IP the hardware forwards them; here a set in the kernel does (`kernel.acceleration`).
SYN, FIN and RST always come up for a decision. Two kinds of flows are in it:

    fastL4   from the set-up on (pva-offload-state embryonic, the default), of a virtual server
             whose profile asks for it; back after the first FIN, with all that had theirs
             since the last sweep: one change of the set for all
    standard from the member's SYN-ACK on, where nothing is mirrored: nothing is to be decided
             about a segment of an open connection that is the kernel's own

Whether such a flow is idle only the kernel knows. It is asked now and then, for all of them at
once (`ReadActivity`); what it answers is counted as if the packets had been seen, the last of
them now: a flow expires late by at most PRECISION of its idle time-out.
"""

from __future__ import annotations

from collections.abc import Iterable

from emulator.core.commands import Accelerate, Command, Decelerate, ReadActivity
from emulator.core.config import Config
from emulator.core.events import FlowActivity
from emulator.core.flow import Flow, FlowTable
from emulator.wire.mirror import SnatKind
from emulator.wire.segment import PROTO_TCP

PRECISION = 1 / 16


class Accelerated:
    """Which flows are; the table is `core.traffic`'s. `now` in seconds."""

    def __init__(self, config: Config, table: FlowTable) -> None:
        self._table = table
        self._flows: set[Flow] = set()
        self._leaving: set[Flow] = set()  # the kernel still passes their segments
        self._read = 0.0  # when the kernel was asked last
        self.reconfigure(config)

    def __len__(self) -> int:
        return len(self._flows)

    def __contains__(self, flow: object) -> bool:
        return flow in self._flows

    def reconfigure(self, config: Config) -> None:
        """For flows from now on."""
        servers = config.virtual_servers
        self._wanted = frozenset(
            v.name for v in servers if (not v.mirroring if v.standard else v.accelerated)
        )

    def start(self, flows: Iterable[Flow]) -> list[Command]:
        """Their set-up is decided; those to be accelerated are from now on."""
        chosen = [flow for flow in flows if self._suits(flow)]
        self._flows.update(chosen)
        return [Accelerate(tuple(flow.record for flow in chosen))] if chosen else []

    def leave(self, flow: Flow) -> None:
        """It is closing: back at the next `settle`."""
        if flow in self._flows:
            self._flows.discard(flow)
            self._leaving.add(flow)

    def settle(self) -> list[Command]:
        """Those that leave are back."""
        records = tuple(flow.record for flow in self._leaving)
        self._leaving.clear()
        return [Decelerate(records)] if records else []

    def end(self, flow: Flow) -> list[Command]:
        """It is closed, or its segments are wanted: back at once."""
        if flow not in self._flows and flow not in self._leaving:
            return []
        self._flows.discard(flow)
        self._leaving.discard(flow)
        return [Decelerate((flow.record,))]

    def stop(self) -> list[Command]:
        """None is any more."""
        self._leaving |= self._flows
        self._flows.clear()
        return self.settle()

    def reconsider(self) -> list[Command]:
        """Flows of a virtual server whose segments are wanted from now on."""
        stale = [f for f in self._flows if f.record.virtual_server not in self._wanted]
        return [command for flow in stale for command in self.end(flow)]

    def ask(self, now: float) -> list[Command]:
        """When for one of them it is time."""
        for flow in self._flows:
            if now - max(self._read, flow.seen) >= flow.record.idle_timeout_s * PRECISION:
                return [ReadActivity()]
        return []

    def told(self, event: FlowActivity, now: float) -> list[Flow]:
        """The kernel's answer; those that are idle indeed."""
        self._read = now
        for key, packets, octets in event.sides:
            side = self._table.sides.get(key)
            if side is None or side.flow not in self._flows:
                continue
            side.packets += packets
            side.octets += octets
            side.flow.seen = now
        return [f for f in self._flows if now - f.seen >= f.record.idle_timeout_s]

    def _suits(self, flow: Flow) -> bool:
        record = flow.record
        if record.protocol != PROTO_TCP or flow in self._flows:
            return False
        # Without SNAT the members' segments need a mark of their own to reach our sockets.
        marked = flow.standard and record.snat_kind is SnatKind.NONE
        return record.virtual_server in self._wanted and not (flow.copied or marked)
