"""Memory that was freed is kept for what comes next, and what stays is not looked at again and again.

Frames and packs are buffers of megabytes. The C library gives such memory back to the kernel and gets it
anew, filled with zeros page by page, which takes an eighth of the CPU time of a put.
"""

import ctypes
import gc
from typing import Final

_TRIM_THRESHOLD: Final = -1
_MMAP_THRESHOLD: Final = -3
_KEPT_BYTES: Final = 128 * 1024 * 1024
_HEAP_BYTES: Final = 32 * 1024 * 1024
"""The largest value that glibc takes (mallopt(3))."""


def keep_freed_memory() -> None:
    """Let the C library keep up to _KEPT_BYTES of freed memory. Does nothing where it is not glibc."""
    library = ctypes.CDLL(None)
    if hasattr(library, "mallopt"):
        library.mallopt(_MMAP_THRESHOLD, _HEAP_BYTES)
        library.mallopt(_TRIM_THRESHOLD, _KEPT_BYTES)


def spare_long_lived_objects() -> None:
    """Let the garbage collector pass over all that exists now: modules, classes, routes, mappings."""
    gc.collect()
    gc.freeze()
