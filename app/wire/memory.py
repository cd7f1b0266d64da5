"""Memory for reading and writing past the page cache, and for what is overwritten anyway.

A request to a disk holds a few hundred pieces of memory, and a piece is a page unless neighbours lie
together: with pages of 4 KiB a read of 4 MiB becomes four or more requests, with huge pages one. Measured on
a virtual disk, two reads of 4 MiB at a time: 2.3 GB/s and 0.09 CPU s/GiB with usual pages, 4.7 and 0.02 with
huge ones.
"""

import contextlib
import ctypes
import mmap
from typing import Final

_HUGE_PAGE: Final = 2 << 20
"""Bytes, where pages are of 4 KiB."""
_WIPE_ON_FORK: Final = 18
"""MADV_WIPEONFORK of Linux 4.14, which `mmap` does not name."""

_new_bytearray: Final = ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.c_char_p, ctypes.c_ssize_t)(
    ("PyByteArray_FromStringAndSize", ctypes.pythonapi)
)
"""Of CPython's C API; from no string nothing is copied."""


def aligned(size: int) -> memoryview:
    """`size` bytes of zeros from a multiple of _HUGE_PAGE on, in huge pages where the kernel grants them.

    The memory is given back when the last view of it is gone. A forked process has zeros there: a fork in the
    middle of a read past the page cache could else leave what was read with the child.
    """
    memory = mmap.mmap(-1, size + _HUGE_PAGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    try:
        memory.madvise(_WIPE_ON_FORK)
    except OSError:  # before Linux 4.14: a forked process has nothing there, and must not look
        memory.madvise(mmap.MADV_DONTFORK)
    with contextlib.suppress(OSError):  # a kernel without huge pages: slower and no less right
        memory.madvise(mmap.MADV_HUGEPAGE)
    start = -_address(memory) % _HUGE_PAGE
    return memoryview(memory)[start : start + size]


def unfilled(size: int) -> bytearray:
    """`size` bytes of whatever lay there: for someone who overwrites all of them before anybody looks. Zeros
    would take a thirtieth of the CPU time of a put that is not compressed."""
    made: bytearray = _new_bytearray(None, size)
    return made


def _address(memory: mmap.mmap) -> int:
    return ctypes.addressof(ctypes.c_char.from_buffer(memory))
