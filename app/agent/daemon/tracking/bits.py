"""Bitmaps of 4 KiB blocks, in leaves of 256 MiB.

A leaf's bitmap has 8 KiB; block b of the leaf is bit b % 8 (least significant first) of byte b // 8. Long
stretches are set and found by the C code of bytes, integers and regular expressions, never block by block.
"""

import re
from collections.abc import Iterable, Iterator
from mmap import mmap
from typing import Final

BLOCK: Final = 4096
BLOCK_SHIFT: Final = 12
LEAF_SPAN: Final = 256 * 1024 * 1024
"""Bytes of a disk that one leaf stands for."""
LEAF_SHIFT: Final = 16
"""A block's number shifted right by this is its leaf's."""
LEAF_MASK: Final = (1 << LEAF_SHIFT) - 1
LEAF_BYTES: Final = 8192
"""Bytes of a leaf's bitmap."""

_STRETCH: Final = re.compile(rb"\xff+|[^\0\xff]")


def _runs_of(byte: int) -> tuple[tuple[int, int], ...]:
    """The runs [first, end) of ones of a byte."""
    edges = [bit for bit in range(9) if (byte << 1 >> bit & 1) != (byte << 1 >> (bit + 1) & 1)]
    return tuple(zip(edges[::2], edges[1::2], strict=True))


_RUNS: Final = tuple(_runs_of(byte) for byte in range(256))


def set_run(bitmap: bytearray | mmap, base: int, first: int, end: int) -> int:
    """Set bits [first, end) of the bitmap at byte `base`; how many of them were not set before."""
    low, high = base + (first >> 3), base + (end + 7 >> 3)
    before = int.from_bytes(bitmap[low:high], "little")
    after = before | ((1 << end - first) - 1) << (first & 7)
    bitmap[low:high] = after.to_bytes(high - low, "little")
    return after.bit_count() - before.bit_count()


def count(bitmap: bytes | bytearray) -> int:
    """The number of ones."""
    return int.from_bytes(bitmap, "little").bit_count()


def union(one: bytes | bytearray, other: bytes | bytearray) -> bytes:
    """The ones of both; they are equally long."""
    joined = int.from_bytes(one, "little") | int.from_bytes(other, "little")
    return joined.to_bytes(len(one), "little")


def joined(runs: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Runs [first, end) that come in ascending order and do not overlap; those that touch become one."""
    first = end = 0
    for low, high in runs:
        if low != end or first == end:
            if first < end:
                yield first, end
            first = low
        end = high
    if first < end:
        yield first, end


def pieces(bitmap: bytes | bytearray, base: int = 0) -> Iterator[tuple[int, int]]:
    """The runs [first, end) of ones, ascending; some are cut where a byte ends. The first bit is number
    `base`."""
    for found in _STRETCH.finditer(bitmap):
        start = found.start()
        at, byte = base + (start << 3), bitmap[start]
        if byte == 0xFF:
            yield at, base + (found.end() << 3)
        else:
            for low, high in _RUNS[byte]:
                yield at + low, at + high
