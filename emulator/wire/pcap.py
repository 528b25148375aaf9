"""Classic pcap capture files, read as a stream: both byte orders, micro- and nanoseconds.

Source: draft-ietf-opsawg-pcap. Also the "modified" format of old Linux libpcaps (magic
0xa1b2cd34), whose records have a longer header. Frames are those of `wire.pcapng`, so that
whoever reads a recording need not know of which kind it is.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from emulator.wire.pcapng import Frame, Interface, Source

# The first four bytes as they are in the file: byte order, ticks per second, record header.
_MAGIC = {
    b"\xd4\xc3\xb2\xa1": ("<", 1_000_000, 16),
    b"\xa1\xb2\xc3\xd4": (">", 1_000_000, 16),
    b"\x4d\x3c\xb2\xa1": ("<", 1_000_000_000, 16),
    b"\xa1\xb2\x3c\x4d": (">", 1_000_000_000, 16),
    b"\x34\xcd\xb2\xa1": ("<", 1_000_000, 24),
    b"\xa1\xb2\xcd\x34": (">", 1_000_000, 24),
}
MAX_FRAME = 1 << 20  # libpcap's largest snapshot length is 256 KiB; USB captures have more


class PcapError(ValueError):
    """The file is not readable pcap; the text names the byte offset."""


class PcapCut(PcapError):
    """The file ends in the middle of something; what came before is good."""


def is_pcap(magic: bytes) -> bool:
    """Whether a file that begins with these four bytes is a pcap file."""
    return magic in _MAGIC


def read(source: Source) -> Iterator[Frame]:
    """Yield the frames of a pcap stream; PcapCut where it ends too early, PcapError where it
    is malformed."""
    head = source.read(24)
    if head[:4] not in _MAGIC:
        raise PcapError("offset 0: not a pcap file")
    if len(head) < 24:
        raise PcapCut("offset 0: the file ends inside its header")
    order, ticks, header = _MAGIC[head[:4]]
    (linktype,) = struct.unpack_from(order + "I", head, 20)
    point = Interface("", "", linktype & 0x0FFFFFFF, ticks)  # above: length of a frame check
    record = struct.Struct(order + "IIII")
    scale, offset = 1_000_000_000 // ticks, 24
    while head := source.read(header):
        if len(head) < header:
            raise PcapCut(f"offset {offset}: the file ends inside a record header")
        seconds, part, captured, original = record.unpack_from(head)
        if captured > MAX_FRAME:
            raise PcapError(f"offset {offset}: a frame of {captured} bytes")
        data = source.read(captured)
        if len(data) < captured:
            raise PcapCut(f"offset {offset}: the file ends inside a frame")
        yield Frame(point, seconds * 1_000_000_000 + part * scale, data, max(original, captured))
        offset += header + captured
