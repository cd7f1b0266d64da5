"""A pass over a disk whose writes are tracked; see `Capture` and `Dirt` for the seams to the pipeline."""

import heapq
from collections.abc import Iterable, Iterator

from app.agent.daemon.capture.activity import FUZZY, QUIET
from app.agent.daemon.capture.extents import Extents
from app.agent.daemon.capture.method import Recheck
from app.agent.daemon.following.tracking import Tracking
from app.agent.daemon.tracking.blocks import BlockSet


class FollowedCapture:
    """One pass over one disk. A block that was written to since `omitted` was asked for is omitted no more:
    `written` takes it out before it is read."""

    def __init__(
        self, tracking: Tracking, key: str, omitted: Extents, unwritten: Extents, notes: tuple[str, ...]
    ) -> None:
        """`unwritten` are ranges whose writes do not count, such as swap: they stay omitted."""
        self.omitted = omitted
        self.unwritten = unwritten
        self.notes = notes
        self.label = ""
        self._tracking = tracking
        self._key = key

    def counting(self, extents: Iterable[tuple[int, int]]) -> Extents:
        """Those of these writes that count."""
        return Extents.of(extents).without(self.unwritten)

    def written(self, extents: Iterable[tuple[int, int]]) -> Extents:
        """Note writes; those that count."""
        found = self.counting(extents)
        self.omitted = self.omitted.without(found)
        return found

    def recheck(self) -> Recheck:
        """The label of the cut; of a pass without one, `quiet` where no write was seen since it began."""
        if self.label:
            return Recheck(self.label, Extents())
        self._tracking.drain()
        written = self.counting(self._tracking.dirty_of(self._key).written().extents())
        is_calm = not self._tracking.gap_of(self._key) and not len(written)
        return Recheck(QUIET if is_calm else FUZZY, Extents())


class RoundDirt:
    """The blocks that were taken for this round, and those written to since. See `Dirt`."""

    def __init__(self, tracking: Tracking, key: str) -> None:
        self._tracking = tracking
        self._dirty = tracking.dirty_of(key)
        self._taken = BlockSet()

    def begin(self, taken: BlockSet) -> None:
        """A round over these blocks begins."""
        self._taken = taken

    def refresh(self) -> None:
        """Take in every write that completed before this call."""
        self._tracking.drain()

    def within(self, start: int, end: int) -> Iterator[tuple[int, int]]:
        """The byte ranges of these bytes that were written to, ascending, those that touch joined."""
        found = heapq.merge(self._taken.within(start, end), self._dirty.written_within(start, end))
        yield from Extents.of(found)

    def is_written(self, start: int, end: int) -> bool:
        """Whether these bytes were written to after this round began."""
        return any(True for _ in self._dirty.written_within(start, end))
