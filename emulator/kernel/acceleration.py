"""Flows whose established segments pass without being seen by Python: a set in the kernel.

    prerouting, before the queue's rule:   no SYN, FIN or RST
                                           (addresses, ports) in the set    -> mark ACCELERATED
    the queue's rule (`kernel.rules`):     marked so                        -> not queued

What is in the set is the device's table key of one direction, the raw bytes of the headers. The
kernel counts each element's packets and bytes, so the device's own accounts and idle timers
stay right: `read` asks for what is new. (It could say as well when each was used last; the nft
program of today's distributions crashes where it meets a set that does.)

The table has an owner, this socket: it goes when the process does, however it dies, and then
every packet is queued for nobody and dropped, as a dead device's are. Needs Linux 5.12; without
it the first `add` raises OSError and the flows stay seen.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterable, Iterator

ACCELERATED = 0x200  # a packet's mark
_TABLE, _SET, _CHAIN = b"mirrorlab\0", b"accelerated\0", b"accelerate\0"
_PRIORITY = -310  # raw is -300
_SIZE = 1 << 18
_KEY_OCTETS = 12  # two addresses, two ports
# As the nft program names its parts when it lists them: address, address, mark (the ports).
_KEY_TYPE = 7 << 12 | 7 << 6 | 19
_RECEIVE = 1 << 17

_NETLINK_NETFILTER = 12  # not in the socket module
_NFTABLES = 10 << 8
_BATCH_BEGIN, _BATCH_END = 0x10, 0x11
_NEW_TABLE, _NEW_CHAIN, _NEW_RULE, _NEW_SET = 0, 3, 6, 9
_NEW_ELEMENT, _GET_ELEMENT, _DELETE_ELEMENT = 12, 13, 14
_REQUEST, _ACK, _DUMP, _CREATE, _APPEND = 0x01, 0x04, 0x300, 0x400, 0x800
_ERROR, _DONE = 2, 3
_NESTED = 0x8000
_OWNER = 2  # NFT_TABLE_F_OWNER
_WITH_EXPRESSIONS = 0x100  # NFT_SET_EXPR
_PREROUTING = 0
_NETWORK, _TRANSPORT = 1, 2
_L4PROTO, _MARK = 16, 3
_FIRST, _THIRD = 8, 10  # registers: 32 bits each from 8 on
_TCP = 6
_DECIDES = 0x01 | 0x02 | 0x04  # FIN, SYN, RST: always queued


class Acceleration:
    """The set of one namespace, made when it is first needed."""

    def __init__(self) -> None:
        self._socket: socket.socket | None = None
        self._sequence = 0
        self._known: dict[bytes, tuple[int, int]] = {}  # packets and bytes already told

    def __len__(self) -> int:
        """Directions, two to a flow."""
        return len(self._known)

    def add(self, keys: Iterable[bytes]) -> None:
        """From now on packets with these keys pass; raises OSError."""
        fresh = [key for key in keys if key not in self._known]
        if fresh:
            self._elements(_NEW_ELEMENT, fresh)
            self._known.update(dict.fromkeys(fresh, (0, 0)))

    def remove(self, keys: Iterable[bytes]) -> None:
        """Packets with these keys are queued again; raises OSError."""
        stale = [key for key in keys if self._known.pop(key, None) is not None]
        if stale:
            self._elements(_DELETE_ELEMENT, stale)

    def clear(self) -> None:
        """Raises OSError."""
        self.remove(list(self._known))

    def read(self) -> list[tuple[bytes, int, int]]:
        """Of each key that was used: packets and bytes since it was read last; raises OSError."""
        found = []
        for key, packets, octets in self._dump() if self._known else ():
            told = self._known.get(key)
            if told is not None and told[0] != packets:
                found.append((key, packets - told[0], octets - told[1]))
                self._known[key] = packets, octets
        return found

    def close(self) -> None:
        """The set is gone."""
        if self._socket is not None:
            self._socket.close()
        self._socket = None
        self._known.clear()

    def _open(self) -> socket.socket:
        if self._socket is None:
            self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_NETFILTER)
            self._socket.bind((0, 0))
            try:
                self._call(_creation())
            except OSError:
                self.close()
                raise
        return self._socket

    def _elements(self, kind: int, keys: list[bytes]) -> None:
        self._open()
        flags = _CREATE if kind == _NEW_ELEMENT else 0
        for at in range(0, len(keys), 500):  # a list's length is 16 bits
            self._call([(kind, flags, _element_list(keys[at : at + 500]))])

    def _call(self, messages: list[tuple[int, int, bytes]]) -> None:
        """All of them or none; raises OSError with the kernel's reason."""
        assert self._socket is not None
        batch = self._message(_BATCH_BEGIN, 0, b"", number=10)
        for at, (kind, flags, body) in enumerate(messages):
            wanted = _ACK if at == len(messages) - 1 else 0
            batch += self._message(_NFTABLES | kind, flags | wanted, body)
        last = self._sequence
        self._socket.send(batch + self._message(_BATCH_END, 0, b"", number=10))
        while True:
            for answered, sequence, body in _messages(self._socket.recv(_RECEIVE)):
                if answered != _ERROR:
                    continue
                (code,) = struct.unpack_from("i", body)
                if code:
                    raise OSError(-code, os.strerror(-code))
                if sequence == last:
                    return

    def _dump(self) -> Iterator[tuple[bytes, int, int]]:
        self._open()
        assert self._socket is not None
        body = _attribute(1, _TABLE) + _attribute(2, _SET)
        self._socket.send(self._message(_NFTABLES | _GET_ELEMENT, _DUMP, body))
        while True:
            for kind, sequence, answer in _messages(self._socket.recv(_RECEIVE)):
                if sequence != self._sequence:
                    continue
                if kind == _DONE:
                    return
                if kind == _ERROR:
                    (code,) = struct.unpack_from("i", answer)
                    raise OSError(-code, os.strerror(-code))
                for _, element in _split(_attributes(answer[4:]).get(3, b"")):
                    yield _reading(element)

    def _message(self, kind: int, flags: int, body: bytes, number: int = 0) -> bytes:
        self._sequence += 1
        body = struct.pack("!BBH", socket.AF_INET, 0, number) + body
        return struct.pack(
            "IHHII", 16 + len(body), kind, _REQUEST | flags, self._sequence, 0
        ) + body  # fmt: skip


def _creation() -> list[tuple[int, int, bytes]]:
    """The table, its set, its chain and the rule."""
    table = _attribute(1, _TABLE)
    counted = _list(_expression(b"counter\0", b""))
    the_set = (
        table + _attribute(2, _SET) + _u32(3, _WITH_EXPRESSIONS) + _u32(4, _KEY_TYPE)
        + _u32(5, _KEY_OCTETS) + _nest(9, _u32(1, _SIZE)) + _u32(10, 1) + _nest(18, counted)
    )  # fmt: skip
    hook = _nest(4, _u32(1, _PREROUTING) + _u32(2, _PRIORITY & 0xFFFFFFFF))
    chain = table + _attribute(3, _CHAIN) + hook + _attribute(7, b"filter\0")
    rule = table + _attribute(2, _CHAIN) + _nest(4, _rule())
    return [
        (_NEW_TABLE, _CREATE, table + _u32(2, _OWNER)),
        (_NEW_SET, _CREATE, the_set),
        (_NEW_CHAIN, _CREATE, chain),
        (_NEW_RULE, _CREATE | _APPEND, rule),
    ]


def _rule() -> bytes:
    """TCP without SYN, FIN and RST, addresses and ports in the set: mark it."""
    return _list(
        _expression(b"meta\0", _u32(1, _FIRST) + _u32(2, _L4PROTO)),
        _equals(bytes([_TCP])),
        _expression(b"payload\0", _u32(1, _FIRST) + _u32(2, _TRANSPORT) + _u32(3, 13) + _u32(4, 1)),
        _expression(
            b"bitwise\0",
            _u32(1, _FIRST) + _u32(2, _FIRST) + _u32(3, 1)
            + _nest(4, _attribute(1, bytes([_DECIDES]))) + _nest(5, _attribute(1, b"\0")),
        ),
        _equals(b"\0"),
        _expression(b"payload\0", _u32(1, _FIRST) + _u32(2, _NETWORK) + _u32(3, 12) + _u32(4, 8)),
        _expression(b"payload\0", _u32(1, _THIRD) + _u32(2, _TRANSPORT) + _u32(3, 0) + _u32(4, 4)),
        _expression(b"lookup\0", _attribute(1, _SET) + _u32(2, _FIRST)),
        _expression(
            b"immediate\0",
            _u32(1, _FIRST) + _nest(2, _attribute(1, struct.pack("I", ACCELERATED))),
        ),
        _expression(b"meta\0", _u32(2, _MARK) + _u32(3, _FIRST)),
    )  # fmt: skip


def _equals(value: bytes) -> bytes:
    return _expression(b"cmp\0", _u32(1, _FIRST) + _u32(2, 0) + _nest(3, _attribute(1, value)))


def _expression(name: bytes, attributes: bytes) -> bytes:
    return _attribute(1, name) + _nest(2, attributes)


def _list(*expressions: bytes) -> bytes:
    return b"".join(_nest(1, expression) for expression in expressions)


def _element_list(keys: list[bytes]) -> bytes:
    elements = b"".join(_nest(1, _nest(1, _attribute(1, key))) for key in keys)
    return _attribute(1, _TABLE) + _attribute(2, _SET) + _nest(3, elements)


def _reading(element: bytes) -> tuple[bytes, int, int]:
    """One element's key, packets and bytes."""
    parts = _attributes(element)
    # Of a single expression the kernel tells by itself, of more in a list.
    counter = _attributes(_attributes(parts[7])[2])
    octets, packets = (int.from_bytes(counter[at], "big") for at in (1, 2))
    return _attributes(parts[1])[1], packets, octets


def _attribute(kind: int, value: bytes) -> bytes:
    return struct.pack("HH", 4 + len(value), kind) + value + b"\0" * (-len(value) % 4)


def _nest(kind: int, value: bytes) -> bytes:
    return _attribute(kind | _NESTED, value)


def _u32(kind: int, value: int) -> bytes:
    return _attribute(kind, struct.pack("!I", value))


def _attributes(data: bytes) -> dict[int, bytes]:
    """By kind, where each is there once."""
    return dict(_split(data))


def _split(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Kind and value of each attribute."""
    at = 0
    while at + 4 <= len(data):
        length, kind = struct.unpack_from("HH", data, at)
        yield kind & ~_NESTED, data[at + 4 : at + length]
        at += -(-length // 4) * 4


def _messages(data: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Type, sequence and body of each message of one datagram."""
    while len(data) >= 16:
        length, kind, _, sequence, _ = struct.unpack_from("IHHII", data)
        yield kind, sequence, data[16:length]
        data = data[-(-length // 4) * 4 :]
