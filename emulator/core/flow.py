"""The connection table: fastL4 flows, found by the addresses a packet carries.

A flow has two sides. Packets from the client carry (client, virtual server); packets from
the member carry (member, SNAT address). Both keys lead to the same `Flow`; the raw key
bytes are those of the IP and TCP headers, so the fast path needs no parsing.

    PENDING --mirrored--> OPEN --FIN both ways--> CLOSING --close timeout--> gone
                            \\--RST, idle timeout-----------------------------^
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum

from emulator.core.tracker import Tracker
from emulator.wire.mirror import FlowRecord
from emulator.wire.segment import ACK, PROTO_TCP, SYN, Endpoint, Segment
from emulator.wire.seqnum import SeqNum

CLOSE_TIMEOUT_S = 5.0  # tcpCloseTimeout of the fastL4 profile


class FlowState(Enum):
    PENDING = "pending"  # its first packet waits for the peer's acknowledgement; or taken over
    # in the middle of the client's handshake, it waits for the client to go on
    OPEN = "open"
    TAKEN = "taken"  # as OPEN, taken over, its ends' places being learnt (`core.kick`)
    CLOSING = "closing"


@dataclass(slots=True, eq=False)
class Side:
    """What is noted of one direction. `ack`: the sender's last acknowledgement field, raw;
    `fin`: it has sent a FIN; `edge` (mirrored standard flows): where the furthest of its
    segments ended; `packets`, `octets`: IP packets it sent that this device decided on, and their
    bytes."""

    flow: Flow
    from_client: bool
    ack: bytes = b""
    fin: bool = False
    edge: SeqNum | None = None
    packets: int = 0
    octets: int = 0
    key: bytes = b""  # the table's, of this side's packets, once it is there


@dataclass(slots=True, eq=False)
class Flow:
    """One connection through the device. Times are the device's clock, seconds."""

    record: FlowRecord
    state: FlowState
    created: float
    seen: float
    mirrored: bool = False  # the peer holds it, or we hold it for the peer
    standard: bool = False  # two connections of the device's own TCP, not one passed through
    asked: bool = True  # mirroring was on for its virtual server when it was made
    copied: bool = False  # its segments are mirrored, from its SYN on
    tracker: Tracker | None = None  # the peer's flow, as its mirrored segments show it
    counted: int = 0  # of its tracker's bytes, how many the table counts
    told: bytes = b""  # the ends' acknowledgements the peer was last told (`takeover_kick`)
    client_side: Side = field(init=False)
    server_side: Side = field(init=False)

    def __post_init__(self) -> None:
        self.client_side = Side(self, True)
        self.server_side = Side(self, False)

    @property
    def packets(self) -> int:
        """Of both directions."""
        return self.client_side.packets + self.server_side.packets


def key(source: Endpoint, destination: Endpoint, protocol: int = PROTO_TCP) -> bytes:
    """The table key of packets from `source` to `destination`: addresses, then ports, raw, and
    where it is not TCP the protocol: a TCP segment's headers alone are its key."""
    return (
        source.address.packed
        + destination.address.packed
        + source.port.to_bytes(2, "big")
        + destination.port.to_bytes(2, "big")
        + (b"" if protocol == PROTO_TCP else bytes([protocol]))
    )


def keys(record: FlowRecord) -> tuple[bytes, bytes]:
    """The client's packets' and the member's."""
    return (
        key(record.client, record.virtual, record.protocol),
        key(record.member, record.snat, record.protocol),
    )


class FlowTable:
    """All flows of a device. `sides` is public for the fast path, and only for reading."""

    def __init__(self) -> None:
        self.sides: dict[bytes, Side] = {}
        self.held_octets = 0  # of all trackers, as far as `account` was told

    def add(self, flow: Flow) -> Flow | None:
        """Enter a flow; returns the older flow it replaces, if any. Another one whose packets it
        would get is gone as well: every flow has both its sides, or none."""
        client, server = keys(flow.record)
        older = self.sides.get(client)
        for side in (older, self.sides.get(server)):
            if side is not None:
                self.remove(side.flow)
        self.sides[client], self.sides[server] = flow.client_side, flow.server_side
        flow.client_side.key, flow.server_side.key = client, server
        return older.flow if older is not None else None

    def account(self, flow: Flow) -> None:
        """The flow's tracker has taken or given up bytes."""
        held = flow.tracker.held if flow.tracker is not None else 0
        if held != flow.counted:
            self.held_octets += held - flow.counted
            flow.counted = held

    def remove(self, flow: Flow) -> None:
        self.held_octets -= flow.counted
        flow.counted = 0
        for side in (flow.client_side, flow.server_side):
            if self.sides.get(side.key) is side:
                del self.sides[side.key]

    def get(
        self, source: Endpoint, destination: Endpoint, protocol: int = PROTO_TCP
    ) -> Flow | None:
        """The flow that packets from `source` to `destination` belong to."""
        side = self.sides.get(key(source, destination, protocol))
        return side.flow if side else None

    def taken(self, member: Endpoint, snat: Endpoint, protocol: int = PROTO_TCP) -> bool:
        """Whether the server-side tuple is in use."""
        return key(member, snat, protocol) in self.sides

    def taken_of(self, protocol: int) -> Callable[[Endpoint, Endpoint], bool]:
        """`taken` for one protocol."""
        return lambda member, snat: self.taken(member, snat, protocol)

    def flows(self) -> list[Flow]:
        """Every flow once, oldest first."""
        return [side.flow for side in self.sides.values() if side.from_client]

    def __len__(self) -> int:
        return len(self.sides) // 2


def tally(side: Side, segment: Segment) -> None:
    """One packet more that was decided on."""
    side.packets += 1
    side.octets += ip_octets(segment)


def ip_octets(segment: Segment) -> int:
    """The IP packet's."""
    return 40 + len(segment.options) + len(segment.payload)


def reopens(side: Side, segment: Segment) -> bool:
    """A client's SYN on a flow that is closing, or never came to be, starts a new connection."""
    unmade = side.flow.state is FlowState.PENDING and side.flow.tracker is not None
    closing = side.flow.state is FlowState.CLOSING or unmade
    return closing and side.from_client and segment.flags & (SYN | ACK) == SYN
