"""Flows nobody uses: which may expire, and how their ends are told."""

from __future__ import annotations

from emulator.core.flow import Flow, FlowState
from emulator.wire.segment import RST, Segment
from emulator.wire.seqnum import SeqNum


def can_expire(flow: Flow) -> bool:
    """Its idle timer runs: nothing holds its first packet back, nor is it closing."""
    return flow.state in (FlowState.OPEN, FlowState.TAKEN) or flow.tracker is not None


def resets(flow: Flow) -> list[Segment]:
    """Resets both ends accept: each carries the sequence number that end expects next."""
    record = flow.record
    ends = (
        (flow.client_side, record.virtual, record.client),
        (flow.server_side, record.snat, record.member),
    )
    return [
        Segment(source, target, SeqNum(int.from_bytes(side.ack, "big")), SeqNum(0), RST)
        for side, source, target in ends
        if side.ack
    ]
