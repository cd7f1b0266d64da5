"""The system calls of freezing. Each answers 0 or an errno and raises nothing, so that a loop goes on.

FIFREEZE waits for the writes under way, writes back what is cached and lets further writes wait; it stays
in force when the process that asked for it is gone. FITHAW answers EINVAL where nothing was frozen.
"""

import ctypes
import errno
import fcntl
import os
from typing import Final

_FIFREEZE: Final = 0xC0045877
_FITHAW: Final = 0xC0045878
_MCL_CURRENT_AND_FUTURE: Final = 1 | 2
_M_ARENA_MAX: Final = -8
_LIBC: Final = ctypes.CDLL(None, use_errno=True)


def freeze(fd: int) -> int:
    """Freeze the filesystem of an open directory or file. May take as long as its cached writes take."""
    return _asked(fd, _FIFREEZE)


def thaw(fd: int) -> int:
    """Thaw it."""
    return _asked(fd, _FITHAW)


def _asked(fd: int, request: int) -> int:
    try:
        fcntl.ioctl(fd, request, 0)
    except OSError as error:
        return error.errno or errno.EIO
    return 0


def sync(fd: int) -> int:
    """Write back what the filesystem has cached."""
    return ctypes.get_errno() if _LIBC.syncfs(fd) else 0


def keep_small() -> None:
    """One heap for all threads: glibc reserves 64 MiB for each that has its own, and all would be locked."""
    if hasattr(_LIBC, "mallopt"):
        _LIBC.mallopt(_M_ARENA_MAX, 1)


def lock_memory() -> int:
    """Keep all of this process in memory, now and later."""
    return ctypes.get_errno() if _LIBC.mlockall(_MCL_CURRENT_AND_FUTURE) else 0


def spare_from_oom() -> int:
    """Let the kernel kill any other process first when memory is short."""
    try:
        fd = os.open("/proc/self/oom_score_adj", os.O_WRONLY | os.O_CLOEXEC)
    except OSError as error:
        return error.errno or errno.EIO
    try:
        os.write(fd, b"-1000")
    except OSError as error:
        return error.errno or errno.EIO
    finally:
        os.close(fd)
    return 0
