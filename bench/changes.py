"""Scattered changes of a disk: 1 % of its data, in single blocks or larger pieces, and back again."""

import os
import random
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from typing import Final

from bench.images import Image
from bench.plan import BLOCK

SHARE: Final = 0.01


@contextmanager
def scattered(image: Image, seed: int, piece: int = BLOCK) -> Iterator[int]:
    """The changed bytes while pieces of the image are changed; it is itself again at the end."""
    chance = random.Random(seed)
    blocks = _pieces(image, chance, piece)
    before: dict[int, bytes] = {}
    descriptor = os.open(image.path, os.O_RDWR)
    try:
        for at in blocks:
            before[at] = os.pread(descriptor, piece, at)
            os.pwrite(descriptor, chance.randbytes(piece), at)
        os.fsync(descriptor)
        yield len(before) * piece
    finally:
        for at, data in before.items():
            os.pwrite(descriptor, data, at)
        os.fsync(descriptor)
        os.close(descriptor)


def _pieces(image: Image, chance: random.Random, piece: int) -> list[int]:
    """Offsets of pieces that are in use and hold no metadata of the filesystem.

    Raises ValueError for an image that has not enough of them.
    """
    kept = (image.free, image.metadata)
    wanted = int(image.used * SHARE) // piece
    places = list(range(0, image.size - piece + 1, piece))
    chance.shuffle(places)
    usable = (at for at in places if not any(ranges.meets(at, at + piece) for ranges in kept))
    found = list(islice(usable, wanted))
    if len(found) < wanted:
        raise ValueError(f"{image.path} has {len(found)} pieces of {piece} bytes to change, not {wanted}")
    return sorted(found)
