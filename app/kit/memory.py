"""Memory that was freed is kept for what comes next, and what stays is not looked at again and again.

Frames and packs are buffers of megabytes. The C library gives such memory back to the kernel and gets it
anew, filled with zeros page by page, which takes an eighth of the CPU time of a put. So it is kept as long as
there is work; but buffers of all sizes leave gaps, more of them with each checkpoint, and in a calm they are
given back.
"""

import asyncio
import ctypes
import gc
import time
from typing import Final, NoReturn

_TRIM_THRESHOLD: Final = -1
_MMAP_THRESHOLD: Final = -3
_ARENA_MAX: Final = -8
_ARENAS: Final = 2
"""Each thread beyond shares one of these: what one has freed serves the others."""
_KEPT_BYTES: Final = 64 * 1024 * 1024
_HEAP_BYTES: Final = 32 * 1024 * 1024
"""The largest value that glibc takes (mallopt(3))."""

_YOUNG_OBJECTS: Final = 20_000
"""After so many more of them than went the collector looks at the youngest (Python's default is 700)."""

LOOK_SECONDS: Final = 0.5
_BUSY: Final = 0.5
"""The part of a core from which on a process has work that leaves much freed memory behind."""
_CALM: Final = 0.1


def keep_freed_memory() -> None:
    """Let the C library keep up to _KEPT_BYTES of freed memory. Does nothing where it is not glibc."""
    library = ctypes.CDLL(None)
    if hasattr(library, "mallopt"):
        library.mallopt(_ARENA_MAX, _ARENAS)
        library.mallopt(_MMAP_THRESHOLD, _HEAP_BYTES)
        library.mallopt(_TRIM_THRESHOLD, _KEPT_BYTES)


def give_back_freed_memory() -> None:
    """Let the kernel have all pages that are free, between others too. Does nothing where it is not glibc."""
    library = ctypes.CDLL(None)
    if hasattr(library, "malloc_trim"):
        library.malloc_trim(ctypes.c_size_t(_KEPT_BYTES // 4))


async def give_back_in_calms() -> NoReturn:
    """Give freed memory back whenever this process has little to do after it had much, until cancelled."""
    was_busy = True
    while True:
        share = await _share_of_a_core()
        if was_busy and share < _CALM:
            await asyncio.to_thread(give_back_freed_memory)
            was_busy = False
        was_busy = was_busy or share > _BUSY


async def _share_of_a_core() -> float:
    used, began = time.process_time(), time.monotonic()
    await asyncio.sleep(LOOK_SECONDS)
    return (time.process_time() - used) / (time.monotonic() - began)


def spare_long_lived_objects() -> None:
    """Let the garbage collector pass over all that exists now: modules, classes, routes, mappings. The rest
    it looks at less often: what comes by the thousand are rows and records, which are in no cycles."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG_OBJECTS)
