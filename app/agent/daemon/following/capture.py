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
        self,
        tracking: Tracking,
        key: str,
        omitted: Extents,
        unwritten: Extents,
        notes: tuple[str, ...],
        blanked: Extents | None = None,
    ) -> None:
        """`unwritten` are ranges whose writes do not count, such as swap: they stay omitted. Those of them
        that the head has not omitted are `blanked`: done once more, as zeros."""
        self.omitted = omitted
        self.unwritten = unwritten
        self.blanked = blanked or Extents()
        self.notes = notes
        self.label = ""
        self._tracking = tracking
        self._key = key

    def counting(self, extents: Iterable[tuple[int, int]]) -> Extents:
        """Those of these writes that count."""
        return Extents.of(extents).without(self.unwritten)

    def written(self, extents: Iterable[tuple[int, int]]) -> Extents:
        """Note writes; what of the disk is to be done for them."""
        all_of_them = Extents.of(extents)
        found = self.counting(all_of_them)
        self.omitted = self.omitted.without(found)
        zeros = (span for low, high in self.blanked for span in all_of_them.within(low, high))
        return Extents.of([*found, *zeros])

    def count_again(self, gone: Extents) -> None:
        """Writes to these ranges count again, and what they hold is to be copied."""
        self.unwritten = self.unwritten.without(gone)
        self.blanked = self.blanked.without(gone)
        self.omitted = self.omitted.without(gone)

    def recheck(self) -> Recheck:
        """The label of the cut; of a pass without one, `quiet` where no write was seen since it began."""
        if self.label:
            return Recheck(self.label, Extents())
        is_writing = self._tracking.is_writing(self._key)  # before the drain: a write ends before or after it
        self._tracking.drain()
        written = self.counting(self._tracking.dirty_of(self._key).written().extents())
        is_calm = not (is_writing or self._tracking.gap_of(self._key) or len(written))
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
