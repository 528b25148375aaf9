"""pcapng capture files: the blocks the lab needs, read and written.

Source: the pcapng specification (draft-ietf-opsawg-pcapng), blocks SHB, IDB, EPB and, written
only, NRB; on reading also SPB (which has no time: 0) and the obsolete packet block; every other
block is skipped. Written timestamps are nanoseconds.

`read` takes anything with `.read(n)` and yields frames as it goes, so memory stays bounded.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import Protocol

LINKTYPE_ETHERNET = 1
SHB, IDB, NRB, EPB = 0x0A0D0D0A, 0x00000001, 0x00000004, 0x00000006
_SPB, _OLD_PB = 0x00000003, 0x00000002
_MAX_BLOCK = 1 << 24
_OPT_COMMENT, _IF_NAME, _IF_DESCRIPTION, _IF_TSRESOL, _SHB_APPLICATION = 1, 2, 3, 9, 4
_EPB_FLAGS, _NRB_IPV4 = 2, 1
_MAX_OPTION = 65000


class PcapngError(ValueError):
    """The file is not readable pcapng; the text names the byte offset."""


class PcapngCut(PcapngError):
    """The file ends in the middle of a block; what came before is good."""


class Source(Protocol):
    """What `read` reads from."""

    def read(self, size: int, /) -> bytes: ...


@dataclass(frozen=True, slots=True)
class Interface:
    """A capture point. `description` carries the lab's "key=value" notes."""

    name: str
    description: str
    linktype: int
    ticks_per_s: int


@dataclass(frozen=True, slots=True)
class Frame:
    """One captured frame; `time_ns` since 1970."""

    interface: Interface
    time_ns: int
    data: bytes
    original_length: int


def read(source: Source, *, points: list[Interface] | None = None) -> Iterator[Frame]:
    """Yield the frames of a pcapng stream; PcapngError on a malformed or cut block.

    Every interface the stream describes is added to `points`, frames or none.
    """
    order, offset = "<", 0
    interfaces: list[Interface] = []
    while head := source.read(8):
        if len(head) < 8:
            raise PcapngCut(f"offset {offset}: the file ends inside a block header")
        kind, length = struct.unpack(order + "II", head)
        if kind == SHB:
            magic = source.read(4)
            if magic not in (b"\x4d\x3c\x2b\x1a", b"\x1a\x2b\x3c\x4d"):
                raise PcapngError(f"offset {offset}: not a pcapng section header")
            order = "<" if magic == b"\x4d\x3c\x2b\x1a" else ">"
            length = struct.unpack(order + "I", head[4:])[0]
            interfaces = []
            body = magic + _rest(source, length, 12, offset)
        elif offset == 0:
            raise PcapngError("offset 0: not a pcapng file")
        else:
            body = _rest(source, length, 8, offset)
        if kind == IDB:
            interfaces.append(_interface(body, order, offset))
            if points is not None:
                points.append(interfaces[-1])
        elif kind in (EPB, _OLD_PB, _SPB):
            yield _frame(_as_enhanced(kind, body, order, offset), order, interfaces, offset)
        offset += length


def _rest(source: Source, length: int, had: int, offset: int) -> bytes:
    """The block's body, its trailing length cut off."""
    if length < had + 4 or length % 4 or length > _MAX_BLOCK:
        raise PcapngError(f"offset {offset}: a block of {length} bytes")
    rest = source.read(length - had)
    if len(rest) != length - had:
        raise PcapngCut(f"offset {offset}: the file ends inside a block")
    return rest[:-4]


def _options(data: bytes, order: str) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at + 4 <= len(data):
        code, length = struct.unpack_from(order + "HH", data, at)
        if code == 0:
            return
        yield code, data[at + 4 : at + 4 + length]
        at += 4 + length + (-length % 4)


def _interface(body: bytes, order: str, offset: int) -> Interface:
    if len(body) < 8:
        raise PcapngError(f"offset {offset}: an interface block of {len(body)} bytes")
    (linktype,) = struct.unpack_from(order + "H", body)
    name, description, ticks = "", "", 1_000_000
    for code, value in _options(body[8:], order):
        if code == _IF_NAME:
            name = value.decode(errors="replace")
        elif code == _IF_DESCRIPTION:
            description = value.decode(errors="replace")
        elif code == _IF_TSRESOL and value:
            exponent = value[0] & 0x7F
            ticks = 1 << exponent if value[0] & 0x80 else 10 ** min(exponent, 18)
    return Interface(name, description, linktype, ticks)


def _as_enhanced(kind: int, body: bytes, order: str, offset: int) -> bytes:
    """The body of a packet block of another kind as that of an enhanced one."""
    if kind == EPB:
        return body
    if kind == _OLD_PB and len(body) >= 20:
        (index,) = struct.unpack_from(order + "H", body)
        return struct.pack(order + "I", index) + body[4:]
    if kind == _SPB and len(body) >= 4:
        (original,) = struct.unpack_from(order + "I", body)
        captured = min(original, len(body) - 4)  # cut at the interface's snapshot length
        return struct.pack(order + "IIIII", 0, 0, 0, captured, original) + body[4:]
    raise PcapngError(f"offset {offset}: a packet block of {len(body)} bytes")


def _frame(body: bytes, order: str, interfaces: list[Interface], offset: int) -> Frame:
    if len(body) < 20:
        raise PcapngError(f"offset {offset}: a packet block of {len(body)} bytes")
    index, high, low, captured, original = struct.unpack_from(order + "IIIII", body)
    if index >= len(interfaces):
        raise PcapngError(f"offset {offset}: interface {index} was never described")
    if captured > len(body) - 20:
        raise PcapngError(f"offset {offset}: {captured} bytes captured do not fit the block")
    point = interfaces[index]
    time_ns = ((high << 32) | low) * 1_000_000_000 // point.ticks_per_s
    return Frame(point, time_ns, bytes(body[20 : 20 + captured]), original)


def section(application: str, comment: str = "") -> bytes:
    """The section header block a file starts with."""
    options = _option(_OPT_COMMENT, comment) + _option(_SHB_APPLICATION, application)
    return _block(SHB, struct.pack("<IHHq", 0x1A2B3C4D, 1, 0, -1) + _end(options))


def interface(name: str, description: str = "", linktype: int = LINKTYPE_ETHERNET) -> bytes:
    """An interface description block; packets refer to interfaces by order, from 0."""
    options = _option(_IF_NAME, name) + _option(_IF_DESCRIPTION, description)
    options += struct.pack("<HHBxxx", _IF_TSRESOL, 1, 9)
    return _block(IDB, struct.pack("<HHI", linktype, 0, 0) + _end(options))


def packet(
    index: int,
    time_ns: int,
    data: bytes,
    original_length: int,
    comment: str = "",
    *,
    outgoing: bool | None = None,
) -> bytes:
    """An enhanced packet block; `outgoing`: which way it passed the interface, where known."""
    head = struct.pack(
        "<IIIII", index, time_ns >> 32, time_ns & 0xFFFFFFFF, len(data), original_length
    )
    options = _option(_OPT_COMMENT, comment)
    if outgoing is not None:
        options += struct.pack("<HHI", _EPB_FLAGS, 4, 2 if outgoing else 1)
    return _block(EPB, head + _pad(data) + _end(options))


def names(known: Mapping[IPv4Address, Sequence[str]]) -> bytes:
    """A name resolution block: the names of addresses, for whoever reads the file."""
    records = b""
    for address, called in known.items():
        value = address.packed + b"".join(name.encode() + b"\0" for name in called)
        records += struct.pack("<HH", _NRB_IPV4, len(value)) + _pad(value)
    return _block(NRB, records + b"\0\0\0\0")


def with_comments(block: bytes, comments: Sequence[str]) -> bytes:
    """An enhanced packet block, little endian as ours are, with comments added to it; raises
    PcapngError for any other block."""
    kind, length = struct.unpack_from("<II", block)
    if kind != EPB or length != len(block) or length < 32:
        raise PcapngError("only a packet block of this writer's takes comments")
    (captured,) = struct.unpack_from("<I", block, 20)
    start = 28 + captured + (-captured % 4)
    if start > length - 4:
        raise PcapngError(f"{captured} bytes captured do not fit the block")
    options = block[start:-4]
    if options[-4:] == b"\0\0\0\0":  # opt_endofopt comes last again
        options = options[:-4]
    added = b"".join(_option(_OPT_COMMENT, comment) for comment in comments)
    return _block(EPB, block[8:start] + _end(options + added))


def _option(code: int, text: str) -> bytes:
    value = text.encode()[:_MAX_OPTION]
    return struct.pack("<HH", code, len(value)) + _pad(value) if value else b""


def _pad(data: bytes) -> bytes:
    return data + b"\0" * (-len(data) % 4)


def _end(options: bytes) -> bytes:
    return options + b"\0\0\0\0" if options else b""


def _block(kind: int, body: bytes) -> bytes:
    length = 12 + len(body)
    return struct.pack("<II", kind, length) + body + struct.pack("<I", length)
