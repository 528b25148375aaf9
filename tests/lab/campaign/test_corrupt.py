"""A byte altered on the way, and the checksum right all the same."""

from __future__ import annotations

import random

from emulator.lab.campaign.corrupt import altered
from emulator.wire.segment import PROTO_TCP, Segment, checksum
from tests.support.segments import data, syn


def test_one_byte_of_the_payload_is_another_and_nothing_else() -> None:
    for seed in range(50):
        packet = data(payload=bytes(range(100))).emit()
        changed = altered(packet, random.Random(seed))
        assert changed is not None
        before, after = Segment.parse(packet), Segment.parse(changed)
        assert sum(a != b for a, b in zip(before.payload, after.payload, strict=True)) == 1
        assert (before.seq, before.ack, before.flags) == (after.seq, after.ack, after.flags)
        pseudo = changed[12:20] + bytes([0, PROTO_TCP]) + (len(changed) - 20).to_bytes(2, "big")
        assert checksum(pseudo + changed[20:]) == 0


def test_a_packet_without_payload_is_left_alone() -> None:
    assert altered(syn().emit(), random.Random(1)) is None
