"""Does the mirroring channel's port get through, each way? Asked with one SYN each way.

    bigip-a:ha --SYN--> bigip-b:1029     seen there?  a's packets reach b
    bigip-a:ha <--SYN-- bigip-b:ha       and the other way round

A connection would be no test: a device takes a new one for its peer's and gives the old one up.
A half-open attempt never reaches it: the prober's kernel, which has no such socket, resets the
answer. A raw socket in the other device's namespace sees the SYN itself, so one direction is
known without the other. Nothing is changed at the devices.
"""

from __future__ import annotations

import contextlib
import secrets
import select
import socket
import time

from emulator.lab.deployment import DEVICES
from emulator.lab.instance import Lab
from emulator.wire.segment import SYN, Endpoint, Segment, SegmentError
from emulator.wire.seqnum import SeqNum
from netns.execute import call_in

MIRROR_PORT = 1029  # of the pair's one traffic group
ATTEMPTS, PATIENCE_S = 3, 0.4


def probe(lab: Lab, *, attempts: int = ATTEMPTS) -> dict[str, bool]:
    """By sender: whether its packets to the other's port arrive. Raises NamespaceError, OSError."""
    return {a: _arrives(lab, a, b, attempts) for a, b in (DEVICES, reversed(DEVICES))}


def _arrives(lab: Lab, sender: str, receiver: str, attempts: int) -> bool:
    ends = [lab.world.interface(node, "ha").address for node in (sender, receiver)]
    source = Endpoint(ends[0], 40000 + secrets.randbelow(20000))
    target = Endpoint(ends[1], MIRROR_PORT)
    with contextlib.ExitStack() as stack:
        out = stack.enter_context(call_in(lab.world.namespace(sender), _sender))
        ear = stack.enter_context(call_in(lab.world.namespace(receiver), _listener))
        for _ in range(attempts):
            sequence = SeqNum(secrets.randbits(32))
            syn = Segment(source, target, sequence, SeqNum(0), SYN, window=1024)
            with contextlib.suppress(OSError):  # a device that is cut off may not even send
                out.sendto(syn.emit(), (str(target.address), 0))
            if _heard(ear, source, sequence):
                return True
    return False


def _sender() -> socket.socket:
    return socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)


def _listener() -> socket.socket:
    ear = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_TCP)
    ear.setblocking(False)
    return ear


def _heard(ear: socket.socket, source: Endpoint, sequence: SeqNum) -> bool:
    """Whether that SYN comes in, among all the TCP of the device."""
    deadline = time.monotonic() + PATIENCE_S
    while (left := deadline - time.monotonic()) > 0:
        if not select.select([ear], [], [], left)[0]:
            return False
        with contextlib.suppress(BlockingIOError, SegmentError):
            segment = Segment.parse(ear.recv(65535))
            if (segment.source, segment.seq) == (source, sequence):
                return True
    return False
