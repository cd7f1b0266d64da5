"""Sorted, disjoint byte ranges, kept as two arrays: a million ranges take 16 MB."""

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from typing import Self

from app.wire.messages import Range


class Extents:
    """Ranges [start, end) in ascending order; ranges that touch are one. Grows at its end only."""

    def __init__(self) -> None:
        self._starts = array("Q")
        self._ends = array("Q")

    @classmethod
    def of(cls, ranges: Iterable[tuple[int, int]]) -> Self:
        """Build from (start, end) pairs in any order; overlapping ones are joined."""
        made = cls()
        for start, end in sorted(ranges):
            made.add(start, end)
        return made

    @classmethod
    def of_ranges(cls, ranges: Iterable[Range]) -> Self:
        """Build from the ranges of a message, (start, length) in any order."""
        return cls.of((start, start + length) for start, length in ranges)

    def ranges(self) -> tuple[Range, ...]:
        """As a message has them: (start, length)."""
        return tuple((start, end - start) for start, end in self)

    def add(self, start: int, end: int) -> None:
        """Append [start, end); its start must not lie before the start of the last range."""
        if start >= end:
            return
        if self._ends and start <= self._ends[-1]:
            assert start >= self._starts[-1], "ranges are added in ascending order"
            self._ends[-1] = max(self._ends[-1], end)
        else:
            self._starts.append(start)
            self._ends.append(end)

    def __len__(self) -> int:
        return len(self._starts)

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return zip(self._starts, self._ends, strict=True)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Extents):
            return NotImplemented
        return self._starts == other._starts and self._ends == other._ends

    __hash__ = None  # type: ignore[assignment]  # equal by content, and it grows

    @property
    def total(self) -> int:
        """Bytes in all ranges."""
        return sum(self._ends) - sum(self._starts)

    def within(self, start: int, end: int) -> Iterator[tuple[int, int]]:
        """The parts of the ranges that lie in [start, end)."""
        at = max(0, bisect_right(self._starts, start) - 1)
        while at < len(self._starts) and self._starts[at] < end:
            low, high = max(start, self._starts[at]), min(end, self._ends[at])
            if low < high:
                yield low, high
            at += 1

    def covers(self, start: int, end: int) -> bool:
        """Whether one range holds all of [start, end)."""
        return next(self.within(start, end), None) == (start, end)

    def gaps(self, start: int, end: int) -> Iterator[tuple[int, int]]:
        """The parts of [start, end) that lie in no range."""
        at = start
        for low, high in self.within(start, end):
            if at < low:
                yield at, low
            at = high
        if at < end:
            yield at, end

    def shifted(self, by: int) -> "Extents":
        """The same ranges, `by` bytes further on."""
        return Extents.of((start + by, end + by) for start, end in self)

    def without(self, other: "Extents") -> "Extents":
        """What of these ranges lies in none of `other`."""
        if len(other) < len(self) // 8:
            left = self._copy()
            for start, end in other:
                left._cut_out(start, end)
            return left
        left = Extents()
        for start, end in self:
            for low, high in other.gaps(start, end):
                left.add(low, high)
        return left

    def _copy(self) -> "Extents":
        made = Extents()
        made._starts, made._ends = self._starts[:], self._ends[:]
        return made

    def _cut_out(self, start: int, end: int) -> None:
        """Take [start, end) away: the ranges that touch it make place for what is left of them."""
        low = bisect_right(self._ends, start)
        high = bisect_left(self._starts, end)
        if low >= high or start >= end:
            return
        left = [(self._starts[low], start), (end, self._ends[high - 1])]
        kept = [(first, behind) for first, behind in left if first < behind]
        self._starts[low:high] = array("Q", [first for first, _ in kept])
        self._ends[low:high] = array("Q", [behind for _, behind in kept])

    def aligned(self, unit: int) -> "Extents":
        """The ranges rounded inwards to multiples of `unit`; those that vanish are dropped."""
        left = Extents()
        for start, end in self:
            left.add(-(-start // unit) * unit, end // unit * unit)
        return left

    def largest(self, count: int) -> "Extents":
        """The `count` longest ranges, in ascending order."""
        if len(self) <= count:
            return self
        chosen = sorted(self, key=lambda pair: pair[1] - pair[0], reverse=True)[:count]
        return Extents.of(chosen)
