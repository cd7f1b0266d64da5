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
_ARENAS: Final = 1
"""What one thread has freed serves all others. A second one kept up to 60 MiB that nobody used."""
_KEPT_BYTES: Final = 64 * 1024 * 1024
_HEAP_BYTES: Final = 32 * 1024 * 1024
"""The largest value that glibc takes (mallopt(3))."""

_YOUNG_OBJECTS: Final = 20_000
"""After so many more of them than went the collector looks at the youngest (Python's default is 700)."""

LOOK_SECONDS: Final = 0.5
_CALM_SECONDS: Final = 0.05
"""Of CPU time between two looks: a process that uses less has little to do."""
_MUCH_SECONDS: Final = 0.25
"""Of CPU time: work that may leave much freed memory behind, however slowly it was done."""


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
    """Give freed memory back whenever this process has little to do after it did much, until cancelled."""
    work = _MUCH_SECONDS
    while True:
        used = await _cpu_seconds_to_the_next_look()
        work += used
        if used < _CALM_SECONDS and work >= _MUCH_SECONDS:
            await asyncio.to_thread(give_back_freed_memory)
            work = 0.0


async def _cpu_seconds_to_the_next_look() -> float:
    before = time.process_time()
    await asyncio.sleep(LOOK_SECONDS)
    return time.process_time() - before


def spare_long_lived_objects() -> None:
    """Let the garbage collector pass over all that exists now: modules, classes, routes, mappings. The rest
    it looks at less often: what comes by the thousand are rows and records, which are in no cycles."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG_OBJECTS)
