"""What keeps bytes from arriving, as the kernel sees it: the network, or whoever should take them in.

From `struct tcp_info` (include/uapi/linux/tcp.h, Linux 4.10 and later): `tcpi_busy_time` is how long there
was something to send, `tcpi_rwnd_limited` how much of that the receiver's window was closed, which is so when
its program does not keep up. Both are u64 in microseconds.
"""

import socket
import struct
from typing import Final

_TIMES: Final = struct.Struct("=QQ")
_OFFSET: Final = 168
_MICRO: Final = 1e-6


def network_seconds(sock: socket.socket) -> float | None:
    """For how long, since the connection was made, bytes were under way or waiting and the receiver ready.

    None where the kernel does not tell.
    """
    try:
        told = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _OFFSET + _TIMES.size)
    except OSError:
        return None
    if len(told) < _OFFSET + _TIMES.size:
        return None
    busy, closed = _TIMES.unpack_from(told, _OFFSET)
    return float(max(0, busy - closed)) * _MICRO
