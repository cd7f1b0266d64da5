"""Byte for byte: the only proof that counts of a copy."""

from pathlib import Path

from bench.freespace import Ranges
from bench.plan import BLOCK, MIB

_PIECE = 4 * MIB


class Differs(Exception):
    """A copy is not its source."""


def require_equal(source: Path, copy: Path, masked: Ranges) -> None:
    """Compare two images block by block; blocks in `masked` may differ. Raises Differs."""
    size = source.stat().st_size
    if copy.stat().st_size != size:
        raise Differs(f"{copy} has {copy.stat().st_size} bytes, the source {size}")
    with source.open("rb", buffering=0) as left, copy.open("rb", buffering=0) as right:
        for at in range(0, size, _PIECE):
            ours, theirs = left.read(_PIECE), right.read(_PIECE)
            if ours != theirs:
                _require_masked(ours, theirs, at, masked, copy)


def _require_masked(ours: bytes, theirs: bytes, at: int, masked: Ranges, copy: Path) -> None:
    for low in range(0, len(ours), BLOCK):
        high = low + BLOCK
        if ours[low:high] != theirs[low:high] and not masked.covers(at + low, at + high):
            raise Differs(f"{copy} differs from the source in the block at byte {at + low}")
