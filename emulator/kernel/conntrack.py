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
import re
import socket
import struct
from collections.abc import Iterator, Sequence
from functools import cache
from ipaddress import IPv4Address

from emulator.wire.mirror import FlowRecord, SnatKind
from emulator.wire.segment import PROTO_TCP, Endpoint

_CT_NEW, _CT_DELETE = (1 << 8) | 0, (1 << 8) | 2
_REQUEST, _ACK, _EXCL, _CREATE = 0x01, 0x04, 0x200, 0x400
_HEADER = struct.Struct("=IIII")  # of a message: length, type and flags (16 bits each), ...
_INSTALL = _CT_NEW | (_REQUEST | _CREATE | _EXCL) << 16
_DELETE = _CT_DELETE | _REQUEST << 16
_GENERIC = struct.pack("!BBH", socket.AF_INET, 0, 0)
TOGETHER = 64  # changes in one write
_RECEIVE = 1 << 17  # answers to as many: an error quotes what it is about
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
        for *_, error in self.change([(record, True)]):
            raise error

    def remove(self, record: FlowRecord) -> bool:
        """Forget the flow; False when the kernel did not know it. Raises ConntrackError."""
        errors = self._exchange([_message(record, False)])
        if errors and errors[0] != errno.ENOENT:
            raise _refused(errors[0])
        return not errors

    def change(
        self, changes: Sequence[tuple[FlowRecord, bool]]
    ) -> list[tuple[FlowRecord, bool, ConntrackError]]:
        """Install (True) and remove (False) flows, in this order and as far as the kernel takes
        them; returns what it refused. To remove one it does not know is no error."""
        refused = []
        for at in range(0, len(changes), TOGETHER):
            batch = changes[at : at + TOGETHER]
            errors = self._exchange([_message(record, installed) for record, installed in batch])
            for number, code in errors.items():
                record, installed = batch[number]
                if installed and code == errno.EEXIST:  # the older one gives way
                    again = [_message(record, False), _message(record, True)]
                    code = self._exchange(again).get(1, 0)
                elif not installed and code == errno.ENOENT:
                    code = 0
                if code:
                    refused.append((record, installed, _refused(code)))
        return refused

    def close(self) -> None:
        self._socket.close()

    def _exchange(self, messages: Sequence[tuple[int, bytes]]) -> dict[int, int]:
        """Hand these over in one write: (type and flags, body) each. Those that failed, by their
        place, and their errno; only the last one's success is answered by the kernel."""
        first = self._sequence + 1
        last = self._sequence = self._sequence + len(messages)
        packed: list[bytes] = []
        for sequence, (kind, body) in enumerate(messages, first):
            kind |= _ACK << 16 if sequence == last else 0
            packed += (_HEADER.pack(16 + len(body), kind, sequence, 0), body)
        self._socket.send(b"".join(packed))
        errors: dict[int, int] = {}
        while True:
            for answered, sequence, code in _answers(self._socket.recv(_RECEIVE)):
                if answered != _NLMSG_ERROR or not first <= sequence <= last:
                    continue
                if code:
                    errors[sequence - first] = -code
                if sequence == last:
                    return errors


def _refused(code: int) -> ConntrackError:
    return ConntrackError(code, os.strerror(code))


def _answers(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Type, sequence and error code of each message of one datagram."""
    at = 0
    while at + 20 <= len(data):
        length, kind, _, sequence, _, code = struct.unpack_from("IHHIIi", data, at)
        yield kind, sequence, code
        at += max(16, -(-length // 4) * 4)


def _message(record: FlowRecord, installed: bool) -> tuple[int, bytes]:
    """Type and flags, and the body, of what puts a flow in or takes it out.

    Flows of one kind differ in addresses and ports only: the rest of the message is made once.
    """
    client, virtual = record.client, record.virtual
    if not installed:
        return _DELETE, _fill(_deletion(record.protocol), (client, virtual))
    form = _form(record.protocol, record.member != virtual, record.snat_kind is not SnatKind.NONE)
    return _INSTALL, _fill(form, (client, virtual, record.member, record.snat))


# A message cut up: what is the same for all flows, then the number of a value, and so on.
_Form = tuple[list[bytes], list[int]]
# What stands for the values where a form is made: nothing else in a message looks like these.
_MARKS = [Endpoint(IPv4Address(f"241.{n}.242.{n}"), 0xF300 | n) for n in range(1, 5)]


def _fill(form: _Form, ends: tuple[Endpoint, ...]) -> bytes:
    """A form with these ends' addresses and ports in it."""
    constant, order = form
    values = [v for end in ends for v in (end.address.packed, end.port.to_bytes(2, "big"))]
    parts = constant.copy()
    parts[1::2] = [values[number] for number in order]
    return b"".join(parts)


def _cut(message: bytes) -> _Form:
    """The form of a message made of _MARKS."""
    marks = [m for e in _MARKS for m in (e.address.packed, e.port.to_bytes(2, "big"))]
    parts = re.split(b"(" + b"|".join(re.escape(m) for m in marks) + b")", message)
    return parts, [marks.index(part) for part in parts[1::2]]


@cache
def _deletion(protocol: int) -> _Form:
    client, virtual, *_ = _MARKS
    return _cut(_GENERIC + _attribute(1, _tuple(client, virtual, protocol), True))


@cache
def _form(protocol: int, translated: bool, source_translated: bool) -> _Form:
    return _cut(_GENERIC + _entry(protocol, translated, source_translated))


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


def _entry(protocol: int, translated: bool, source_translated: bool) -> bytes:
    """An entry for _MARKS: client, virtual server, member, SNAT."""
    client, virtual, member, snat = _MARKS
    tcp = _attribute(1, bytes((_ESTABLISHED,))) + _attribute(4, _LIBERAL) + _attribute(5, _LIBERAL)
    body = (
        _attribute(1, _tuple(client, virtual, protocol), True)
        + _attribute(2, _tuple(virtual, client, protocol), True)
        + _attribute(3, struct.pack("!I", _SEEN_REPLY_ASSURED_CONFIRMED))
        + (_attribute(4, _attribute(1, tcp, True), True) if protocol == PROTO_TCP else b"")
        + _attribute(7, struct.pack("!I", _KERNEL_TIMEOUT_S))
    )
    if translated:  # else nothing is: a forwarding server's
        body += _nat(13, member)
    if source_translated:
        body += _nat(6, snat)
    return body
