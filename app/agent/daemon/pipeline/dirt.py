"""What a pass is told of the writes to a disk that is being followed."""

from collections.abc import Iterable
from typing import Protocol


class Dirt(Protocol):
    """The blocks of one disk that may differ from what stood there before this round. Thread-safe."""

    def refresh(self) -> None:
        """Take in every write that completed before this call."""

    def within(self, start: int, end: int, /) -> Iterable[tuple[int, int]]:
        """The byte ranges, in multiples of 4 KiB and ascending, of these bytes that were written to."""

    def is_written(self, start: int, end: int, /) -> bool:
        """Whether these bytes were written to after this round began."""


class Untracked:
    """Of a disk that is not followed nothing is known; its leaves are done as a whole. See `Dirt`."""

    def refresh(self) -> None:
        """There is nothing to take in."""

    def within(self, start: int, end: int) -> Iterable[tuple[int, int]]:
        """Everything may have been written to."""
        return ((start, end),)

    def is_written(self, _start: int, _end: int) -> bool:
        """Always: nothing is known."""
        return True
