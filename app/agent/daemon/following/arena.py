"""Memory for what is read while the source is frozen: allocated and locked before, so that nothing waits.

Reading is done by threads that were started before as well. What is read is counted in blocks, be it whole
chunks or the written blocks of chunks alone.
"""

import ctypes
import mmap
import os
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from types import TracebackType
from typing import Final, Self

from app.agent.daemon.capture.extents import Extents
from app.agent.daemon.capture.reading import read_span
from app.agent.daemon.disk.reader import ALIGNMENT
from app.agent.daemon.pipeline.disk_pass import DiskPass
from app.agent.daemon.pipeline.leaves import SEGMENT, LeafKey, Run, portions
from app.agent.daemon.pipeline.segment import padded, placed, run_bytes
from app.wire.chunks import BLOCK, MIB

MOST_BYTES: Final = 96 * MIB
"""The 80 MiB of the segments that rounds read into are not in memory at the same time."""
READERS: Final = 4
PIECE: Final = MIB
"""Bytes that are read with one call: the budget is looked at in between."""


class TooLate(Exception):
    """The budget was over before everything was read."""


@dataclass(frozen=True)
class Wanted:
    """Runs of a leaf's blocks, ascending: blocks are counted over the disk."""

    key: LeafKey
    runs: tuple[Run, ...]


@dataclass
class Reading:
    """Runs of a leaf's blocks and where their bytes are; `damaged` are unreadable byte ranges of the disk."""

    disk: DiskPass
    key: LeafKey
    runs: list[Run]
    view: memoryview
    damaged: list[tuple[int, int]] = field(default_factory=list)

    def places(self) -> Iterator[tuple[int, int, int]]:
        """(start, end) in bytes of each run on the disk, and where it begins in `view`."""
        size = self.disk.reader.size
        for run, at in zip(self.runs, placed(self.runs, BLOCK, size), strict=True):
            yield *run_bytes(run, BLOCK, size), at


@dataclass(frozen=True)
class Stale:
    """Byte ranges of a disk, in whole blocks but for its end, within the run of a reading that begins at byte
    `start` of the disk and at `at` in memory: what is there of them is older than it must be."""

    reading: Reading
    start: int
    at: int
    ranges: Extents


class Arena:
    """Locked memory of `size` bytes and the threads that fill it. `note` says what is not as it should be,
    `ahead` is what was read into it before the source was frozen. With `is_sparse` no whole chunks are read,
    but their written blocks alone."""

    def __init__(self, size: int, *, is_sparse: bool = False) -> None:
        self.size = size
        self.is_sparse = is_sparse
        self._memory = mmap.mmap(-1, size)
        self._view = memoryview(self._memory)
        self._pool = ThreadPoolExecutor(READERS, "cut")
        self._used = 0
        self.ahead: list[Reading] = []
        self.note = _locked(self._memory, size)
        for waiting in [self._pool.submit(time.sleep, 0.001) for _ in range(READERS)]:
            waiting.result()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.shutdown(cancel_futures=True)

    def place(self, disk: DiskPass, wanted: Wanted, spare: int = 0) -> list[Reading] | None:
        """Where the runs of a leaf go; None where there is no room for them, or less than `spare` would be
        left."""
        readings, used = [], self._used
        for runs in portions(wanted.runs, SEGMENT // BLOCK):
            length = sum(padded(run, BLOCK, disk.reader.size) for run in runs)
            if self._used + length > self.size - spare:
                self._used = used
                return None
            readings.append(Reading(disk, wanted.key, runs, self._view[self._used : self._used + length]))
            self._used += length
        return readings

    def empty(self) -> None:
        """Nothing of what was read is needed any more."""
        self._used = 0

    def fill(self, readings: Iterable[Reading], deadline: float, stale: Iterable[Stale] = ()) -> None:
        """Read all of them before `deadline` (CLOCK_MONOTONIC). Raises TooLate, DiskError.

        It returns at the deadline even where a disk keeps a read waiting; leaving the arena waits for that.
        """
        again = list(stale)
        for each in again:
            kept = Extents.of(each.reading.damaged).without(each.ranges)
            each.reading.damaged[:] = kept
        reading = [self._pool.submit(_read, each, deadline) for each in readings]
        reading += [self._pool.submit(_read_again, each, deadline) for each in again]
        done, missing = wait(reading, max(0.0, deadline - time.monotonic()), FIRST_EXCEPTION)
        for each_missing in missing:
            each_missing.cancel()
        for each_done in done:
            if not each_done.cancelled():
                each_done.result()
        if missing:
            raise TooLate


def _read(reading: Reading, deadline: float) -> None:
    for low, high, at in reading.places():
        _read_span(reading, low, high, at, deadline)


def _read_again(stale: Stale, deadline: float) -> None:
    for low, high in stale.ranges:
        _read_span(stale.reading, low, high, stale.at + low - stale.start, deadline)


def _read_span(reading: Reading, start: int, end: int, at: int, deadline: float) -> None:
    view = reading.view[at : at + -(-(end - start) // ALIGNMENT) * ALIGNMENT]
    for done in range(0, view.nbytes, PIECE):
        if time.monotonic() >= deadline:
            raise TooLate
        read_span(reading.disk.reader, start + done, view[done : done + PIECE], reading.damaged)


def _locked(memory: mmap.mmap, size: int) -> str:
    """Lock memory, which also makes all of it present; why it could not be, or nothing."""
    libc = ctypes.CDLL(None, use_errno=True)
    address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    if libc.mlock(ctypes.c_void_p(address), ctypes.c_size_t(size)) == 0:
        return ""
    return f"the memory of the cut is not locked: {os.strerror(ctypes.get_errno())}"
