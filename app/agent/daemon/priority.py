"""The agent is a guest on its host: low CPU and I/O priority, by system calls and no outside tool."""

import contextlib
import ctypes
import os
import platform
import threading
from typing import Final

NICE: Final = 10
_IOPRIO_SET: Final = {"x86_64": 251, "aarch64": 30, "riscv64": 30, "ppc64le": 273, "s390x": 282}
_WHO_PROCESS: Final = 1
_BEST_EFFORT_LOWEST: Final = 2 << 13 | 7
_IDLE: Final = 3 << 13
_BY_NICE: Final = 0
_LOWEST: Final = 19


def lower() -> tuple[str, ...]:
    """Lower this process's priorities; what could not be lowered, and why."""
    if os.nice(0) < NICE:
        os.nice(NICE - os.nice(0))
    return _set_io_priority(_BEST_EFFORT_LOWEST)


def lower_thread() -> tuple[str, ...]:
    """Lower the calling thread's priorities to the lowest there are; what could not be lowered, and why."""
    os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _LOWEST)
    return _set_io_priority(_IDLE)


def restore() -> None:
    """Usual priorities again, for a process that inherited the low ones; needs root, else nothing happens."""
    with contextlib.suppress(PermissionError):
        os.setpriority(os.PRIO_PROCESS, 0, 0)
    _set_io_priority(_BY_NICE)


def _set_io_priority(value: int) -> tuple[str, ...]:
    """For the calling thread, and those that it starts from now on."""
    number = _IOPRIO_SET.get(platform.machine())
    if number is None:
        return (f"I/O priority is not known how to be set on {platform.machine()}",)
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.syscall(number, _WHO_PROCESS, 0, value) != 0:
        return (f"the I/O priority stays as it is: {os.strerror(ctypes.get_errno())}",)
    return ()
