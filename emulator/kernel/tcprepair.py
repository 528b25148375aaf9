"""A TCP connection brought up where another host left it (TCP_REPAIR, as CRIU's soccr does).

The order matters: both queues' sequence numbers before bind and connect, options after
connect, the timestamp clock before anything is written, windows last before repair ends.

Traps:
- Windows must be true. A receive window smaller than the old host advertised makes the
  kernel drop the peer's segments, and its own acknowledgements look old to the peer.
- TCP_TIMESTAMP keeps its low bit clear: since Linux 6.7 it switches the clock to
  microseconds.
- Leaving repair turns SO_REUSEADDR off: no listener could be opened on the port any more.
- IP_FREEBIND is enough to bind an address the host does not have, not to connect from it:
  that takes IP_TRANSPARENT.
- The peer's first acknowledgement may echo a timestamp from before the outage. The kernel takes
  the outage for a round trip, and three times that for its next time-out: a restored send
  queue would stand still for so long. Hence RTO_MAX_MS (where the kernel has the option, Linux
  6.15), and a time-out of its own for giving up, which else would come after 15 short ones.
- Closing in repair mode is silent; closing otherwise sends a FIN or a reset.

The caller keeps the flow's packets away until the socket is back.
"""

from __future__ import annotations

import contextlib
import fcntl
import socket
import struct
import termios

from emulator.core.events import LegSnapshot
from emulator.core.tracker import LegPlan
from emulator.wire.seqnum import SeqNum

_REPAIR, _REPAIR_QUEUE, _QUEUE_SEQ, _REPAIR_OPTIONS = 19, 20, 21, 22
_TIMESTAMP, _REPAIR_WINDOW = 24, 29
_TCP_RTO_MAX_MS = 44
RTO_MAX_MS = 1000  # the least the kernel takes; minimumRto of the tcp profile
GIVES_UP_MS = 924_600  # what 15 retransmissions take, unless their time-out is bounded
_NO_QUEUE, _RECV_QUEUE, _SEND_QUEUE = 0, 1, 2
_MSS, _WSCALE, _SACK, _TIMESTAMPS = 2, 3, 4, 8
_SO_SNDBUFFORCE, _IP_TRANSPARENT = 32, 19
_OFF_WITHOUT_PROBE = -1  # leave repair without a window probe
_SIOCOUTQ = 0x5411  # bytes (and a FIN) not acknowledged
_PEER_CLOSED = frozenset((6, 7, 8, 9, 11))  # TIME-WAIT, CLOSE, CLOSE-WAIT, LAST-ACK, CLOSING
_INFO_TIMESTAMPS, _INFO_SACK, _INFO_WSCALE = 1, 2, 4
_LITTLE = 1 << 12  # a send queue beyond it may need a larger buffer than a new socket has,
_ROOM = 1 << 19  # which depends on the congestion control; it grows no more once it is set
_OVERHEAD = 4  # what the kernel accounts for a byte of it, at most


def restore(plan: LegPlan) -> socket.socket:
    """The connection, live and non-blocking; raises OSError."""
    made = socket.socket()
    try:
        made.setblocking(False)
        _set(made, _REPAIR, 1)
        _restore(made, plan)
        _set(made, _REPAIR, 0)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        _bound_time_out(made)
    except BaseException:
        abandon(made)
        raise
    return made


def snapshot(connection: socket.socket, *, shut: bool) -> LegSnapshot:
    """The live connection as the kernel has it, undisturbed; raises OSError.

    `shut`: our FIN is queued or sent. The caller sees to it that no segment of the peer's
    reaches the kernel meanwhile.
    """
    info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 7)
    fin_received = info[0] in _PEER_CLOSED
    options, scales = info[5], info[6]
    _set(connection, _REPAIR, 1)
    try:
        _set(connection, _REPAIR_QUEUE, _SEND_QUEUE)
        write_seq, outstanding = _sequence(connection), _ioctl(connection, _SIOCOUTQ)
        queued = _peek(connection, outstanding)
        _set(connection, _REPAIR_QUEUE, _RECV_QUEUE)
        rcv_nxt = _sequence(connection)
        unread = _peek(connection, _ioctl(connection, termios.FIONREAD))
        clock = _unsigned(connection, _TIMESTAMP)
        mss = _unsigned(connection, socket.TCP_MAXSEG)
        window = connection.getsockopt(socket.IPPROTO_TCP, _REPAIR_WINDOW, 20)
    finally:
        _set(connection, _REPAIR, _OFF_WITHOUT_PROBE)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    return LegSnapshot(
        rcv_nxt=SeqNum(rcv_nxt),
        snd_una=SeqNum((write_seq - outstanding) % (1 << 32)),
        unacknowledged=queued,
        unread=unread,
        snd_wnd=struct.unpack("IIIII", window)[1],
        mss_clamp=mss,
        snd_wscale=scales & 15 if options & _INFO_WSCALE else None,
        rcv_wscale=scales >> 4 if options & _INFO_WSCALE else None,
        sack=bool(options & _INFO_SACK),
        timestamp=clock & ~1 if options & _INFO_TIMESTAMPS else None,
        fin_received=fin_received,
        fin_acknowledged=shut and outstanding == 0,
    )


def _bound_time_out(made: socket.socket) -> None:
    with contextlib.suppress(OSError):
        _set(made, _TCP_RTO_MAX_MS, RTO_MAX_MS)
        _set(made, socket.TCP_USER_TIMEOUT, GIVES_UP_MS)


def abandon(connection: socket.socket) -> None:
    """Close it without a packet; raises OSError when the kernel refuses repair mode."""
    try:
        _set(connection, _REPAIR, 1)
    finally:
        connection.close()


def _restore(made: socket.socket, plan: LegPlan) -> None:
    made.setsockopt(socket.IPPROTO_IP, _IP_TRANSPARENT, 1)
    if len(plan.sent) > _LITTLE:
        room = max(_ROOM, len(plan.sent) * _OVERHEAD)
        made.setsockopt(socket.SOL_SOCKET, _SO_SNDBUFFORCE, room)
    for queue, start in ((_RECV_QUEUE, plan.rcv_nxt), (_SEND_QUEUE, plan.snd_una)):
        _set(made, _REPAIR_QUEUE, queue)
        _set(made, _QUEUE_SEQ, struct.pack("I", start.value))
    made.bind((str(plan.local.address), plan.local.port))
    made.connect((str(plan.remote.address), plan.remote.port))
    options = struct.pack("II", _MSS, plan.mss_clamp)
    if plan.snd_wscale is not None and plan.rcv_wscale is not None:
        options += struct.pack("II", _WSCALE, plan.snd_wscale | plan.rcv_wscale << 16)
    if plan.sack:
        options += struct.pack("II", _SACK, 0)
    if plan.timestamp is not None:
        options += struct.pack("II", _TIMESTAMPS, 0)
    _set(made, _REPAIR_OPTIONS, options)
    if plan.timestamp is not None:
        _set(made, _TIMESTAMP, struct.pack("I", plan.timestamp & ~1))
    _set(made, _REPAIR_QUEUE, _SEND_QUEUE)
    rest = memoryview(plan.sent)
    while rest:
        rest = rest[made.send(rest[: 1 << 20]) :]
    _set(made, _REPAIR_QUEUE, _NO_QUEUE)
    before = (plan.rcv_nxt.value - 1) % (1 << 32)  # any segment of the peer's is newer
    _set(
        made,
        _REPAIR_WINDOW,
        struct.pack("IIIII", before, plan.snd_wnd, plan.snd_wnd, plan.rcv_wnd, plan.rcv_nxt.value),
    )


def _sequence(connection: socket.socket) -> int:
    """Of the queue that is selected: where it ends."""
    return _unsigned(connection, _QUEUE_SEQ)


def _unsigned(connection: socket.socket, option: int) -> int:
    return connection.getsockopt(socket.IPPROTO_TCP, option) % (1 << 32)


def _ioctl(connection: socket.socket, request: int) -> int:
    (value,) = struct.unpack("i", fcntl.ioctl(connection, request, b"\0" * 4))
    assert isinstance(value, int)
    return value


def _peek(connection: socket.socket, count: int) -> bytes:
    """The selected queue's bytes, of which there are at most `count`."""
    if not count:
        return b""
    try:
        return connection.recv(count, socket.MSG_PEEK)
    except BlockingIOError:
        return b""


def _set(made: socket.socket, option: int, value: int | bytes) -> None:
    made.setsockopt(socket.IPPROTO_TCP, option, value)
