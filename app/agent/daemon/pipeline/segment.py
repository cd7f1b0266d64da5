"""A segment on its way from reader to hasher: the bytes of some chunks of one leaf."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from app.agent.daemon.disk.reader import ALIGNMENT
from app.agent.daemon.pipeline.disk_pass import DiskPass
from app.agent.daemon.pipeline.leaves import LeafWork, Run
from app.wire.chunks import chunk_length


@dataclass
class Segment:
    """The runs' bytes stand one after the other in `view`. `covers` is how many bytes of the disk are done
    with it, holes and omitted ranges included; `give_back` frees the memory."""

    disk: DiskPass
    leaf: LeafWork
    covers: int
    runs: list[Run]
    view: memoryview
    give_back: Callable[[], None]
    damaged: list[tuple[int, int]] = field(default_factory=list)

    @property
    def read(self) -> list[tuple[int, int]]:
        """The byte ranges of the disk that the runs are."""
        return [run_bytes(run, self.disk.base.chunk_size, self.disk.reader.size) for run in self.runs]

    def chunks(self) -> Iterator[tuple[int, memoryview]]:
        """(number over the disk, bytes) of each chunk that was read."""
        unit, size = self.disk.base.chunk_size, self.disk.reader.size
        for (first, count), place in zip(self.runs, placed(self.runs, unit, size), strict=True):
            for number in range(first, first + count):
                at = place + (number - first) * unit
                yield number, self.view[at : at + chunk_length(number, size, unit)]


def run_bytes(run: Run, unit: int, size: int) -> tuple[int, int]:
    """(start, end) of a run on a disk of `size` bytes with chunks of `unit` bytes."""
    first, count = run
    return first * unit, min((first + count) * unit, size)


def padded(run: Run, unit: int, size: int) -> int:
    """Bytes that a run takes in a buffer: whole blocks of ALIGNMENT."""
    start, end = run_bytes(run, unit, size)
    return -(-(end - start) // ALIGNMENT) * ALIGNMENT


def placed(runs: list[Run], unit: int, size: int) -> Iterator[int]:
    """Where each run begins in the buffer."""
    at = 0
    for run in runs:
        yield at
        at += padded(run, unit, size)
