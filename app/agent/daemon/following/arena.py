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

from app.agent.daemon.capture.reading import read_span
from app.agent.daemon.pipeline.disk_pass import DiskPass
from app.agent.daemon.pipeline.leaves import SEGMENT, LeafKey, LeafTask, Run, portions
from app.agent.daemon.pipeline.segment import padded, placed, run_bytes
from app.wire.chunks import MIB

MOST_BYTES: Final = 64 * MIB
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


class Arena:
    """Locked memory of `size` bytes and the threads that fill it. `note` says what is not as it should be."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._memory = mmap.mmap(-1, size)
        self._view = memoryview(self._memory)
        self._pool = ThreadPoolExecutor(READERS, "cut")
        self._used = 0
        self.note = _locked(self._memory, size)
        for waiting in [self._pool.submit(time.sleep, 0.001) for _ in range(READERS)]:
            waiting.result()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.shutdown(cancel_futures=True)

    def place(self, disk: DiskPass, task: LeafTask) -> list[Reading] | None:
        """Where the runs of a leaf go; None where there is no room for them."""
        unit, size = disk.base.chunk_size, disk.reader.size
        readings = []
        for runs in portions(task.runs or (), SEGMENT // unit):
            length = sum(padded(run, unit, size) for run in runs)
            if self._used + length > self.size:
                return None
            readings.append(Reading(disk, task.key, runs, self._view[self._used : self._used + length]))
            self._used += length
        return readings

    def fill(self, readings: Iterable[Reading], deadline: float) -> None:
        """Read all of them before `deadline` (CLOCK_MONOTONIC). Raises TooLate, DiskError.

        It returns at the deadline even where a disk keeps a read waiting; leaving the arena waits for that.
        """
        reading = [self._pool.submit(_read, each, deadline) for each in readings]
        done, missing = wait(reading, max(0.0, deadline - time.monotonic()), FIRST_EXCEPTION)
        for each in missing:
            each.cancel()
        for each in done:
            if not each.cancelled():
                each.result()
        if missing:
            raise TooLate


def _read(reading: Reading, deadline: float) -> None:
    unit, size = reading.disk.base.chunk_size, reading.disk.reader.size
    for run, at in zip(reading.runs, placed(reading.runs, unit, size), strict=True):
        low, _ = run_bytes(run, unit, size)
        for done in range(0, padded(run, unit, size), PIECE):
            if time.monotonic() >= deadline:
                raise TooLate
            length = min(PIECE, padded(run, unit, size) - done)
            view = reading.view[at + done : at + done + length]
            read_span(reading.disk.reader, low + done, view, reading.damaged)


def _locked(memory: mmap.mmap, size: int) -> str:
    """Lock memory, which also makes all of it present; why it could not be, or nothing."""
    libc = ctypes.CDLL(None, use_errno=True)
    address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    if libc.mlock(ctypes.c_void_p(address), ctypes.c_size_t(size)) == 0:
        return ""
    return f"the memory of the cut is not locked: {os.strerror(ctypes.get_errno())}"
