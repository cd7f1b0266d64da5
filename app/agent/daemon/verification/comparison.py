"""One disk compared with the head, leaf by leaf, chunk by chunk.

A chunk that differs is judged at the end of its leaf, all of a leaf at once:

1. Drain the tracker; what is dirty is excused.
2. Ask for the head. It may have moved, and what it took in is not dirty any more.
3. Read the chunk again and compare it with the head of now.

That is done three times, with a growing pause: the kernel tells of a write when it is complete, and its bytes
can be read before. What still differs then is unexplained if once more it is not dirty and the head has not
moved since the reading; a head that moved is compared with from the start.
"""

import mmap
import time
from collections.abc import Iterator, Sequence
from typing import Final

from app.agent.daemon.capture.extents import Extents
from app.agent.daemon.capture.reading import read_span
from app.agent.daemon.disk.reader import ALIGNMENT, DiskReader
from app.agent.daemon.errors import DiskError, Refusal
from app.agent.daemon.verification.guard import Guard
from app.agent.daemon.verification.head import Head, is_gone
from app.agent.daemon.verification.writes import Writes
from app.wire.chunks import MIB, chunk_count, chunk_length, name_of
from app.wire.tree import LEAF_IDS
from app.wire.verification import MAX_UNEXPLAINED, CheckpointRoot, DiskVerification

PIECE: Final = 4 * MIB
"""Bytes that are read in one step: a pause waits for no more."""
SETTLE_SECONDS: Final = (0.0, 0.2, 1.0)
MOST_MOVES: Final = 20
"""How often in a row the head may move under the same chunks before they count as unproved."""

_ZEROS: Final = memoryview(bytes(PIECE))


class DiskComparison:
    """Compares one disk; `result` is what was found so far, `done` how far it got, in bytes of the disk."""

    def __init__(self, reader: DiskReader, key: str, head: Head, writes: Writes, guard: Guard) -> None:
        self._reader = reader
        self._key = key
        self._head = head
        self._writes = writes
        self._guard = guard
        self._buffer = mmap.mmap(-1, PIECE)
        self._started = time.monotonic()
        self._unexplained = Extents()
        self._unit = 0
        self._code = self._note = ""
        self.done = 0
        self._read = self._compared = self._omitted = self._unreadable = 0
        self._lost = self._excused = self._unproved = 0

    @property
    def result(self) -> DiskVerification:
        """What was found."""
        return DiskVerification(
            key=self._key,
            size=self._reader.size,
            read=self._read,
            compared=self._compared,
            omitted=self._omitted,
            unreadable=self._unreadable,
            lost=self._lost,
            excused=self._excused,
            unproved=self._unproved,
            unexplained=self._unexplained.ranges()[:MAX_UNEXPLAINED],
            unexplained_bytes=self._unexplained.total,
            milliseconds=round((time.monotonic() - self._started) * 1000),
            code=self._code[:64],
            note=self._note[:1000],
        )

    def broken(self, error: DiskError) -> DiskVerification:
        """What was found until the disk could not be compared any further."""
        self._code, self._note = error.code, str(error)
        return self.result

    def run(self) -> Iterator[None]:
        """Compare; yields after each step, so that the caller can tell of it.

        Raises DiskError for a disk that vanished or was resized, Refusal, Stopped.
        """
        if not self._writes.tracks(self._key):
            self._note = "not all writes to this disk are known: what differs may have been written"
        self._unit = self._disk.chunk_size
        for first in range(0, chunk_count(self._reader.size, self._unit), LEAF_IDS):
            yield from self._leaf(first)
        self._reader.require_unchanged()

    @property
    def _disk(self) -> CheckpointRoot:
        """The disk in the head of now. Raises DiskError where it is not there as it is here."""
        found = self._head.disk(self._key)
        if found is None or found.size != self._reader.size:
            has = f"{found.size} bytes of it" if found else "nothing of it"
            raise DiskError(
                f"{self._reader.path} has {self._reader.size} bytes and the head has {has}",
                code="DISK_LAYOUT_CHANGED",
                remedy="verify again after the next checkpoint",
            )
        return found

    def _leaf(self, first: int) -> Iterator[None]:
        unit = self._unit
        last = min(first + LEAF_IDS, chunk_count(self._reader.size, unit))
        different: list[int] = []
        try:
            with self._guard.step():  # a step of its own: no reading waits for the service
                self._zeros()
                self._expected(first)
            for at in range(first, last, PIECE // unit):
                numbers = range(at, min(at + PIECE // unit, last))
                different += self._look(numbers)
                self.done = min(numbers.stop * unit, self._reader.size)
                yield
            yield from self._judge(different)
        except Refusal as error:
            if error.code != "LEAVES_UNREADABLE":
                raise
            self._lose(first, last, error)

    def _lose(self, first: int, last: int, error: Refusal) -> None:
        """The service cannot read its own leaf: there is nothing to compare with."""
        self._lost += sum(self._length(number) for number in range(first, last))
        self.done = min(last * self._unit, self._reader.size)
        self._note = str(error)

    def _look(self, numbers: Sequence[int]) -> list[int]:
        """The first look at a piece, which counts."""
        before = self._read
        with self._guard.step():
            zeros, unit = self._zeros(), self._unit
            left = [n for n in numbers if not zeros.covers(n * unit, n * unit + self._length(n))]
            different, damaged = self._differing(left)
        self._omitted += sum(map(self._length, numbers)) - sum(map(self._length, left))
        self._unreadable += damaged
        self._compared += sum(map(self._length, left)) - damaged
        self._guard.spend(self._read - before)
        return different

    def _differing(self, numbers: Sequence[int]) -> tuple[list[int], int]:
        """Those of the chunks that are not the head's, and how many bytes cannot be read."""
        different, damaged = [], 0
        with memoryview(self._buffer) as view:
            for run in _runs(numbers, PIECE // self._unit):
                spoilt = self._fill(run, view)
                for at, number in enumerate(run):
                    start = at * self._unit
                    data = view[start : start + self._length(number)]
                    if self._is_spoilt(number, spoilt):
                        damaged += data.nbytes
                    elif not self._is_same(number, data):
                        different.append(number)
        return different, damaged

    def _fill(self, run: range, view: memoryview) -> list[tuple[int, int]]:
        """Read a run of chunks; the ranges that cannot be read."""
        unit = self._unit
        low, high = run.start * unit, min(run.stop * unit, self._reader.size)
        spoilt: list[tuple[int, int]] = []
        if self._reader.next_data(low) >= high:
            view[: high - low] = _ZEROS[: high - low]
            return spoilt
        read_span(self._reader, low, view[: -(-(high - low) // ALIGNMENT) * ALIGNMENT], spoilt)
        self._read += high - low
        return spoilt

    def _is_spoilt(self, number: int, spoilt: list[tuple[int, int]]) -> bool:
        start = number * self._unit
        return any(low < start + self._length(number) and start < high for low, high in spoilt)

    def _is_same(self, number: int, data: memoryview) -> bool:
        """Whether the replica holds this chunk, as it is or with zeros in its free blocks."""
        expected = self._expected(number)
        if name_of(data) == expected:
            return True
        start = number * self._unit
        holes = list(self._zeros().within(start, start + data.nbytes))
        for low, high in holes:
            data[low - start : high - start] = _ZEROS[: high - low]
        return bool(holes) and name_of(data) == expected

    def _expected(self, number: int) -> bytes:
        try:
            return self._head.chunk_id(self._disk, number)
        except Refusal as error:
            if not (is_gone(error) and self._head.refresh()):
                raise
        return self._head.chunk_id(self._disk, number)

    def _zeros(self) -> Extents:
        try:
            return self._head.zeros(self._disk)
        except Refusal as error:
            if not (is_gone(error) and self._head.refresh()):
                raise
        return self._head.zeros(self._disk)

    def _length(self, number: int) -> int:
        return chunk_length(number, self._reader.size, self._unit)

    def _judge(self, numbers: list[int]) -> Iterator[None]:
        for _ in range(MOST_MOVES):
            settle = SETTLE_SECONDS if self._writes.tracks(self._key) else SETTLE_SECONDS[:1]
            for seconds in settle:
                numbers = self._again(numbers, seconds)
                yield
                if not numbers:
                    return
            self._guard.wait(settle[-1])
            with self._guard.step():
                numbers, is_tracked = self._without_dirty(numbers)
                has_moved = self._head.refresh()
            if not has_moved:
                self._conclude(numbers, is_tracked=is_tracked)
                return
        self._conclude(numbers, is_tracked=False)

    def _again(self, numbers: list[int], seconds: float) -> list[int]:
        """One of the three looks; what is left of the chunks."""
        if not numbers:
            return []
        self._guard.wait(seconds)
        before = self._read
        with self._guard.step():
            numbers, _ = self._without_dirty(numbers)
            self._head.refresh()
        left: list[int] = []
        for run in _runs(numbers, PIECE // self._unit):
            with self._guard.step():
                different, damaged = self._differing(run)
            left += different
            self._unreadable += damaged
            self._compared -= damaged
        self._guard.spend(self._read - before)
        return left

    def _without_dirty(self, numbers: list[int]) -> tuple[list[int], bool]:
        """Excuse what was written since the head; the rest, and whether all writes are known."""
        self._writes.drain()
        if not self._writes.tracks(self._key):
            return numbers, False
        left = [number for number in numbers if not self._is_touched(number)]
        self._excused += sum(map(self._length, numbers)) - sum(map(self._length, left))
        return left, True

    def _is_touched(self, number: int) -> bool:
        start = number * self._unit
        return self._writes.touched(self._key, start, start + self._length(number))

    def _conclude(self, numbers: list[int], *, is_tracked: bool) -> None:
        for number in numbers:
            start = number * self._unit
            if is_tracked:
                self._unexplained.add(start, start + self._length(number))
            else:
                self._unproved += self._length(number)


def _runs(numbers: Sequence[int], most: int) -> Iterator[range]:
    """Ascending chunk numbers as runs of neighbours, `most` chunks at most."""
    run = range(0)
    for number in numbers:
        if run and number == run.stop and len(run) < most:
            run = range(run.start, number + 1)
        else:
            if run:
                yield run
            run = range(number, number + 1)
    if run:
        yield run
