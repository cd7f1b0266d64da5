"""The agent is a guest on its host: low CPU and I/O priority, by system calls and no outside tool."""

import ctypes
import os
import platform
from typing import Final

NICE: Final = 10
_IOPRIO_SET: Final = {"x86_64": 251, "aarch64": 30, "riscv64": 30, "ppc64le": 273, "s390x": 282}
_WHO_PROCESS: Final = 1
_BEST_EFFORT_LOWEST: Final = 2 << 13 | 7


def lower() -> tuple[str, ...]:
    """Lower this process's priorities; what could not be lowered, and why."""
    notes = []
    if os.nice(0) < NICE:
        os.nice(NICE - os.nice(0))
    number = _IOPRIO_SET.get(platform.machine())
    if number is None:
        return (f"I/O priority is not known how to be set on {platform.machine()}",)
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.syscall(number, _WHO_PROCESS, 0, _BEST_EFFORT_LOWEST) != 0:
        notes.append(f"the I/O priority stays as it is: {os.strerror(ctypes.get_errno())}")
    return tuple(notes)
