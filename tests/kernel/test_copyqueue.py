"""What the kernel's messages of queued packets are read as; the queue itself: test_nfqueue."""

from __future__ import annotations

import errno
import struct
from typing import Any

import pytest

from emulator.device.mirrorpath import TOGETHER, TOGETHER_OCTETS
from emulator.kernel import copyqueue
from emulator.kernel.copyqueue import KEPT, CopiedPacket, CopyQueue


def attribute(kind: int, value: bytes) -> bytes:
    head = struct.pack("HH", 4 + len(value), kind)
    return head + value + b"\0" * (-len(value) % 4)


def message(number: int, payload: bytes, *more: bytes, kind: int = 3 << 8) -> bytes:
    """As nfnetlink_queue makes it: the payload last, and not padded."""
    parts = attribute(1, struct.pack("!IHB", number, 0x0800, 3)) + b"".join(more)
    body = parts + struct.pack("HH", 4 + len(payload), 10) + payload
    return struct.pack("IHHII", 20 + len(body), kind, 0, 0, 0) + b"\2\0\0\1" + body


@pytest.mark.parametrize("size", [1, 40, 41, 65531])
def test_a_packet_is_read_whatever_else_is_told_of_it(size: int) -> None:
    payload = bytes(range(256)) * 256
    told = (
        attribute(5, struct.pack("!I", 7)),
        attribute(9, b"\0\6\0\0abcdef"),
        attribute(3, b"mark"),
    )
    packet = CopiedPacket(None, memoryview(message(5, payload[:size], *told)))  # type: ignore[arg-type]
    assert (packet.number, packet.hook, packet.indev) == (5, 3, 7)
    assert packet.get_payload() == payload[:size]


class Kernel:
    """The netlink socket's other end."""

    def __init__(self, messages: list[bytes]) -> None:
        self.messages, self.verdicts = messages, list[tuple[int, int]]()
        self.sent = 0

    def recv_into(self, room: memoryview, _: int, __: int) -> int:
        if not self.messages:
            raise BlockingIOError
        if not (data := self.messages.pop(0)):
            raise OSError(errno.ENOBUFS, "packets were lost")
        room[: len(data)] = data
        return len(data)

    def send(self, data: bytes) -> None:
        self.sent += 1
        for at in range(0, len(data), 32):
            assert struct.unpack_from("IHHII", data, at) == (32, 3 << 8 | 1, 1, 0, 0)
            self.verdicts.append(struct.unpack_from("!II", data, at + 24))


def queue(kernel: Kernel, on_packet: Any) -> CopyQueue:
    made = CopyQueue.__new__(CopyQueue)
    made._on_copied, made._netlink = on_packet, kernel  # type: ignore[assignment]
    made._arena = memoryview(bytearray(copyqueue._ARENA))
    head = struct.pack("IHHII", 32, 3 << 8 | 1, 1, 0, 0) + struct.pack("!BBH", 0, 0, 2)
    made._verdict = head + struct.pack("HH", 12, 2)
    return made


def test_what_is_no_packet_is_nothing_and_a_lost_one_does_not_end_the_rest() -> None:
    error = message(1, b"x", kind=2)
    kernel, seen = Kernel([message(1, b"one"), error, b"", message(2, b"two")]), list[bytes]()
    queue(kernel, lambda packet: seen.append(packet.get_payload())).process()
    assert seen == [b"one", b"two"]


def test_many_are_accepted_together_in_order() -> None:
    kernel, seen = Kernel([message(n, b"x") for n in range(300)]), list[CopiedPacket]()
    made = queue(kernel, seen.append)
    made.process()
    made.accept(seen[1:])
    seen[0].drop()
    assert kernel.verdicts == [*((1, n) for n in range(1, 300)), (0, 0)]
    assert kernel.sent == 2


def test_a_packet_stays_until_as_much_has_come_as_is_promised() -> None:
    """What the mirror path collects for one write is a part of that."""
    size = 60_000
    kernel = Kernel([message(n, bytes([n]) * size) for n in range(100)])
    seen: list[CopiedPacket] = []

    def look(packet: CopiedPacket) -> None:
        seen.append(packet)
        for earlier in seen[-(KEPT // size) :]:
            assert earlier.data[:1] == earlier.data[-1:] == bytes([earlier.number])

    queue(kernel, look).process()
    assert len(seen) == 100
    headers = TOGETHER * 200
    assert TOGETHER_OCTETS + copyqueue._LARGEST + headers <= KEPT


def test_the_kernel_is_not_there() -> None:
    """An error that is none of these is told."""

    class Broken(Kernel):
        def recv_into(self, *_: object) -> int:
            raise OSError(errno.EBADF, "bad descriptor")

    with pytest.raises(OSError, match="bad descriptor"):
        queue(Broken([]), None).process()
