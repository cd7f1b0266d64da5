"""Two disks or images compared byte for byte, but for the ranges that hold no data."""

from collections.abc import Iterable
from os import SEEK_END
from pathlib import Path
from typing import Final

from app.contract.resources.checkpoint import ByteRange

PIECE: Final = 4 * 1024 * 1024


def first_difference(one: Path, other: Path, left_out: Iterable[ByteRange]) -> int | None:
    """The offset of the first byte that differs outside of the ranges; None where there is none.

    A difference in length counts at the end of the shorter one.
    """
    at = 0
    with one.open("rb") as left, other.open("rb") as right:
        for start, end in _kept(max(left.seek(0, SEEK_END), right.seek(0, SEEK_END)), left_out):
            at = start
            left.seek(start)
            right.seek(start)
            while at < end:
                length = min(PIECE, end - at)
                mine, its = left.read(length), right.read(length)
                if mine != its or len(mine) != length:
                    return at + _common(mine, its)
                at += length
    return None


def _kept(size: int, left_out: Iterable[ByteRange]) -> Iterable[tuple[int, int]]:
    start = 0
    for hole in sorted(left_out, key=lambda each: each.offset):
        if hole.offset > start:
            yield start, hole.offset
        start = max(start, hole.offset + hole.length)
    if start < size:
        yield start, size


def _common(mine: bytes, its: bytes) -> int:
    pairs = zip(mine, its, strict=False)
    return next((at for at, (a, b) in enumerate(pairs) if a != b), min(len(mine), len(its)))
