"""A sparse set of 4 KiB blocks of a disk, held in memory. Not for several threads at once."""

from collections.abc import Iterator

from app.agent.daemon.tracking.bits import (
    BLOCK,
    BLOCK_SHIFT,
    LEAF_BYTES,
    LEAF_MASK,
    LEAF_SHIFT,
    count,
    joined,
    pieces,
    set_run,
    union,
)


class BlockSet:
    """Blocks by byte ranges. Takes 8 KiB for each 256 MiB of disk that has a block in it."""

    def __init__(self) -> None:
        self._leaves: dict[int, bytearray] = {}
        self._count = 0

    def add(self, start: int, length: int) -> None:
        """Add all blocks that have one of the `length` bytes from `start`; both in bytes."""
        if length <= 0:
            return
        first, last = start >> BLOCK_SHIFT, (start + length - 1) >> BLOCK_SHIFT
        if first != last:
            self._add_run(first, last + 1)
            return
        leaf = self._leaves.get(first >> LEAF_SHIFT)
        if leaf is None:
            leaf = self._leaves[first >> LEAF_SHIFT] = bytearray(LEAF_BYTES)
        at, bit = (first & LEAF_MASK) >> 3, 1 << (first & 7)
        byte = leaf[at]
        if not byte & bit:
            leaf[at] = byte | bit
            self._count += 1

    def _add_run(self, first: int, end: int) -> None:
        while first < end:
            index = first >> LEAF_SHIFT
            stop = min(end, index + 1 << LEAF_SHIFT)
            leaf = self._leaves.setdefault(index, bytearray(LEAF_BYTES))
            self._count += set_run(leaf, 0, first & LEAF_MASK, stop - (index << LEAF_SHIFT))
            first = stop

    def put(self, index: int, bitmap: bytes | bytearray) -> None:
        """Add the blocks of a leaf's bitmap of 8 KiB (see `bits`)."""
        leaf = self._leaves.get(index)
        joined = bytearray(bitmap) if leaf is None else bytearray(union(leaf, bitmap))
        assert len(joined) == LEAF_BYTES, "a leaf's bitmap has 8 KiB"
        self._count += count(joined) - (count(leaf) if leaf else 0)
        self._leaves[index] = joined

    def update(self, other: "BlockSet") -> None:
        """Add all blocks of `other`."""
        for index, bitmap in other._leaves.items():
            self.put(index, bitmap)

    def clear(self) -> None:
        """Be empty."""
        self._leaves.clear()
        self._count = 0

    @property
    def total(self) -> int:
        """Bytes of all blocks."""
        return self._count << BLOCK_SHIFT

    def __bool__(self) -> bool:
        return self._count > 0

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, BlockSet):
            return NotImplemented
        return list(self.extents()) == list(other.extents())

    __hash__ = None  # type: ignore[assignment]  # equal by content, and it grows

    def extents(self) -> Iterator[tuple[int, int]]:
        """All blocks as byte ranges [start, end), ascending; ranges that touch are one."""
        return joined(
            (first << BLOCK_SHIFT, stop << BLOCK_SHIFT)
            for index in sorted(self._leaves)
            for first, stop in pieces(self._leaves[index], index << LEAF_SHIFT)
        )

    def within(self, start: int, end: int) -> Iterator[tuple[int, int]]:
        """What of the blocks lies in the bytes [start, end), as byte ranges, ascending."""
        return joined(
            (max(start, first << BLOCK_SHIFT), min(end, stop << BLOCK_SHIFT))
            for first, stop in self._pieces(start >> BLOCK_SHIFT, -(-end // BLOCK))
        )

    def touches(self, start: int, end: int) -> bool:
        """Whether a block has one of the bytes [start, end)."""
        return next(self.within(start, end), None) is not None

    def _pieces(self, first: int, end: int) -> Iterator[tuple[int, int]]:
        """Runs of blocks in blocks [first, end), cut at leaves."""
        for index in self._indexes(first >> LEAF_SHIFT, (end - 1) >> LEAF_SHIFT):
            base = index << LEAF_SHIFT
            low = max(0, first - base) >> 3
            high = min(LEAF_BYTES, (end - base + 7) >> 3)
            for run_first, run_end in pieces(self._leaves[index][low:high], base + (low << 3)):
                run_first, run_end = max(first, run_first), min(end, run_end)
                if run_first < run_end:
                    yield run_first, run_end

    def _indexes(self, first: int, last: int) -> list[int]:
        if first == last:
            return [first] if first in self._leaves else []
        return sorted(index for index in self._leaves if first <= index <= last)
