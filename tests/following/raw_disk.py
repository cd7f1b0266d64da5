"""Writing to a device past the page cache, block by block."""

import mmap
import os
import random
from collections.abc import Iterable
from pathlib import Path

BLOCK = 4096


def write_blocks(device: Path, numbers: Iterable[int], seed: int) -> None:
    """Write these blocks of 4 KiB, one after the other, with bytes that the seed gives."""
    source = random.Random(seed)
    fd = os.open(device, os.O_WRONLY | os.O_DIRECT)
    try:
        with mmap.mmap(-1, BLOCK) as buffer:
            for number in numbers:
                buffer[:] = source.randbytes(BLOCK)
                os.pwrite(fd, buffer, number * BLOCK)
    finally:
        os.close(fd)


def fill(path: Path, size: int, seed: int = 0) -> None:
    """Fill a file or device with bytes that no compression helps."""
    source = random.Random(seed)
    with path.open("r+b") as file:
        for _ in range(size >> 20):
            file.write(source.randbytes(1 << 20))
        os.fsync(file.fileno())
