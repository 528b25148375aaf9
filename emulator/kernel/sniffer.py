"""Frames of one interface as they pass, by a packet socket (AF_PACKET, packet(7)).

Made in the interface's namespace; afterwards any thread may read. Timestamps are the kernel's,
nanoseconds. The socket keeps its namespace alive: close it when the lab has gone.
"""

from __future__ import annotations

import ctypes
import errno
import socket
import struct
from dataclasses import dataclass

_ETH_P_ALL = 3
_SO_ATTACH_FILTER, _SO_RCVBUFFORCE, _SO_TIMESTAMPNS = 26, 33, 35
_SOL_PACKET, _PACKET_STATISTICS = 263, 6
_PACKET_OUTGOING = 4
_BUFFER = 16 << 20
_LARGEST = 70_000  # a super-packet of 64 kB and its headers
_ETHERNET = 1


class FilterError(ValueError):
    """The capture filter is not one; the text is libpcap's."""


@dataclass(frozen=True, slots=True)
class Sniffed:
    """One frame. `time_ns` since 1970."""

    time_ns: int
    data: bytes
    outgoing: bool


class Sniffer:
    """What passes `interface` of the calling thread's namespace; raises OSError."""

    def __init__(self, interface: str, program: bytes | None = None) -> None:
        # Protocol 0: nothing comes in before the filter is there and the interface chosen.
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _BUFFER)
            self._socket.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
            if program:
                kept = ctypes.create_string_buffer(program, len(program))
                attached = struct.pack("HxxxxxxP", len(program) // 8, ctypes.addressof(kept))
                self._socket.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, attached)
            self._socket.setblocking(False)
            self._socket.bind((interface, _ETH_P_ALL))
        except BaseException:
            self._socket.close()
            raise

    def fileno(self) -> int:
        return self._socket.fileno()

    def read(self) -> Sniffed | None:
        """The next frame, None when there is none now. A link that goes down is no error: it
        may come back."""
        try:
            data, notes, _, address = self._socket.recvmsg(_LARGEST, socket.CMSG_SPACE(16))
        except BlockingIOError:
            return None
        except OSError as error:
            if error.errno in (errno.ENETDOWN, errno.ENXIO):
                return None
            raise
        for level, kind, value in notes:
            if (level, kind) == (socket.SOL_SOCKET, _SO_TIMESTAMPNS):
                seconds, rest = struct.unpack("ll", value)
                return Sniffed(seconds * 1_000_000_000 + rest, data, address[2] == _PACKET_OUTGOING)
        return None

    def lost(self) -> int:
        """Frames the kernel had no room for since this was last asked."""
        counts = self._socket.getsockopt(_SOL_PACKET, _PACKET_STATISTICS, 8)
        return int(struct.unpack("II", counts)[1])

    def close(self) -> None:
        self._socket.close()


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_uint), ("instructions", ctypes.c_void_p))


def compile_filter(expression: str) -> bytes:
    """A capture filter (pcap-filter(7)) as instructions for `Sniffer`; raises FilterError, and
    OSError where libpcap is missing. Names it holds are looked up: mind the namespace."""
    pcap = ctypes.CDLL("libpcap.so.0.8")
    pcap.pcap_open_dead.restype = ctypes.c_void_p
    pcap.pcap_geterr.restype = ctypes.c_char_p
    handle = ctypes.c_void_p(pcap.pcap_open_dead(_ETHERNET, 0xFFFF))
    program = _Program()
    try:
        text = expression.encode()
        if pcap.pcap_compile(handle, ctypes.byref(program), text, 1, ctypes.c_uint(0xFFFFFFFF)):
            raise FilterError(pcap.pcap_geterr(handle).decode(errors="replace"))
        found = ctypes.string_at(program.instructions, program.length * 8)
        pcap.pcap_freecode(ctypes.byref(program))
        return found
    finally:
        pcap.pcap_close(handle)
