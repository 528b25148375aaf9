"""Flows into and out of the kernel's connection tracking, over ctnetlink.

An entry put in before the packet is tracked makes the kernel translate that packet and
every later one, both ways. The trap: the entry must carry the *un-translated* reply tuple
(the plain inverse) plus CTA_NAT_SRC and CTA_NAT_DST; with the translated reply tuple the
NAT bits are not set and packets pass unchanged. It works only in a namespace whose
conntrack and NAT hooks are registered (`kernel.rules`).

State ESTABLISHED with both window checks liberal: the device may meet a flow in the middle.
"""

from __future__ import annotations

import errno
import os
import socket
import struct

from emulator.wire.mirror import FlowRecord, SnatKind
from emulator.wire.segment import PROTO_TCP, Endpoint

_CT_NEW, _CT_DELETE = (1 << 8) | 0, (1 << 8) | 2
_REQUEST, _ACK, _EXCL, _CREATE = 0x01, 0x04, 0x200, 0x400
_NETLINK_NETFILTER = 12  # not in the socket module
_NLMSG_ERROR = 2
_NESTED = 0x8000
_SEEN_REPLY_ASSURED_CONFIRMED = 0x0E
_ESTABLISHED = 3
_LIBERAL = bytes((0x0A, 0x0A))  # SACK permitted, be liberal: value and mask
# The kernel's own timer must outlive the device's idle timer, which decides.
_KERNEL_TIMEOUT_S = 86400


class ConntrackError(OSError):
    """The kernel refused an entry; errno says why."""


class Conntrack:
    """One ctnetlink socket of the calling thread's namespace."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_NETFILTER)
        self._socket.bind((0, 0))
        self._sequence = 0

    def install(self, record: FlowRecord) -> None:
        """Translate and forward this flow from now on; an older entry gives way.

        Raises ConntrackError.
        """
        try:
            self._call(_CT_NEW, _CREATE | _EXCL, _entry(record))
        except ConntrackError as error:
            if error.errno != errno.EEXIST:
                raise
            self.remove(record)
            self._call(_CT_NEW, _CREATE | _EXCL, _entry(record))

    def remove(self, record: FlowRecord) -> bool:
        """Forget the flow; False when the kernel did not know it. Raises ConntrackError."""
        try:
            ends = _tuple(record.client, record.virtual, record.protocol)
            self._call(_CT_DELETE, 0, _attribute(1, ends, True))
        except ConntrackError as error:
            if error.errno != errno.ENOENT:
                raise
            return False
        return True

    def close(self) -> None:
        self._socket.close()

    def _call(self, kind: int, flags: int, body: bytes) -> None:
        self._sequence += 1
        body = struct.pack("!BBH", socket.AF_INET, 0, 0) + body
        head = struct.pack(
            "IHHII", 16 + len(body), kind, _REQUEST | _ACK | flags, self._sequence, 0
        )
        self._socket.send(head + body)
        while True:
            answer = self._socket.recv(8192)
            _, answered, _, sequence, _ = struct.unpack_from("IHHII", answer)
            if sequence != self._sequence or answered != _NLMSG_ERROR:
                continue
            (code,) = struct.unpack_from("i", answer, 16)
            if code:
                raise ConntrackError(-code, os.strerror(-code))
            return


def _attribute(kind: int, value: bytes, nested: bool = False) -> bytes:
    length = 4 + len(value)
    return (
        struct.pack("HH", length, kind | (_NESTED if nested else 0)) + value + b"\0" * (-length % 4)
    )


def _tuple(source: Endpoint, destination: Endpoint, number: int) -> bytes:
    addresses = _attribute(1, source.address.packed) + _attribute(2, destination.address.packed)
    protocol = (
        _attribute(1, bytes((number,)))
        + _attribute(2, struct.pack("!H", source.port))
        + _attribute(3, struct.pack("!H", destination.port))
    )
    return _attribute(1, addresses, True) + _attribute(2, protocol, True)


def _nat(kind: int, target: Endpoint) -> bytes:
    address = target.address.packed
    port = struct.pack("!H", target.port)
    ports = _attribute(3, _attribute(1, port) + _attribute(2, port), True)
    return _attribute(kind, _attribute(1, address) + _attribute(2, address) + ports, True)


def _entry(record: FlowRecord) -> bytes:
    tcp = _attribute(1, bytes((_ESTABLISHED,))) + _attribute(4, _LIBERAL) + _attribute(5, _LIBERAL)
    protocol = record.protocol
    body = (
        _attribute(1, _tuple(record.client, record.virtual, protocol), True)
        + _attribute(2, _tuple(record.virtual, record.client, protocol), True)
        + _attribute(3, struct.pack("!I", _SEEN_REPLY_ASSURED_CONFIRMED))
        + (_attribute(4, _attribute(1, tcp, True), True) if protocol == PROTO_TCP else b"")
        + _attribute(7, struct.pack("!I", _KERNEL_TIMEOUT_S))
    )
    if record.member != record.virtual:  # else nothing is translated: a forwarding server's
        body += _nat(13, record.member)
    if record.snat_kind is not SnatKind.NONE:
        body += _nat(6, record.snat)
    return body
