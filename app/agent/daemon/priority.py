"""The agent is a guest on its host: low CPU and I/O priority, by system calls and no outside tool."""

import contextlib
import ctypes
import os
import platform
from typing import Final

NICE: Final = 10
_IOPRIO_SET: Final = {"x86_64": 251, "aarch64": 30, "riscv64": 30, "ppc64le": 273, "s390x": 282}
_WHO_PROCESS: Final = 1
_BEST_EFFORT_LOWEST: Final = 2 << 13 | 7
_BY_NICE: Final = 0


def lower() -> tuple[str, ...]:
    """Lower this process's priorities; what could not be lowered, and why."""
    notes = []
    if os.nice(0) < NICE:
        os.nice(NICE - os.nice(0))
    number = _IOPRIO_SET.get(platform.machine())
    if number is None:
        return (f"I/O priority is not known how to be set on {platform.machine()}",)
    error = _set_io_priority(number, _BEST_EFFORT_LOWEST)
    if error:
        notes.append(f"the I/O priority stays as it is: {os.strerror(error)}")
    return tuple(notes)


def restore() -> None:
    """Usual priorities again, for a process that inherited the low ones; needs root, else nothing happens."""
    with contextlib.suppress(PermissionError):
        os.setpriority(os.PRIO_PROCESS, 0, 0)
    number = _IOPRIO_SET.get(platform.machine())
    if number is not None:
        _set_io_priority(number, _BY_NICE)


def _set_io_priority(number: int, value: int) -> int:
    """0 or an errno."""
    libc = ctypes.CDLL(None, use_errno=True)
    return ctypes.get_errno() if libc.syscall(number, _WHO_PROCESS, 0, value) else 0
