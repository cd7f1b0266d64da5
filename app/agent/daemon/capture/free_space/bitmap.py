"""Runs of free blocks in an allocation bitmap, found with searches over bytes and no loop per bit.

Bit b of byte n is block 8n + b; 0 means free. A run counts only if it holds at least one whole zero byte:
shorter ones (under 15 blocks) are read like used blocks, which costs little and loses nothing.
"""

import re
from collections.abc import Iterator
from typing import Final

_ZERO_BYTES: Final = re.compile(rb"\x00+")
_FREE_BELOW_TOP: Final = tuple(8 - value.bit_length() for value in range(256))
_FREE_ABOVE_BOTTOM: Final = tuple((value & -value).bit_length() - 1 if value else 8 for value in range(256))


def free_runs(bitmap: bytes, blocks: int) -> Iterator[tuple[int, int]]:
    """(first block, block behind the last) of the free runs among the first `blocks` bits, ascending."""
    for found in _ZERO_BYTES.finditer(bitmap):
        first, behind = found.span()
        start, end = first * 8, behind * 8
        if first:
            start -= _FREE_BELOW_TOP[bitmap[first - 1]]
        if behind < len(bitmap):
            end += _FREE_ABOVE_BOTTOM[bitmap[behind]]
        if start < blocks:
            yield start, min(end, blocks)


def free_count(bitmap: bytes, blocks: int) -> int:
    """How many of the first `blocks` bits are 0."""
    used = int.from_bytes(bitmap, "little") & ((1 << blocks) - 1)
    return blocks - used.bit_count()
