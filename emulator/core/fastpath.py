"""Established segments: one dictionary look-up on raw header bytes, no object per packet.

`established` answers True only for a segment that needs no decision: its flow is open and
it carries no SYN, FIN or RST. `known` has those of a fastL4 flow's life of which nothing comes
but their release. Everything else goes the long way, through `core.device`.
"""

from __future__ import annotations

from collections.abc import Callable, Container

from emulator.core.flow import Flow, FlowState, Side
from emulator.wire.segment import PROTO_UDP
from emulator.wire.seqnum import SeqNum

_FIN, _SYN, _RST = 0x01, 0x02, 0x04
_DECIDES = _FIN | _SYN | _RST
_SYN_ACK = 0x12
_OPEN, _CLOSING = FlowState.OPEN, FlowState.CLOSING
_ALL, _HALF = (1 << 32) - 1, 1 << 31
_UDP = bytes([PROTO_UDP])


def established(sides: dict[bytes, Side], packet: bytes, now: float) -> bool:
    """Whether `packet` (an IP packet, at least its headers) may pass at once.

    Notes the flow's activity and the sender's acknowledgement on the way. Never raises:
    what is no IPv4 packet with whole headers is False, and the parser says why.
    """
    if len(packet) < 40:
        return False
    ihl = packet[0] * 4 - 256  # the first byte is 0x40 + words; other versions fall outside
    side = sides.get(packet[12:20] + packet[ihl : ihl + 4])
    if side is None or packet[9] != 6:
        return False
    if ihl != 20 and not 20 < ihl <= min(60, len(packet) - 20):
        return False
    flow = side.flow
    if packet[ihl + 13] & _DECIDES or flow.state is not _OPEN:
        return False
    side.ack = packet[ihl + 8 : ihl + 12]
    flow.seen = now
    side.packets += 1
    side.octets += packet[2] << 8 | packet[3]
    return True


def known(
    sides: dict[bytes, Side],
    packet: bytes,
    now: float,
    leave: Callable[[Flow], None],
    loose_close: Container[str],
) -> bool:
    """Whether `packet` may pass at once though it is no established segment: a SYN-ACK or FIN of
    an open fastL4 flow, or of one that is closing; without IP options.

    Notes on the flow what `core.traffic` would. `leave`: what to do at its FINs; `loose_close`:
    the virtual servers whose flows one FIN closes.
    """
    if len(packet) < 40 or packet[0] != 0x45 or packet[9] != 6 or packet[6] & 0x3F or packet[7]:
        return False
    side = sides.get(packet[12:24])
    if side is None:
        return False
    flow, flags, total = side.flow, packet[33], packet[2] << 8 | packet[3]
    if flow.standard or (flow.state is not _OPEN and flow.state is not _CLOSING):
        return False
    header = packet[32] >> 4 << 2
    if flags & _RST or flags & _SYN_ACK == _SYN or not 20 <= header <= total - 20:
        return False
    if flags & _FIN:
        leave(flow)
        side.fin = True
        both = flow.client_side.fin and flow.server_side.fin
        if both or flow.record.virtual_server in loose_close:
            flow.state = _CLOSING
    side.ack = packet[28:32]
    flow.seen = now
    side.packets += 1
    side.octets += total
    return True


def mirrored(
    sides: dict[bytes, Side], packet: bytes, size: int, now: float
) -> tuple[Flow, int] | None:
    """The flow and payload length of a packet, if it is of an open flow whose segments are
    mirrored and nothing else is to be decided about it; without IP options. `packet`: at least
    its first 40 bytes; `size`: how many were copied.

    Notes the flow's activity and how far the sender's segments have come.
    """
    if len(packet) < 40 or packet[0] != 0x45 or packet[9] != 6:
        return None
    side = sides.get(packet[12:24])
    if side is None or packet[33] & _DECIDES or packet[6] & 0x3F or packet[7]:
        return None
    flow = side.flow
    total, header = packet[2] << 8 | packet[3], packet[32] >> 4 << 2
    content = total - 20 - header
    if not flow.copied or flow.state is not _OPEN or total != size:
        return None
    if header < 20 or content < 0:
        return None
    end = (int.from_bytes(packet[24:28], "big") + content) & _ALL
    if side.edge is None or 0 < (end - side.edge.value) & _ALL < _HALF:
        side.edge = SeqNum(end)
    flow.seen = now
    side.packets += 1
    side.octets += total
    return flow, content


def datagram(sides: dict[bytes, Side], packet: bytes, now: float) -> bool:
    """`established` for a UDP datagram: its flow is open, so it needs no decision. A fragment
    has no ports of its own, or is followed by some without."""
    if len(packet) < 28 or packet[9] != PROTO_UDP or packet[6] & 0x3F or packet[7]:
        return False
    ihl = packet[0] * 4 - 256
    if not 20 <= ihl <= min(60, len(packet) - 8):
        return False
    side = sides.get(packet[12:20] + packet[ihl : ihl + 4] + _UDP)
    if side is None or side.flow.state is not _OPEN:
        return False
    side.flow.seen = now
    side.packets += 1
    side.octets += packet[2] << 8 | packet[3]
    return True
