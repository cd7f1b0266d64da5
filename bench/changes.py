"""Scattered changes of a disk: 1 % of its data, in single blocks of 4 KiB, and back again."""

import os
import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from bench.images import Image
from bench.plan import BLOCK

SHARE: Final = 0.01


@contextmanager
def scattered(image: Image, seed: int) -> Iterator[int]:
    """The changed bytes while the image is changed; it is itself again at the end."""
    chance = random.Random(seed)
    blocks = _blocks(image, chance)
    before: dict[int, bytes] = {}
    descriptor = os.open(image.path, os.O_RDWR)
    try:
        for at in blocks:
            before[at] = os.pread(descriptor, BLOCK, at)
            os.pwrite(descriptor, chance.randbytes(BLOCK), at)
        os.fsync(descriptor)
        yield len(before) * BLOCK
    finally:
        for at, data in before.items():
            os.pwrite(descriptor, data, at)
        os.fsync(descriptor)
        os.close(descriptor)


def _blocks(image: Image, chance: random.Random) -> list[int]:
    """Offsets of blocks that are in use and hold no metadata of the filesystem."""
    wanted = int(image.used * SHARE) // BLOCK
    found: set[int] = set()
    while len(found) < wanted:
        at = chance.randrange(image.size // BLOCK) * BLOCK
        end = at + BLOCK
        if not image.free.covers(at, end) and not image.metadata.covers(at, end):
            found.add(at)
    return sorted(found)
