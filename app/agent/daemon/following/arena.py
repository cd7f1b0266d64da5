"""Memory for what is read while the source is frozen: allocated and locked before, so that nothing waits.

Reading is done by threads that were started before as well.
"""

import ctypes
import mmap
import os
import time
from collections.abc import Iterable
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from types import TracebackType
from typing import Final, Self

from app.agent.daemon.capture.extents import Extents
from app.agent.daemon.capture.reading import read_span
from app.agent.daemon.disk.reader import ALIGNMENT
from app.agent.daemon.pipeline.disk_pass import DiskPass
from app.agent.daemon.pipeline.leaves import SEGMENT, LeafKey, LeafTask, Run, portions
from app.agent.daemon.pipeline.segment import padded, placed, run_bytes
from app.wire.chunks import MIB

MOST_BYTES: Final = 96 * MIB
"""The 80 MiB of the segments that rounds read into are not in memory at the same time."""
READERS: Final = 4
PIECE: Final = MIB
"""Bytes that are read with one call: the budget is looked at in between."""


class TooLate(Exception):
    """The budget was over before everything was read."""


@dataclass
class Reading:
    """Runs of a leaf's chunks and where their bytes are; `damaged` are unreadable byte ranges of the disk."""

    disk: DiskPass
    key: LeafKey
    runs: list[Run]
    view: memoryview
    damaged: list[tuple[int, int]] = field(default_factory=list)


@dataclass(frozen=True)
class Stale:
    """Byte ranges of a disk, in whole blocks but for its end, within run `number` of a reading: what is in
    memory of them is older than it must be."""

    reading: Reading
    number: int
    ranges: Extents


class Arena:
    """Locked memory of `size` bytes and the threads that fill it. `note` says what is not as it should be,
    `ahead` is what was read into it before the source was frozen."""

    def __init__(self, size: int) -> None:
        self.size = size
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

    def place(self, disk: DiskPass, task: LeafTask, spare: int = 0) -> list[Reading] | None:
        """Where the runs of a leaf go; None where there is no room for them, or less than `spare` would be
        left."""
        unit, size = disk.base.chunk_size, disk.reader.size
        readings, used = [], self._used
        for runs in portions(task.runs or (), SEGMENT // unit):
            length = sum(padded(run, unit, size) for run in runs)
            if self._used + length > self.size - spare:
                self._used = used
                return None
            readings.append(Reading(disk, task.key, runs, self._view[self._used : self._used + length]))
            self._used += length
        return readings

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
    unit, size = reading.disk.base.chunk_size, reading.disk.reader.size
    for run, at in zip(reading.runs, placed(reading.runs, unit, size), strict=True):
        low, _ = run_bytes(run, unit, size)
        _read_span(reading, low, reading.view[at : at + padded(run, unit, size)], deadline)


def _read_again(stale: Stale, deadline: float) -> None:
    reading = stale.reading
    unit, size = reading.disk.base.chunk_size, reading.disk.reader.size
    start, _ = run_bytes(reading.runs[stale.number], unit, size)
    at = list(placed(reading.runs, unit, size))[stale.number]
    for low, high in stale.ranges:
        behind = -(-high // ALIGNMENT) * ALIGNMENT
        _read_span(reading, low, reading.view[at + low - start : at + behind - start], deadline)


def _read_span(reading: Reading, start: int, view: memoryview, deadline: float) -> None:
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
