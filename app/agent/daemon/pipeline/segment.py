"""A segment on its way from reader to hasher: which chunks of it lie in a buffer, and which are zeros."""

import mmap
from collections.abc import Iterator
from dataclasses import dataclass, field

from app.agent.daemon.pipeline.disk_pass import DiskPass
from app.agent.daemon.pipeline.leaves import LeafWork
from app.wire.chunks import chunk_length


@dataclass
class Segment:
    """Bytes [start, end) of a disk. `runs` are (first chunk, count) that were read; the rest is zero."""

    disk: DiskPass
    leaf: LeafWork
    start: int
    end: int
    runs: list[tuple[int, int]]
    buffer: mmap.mmap
    damaged: list[tuple[int, int]] = field(default_factory=list)

    def chunks(self, view: memoryview) -> Iterator[tuple[int, memoryview]]:
        """(number over the disk, bytes) of each chunk that was read; `view` is of the buffer."""
        unit = self.disk.base.chunk_size
        for first, count in self.runs:
            for number in range(first, first + count):
                at = number * unit - self.start
                yield number, view[at : at + chunk_length(number, self.disk.reader.size, unit)]
