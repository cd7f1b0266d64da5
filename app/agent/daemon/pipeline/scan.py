"""The reading stage: a disk's leaves are cut into segments, and buffers filled with what of them is needed.

READS segments of a disk are read at a time: the next one is on its way while one is handed on.

Of a whole leaf those chunks are not read that are omitted or lie in a hole of a file. In a chunk that is only
partly omitted the omitted 4 KiB blocks are zeroed, so that free space looks the same whatever lies there.
"""

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

from app.agent.daemon.capture.reading import read_span
from app.agent.daemon.pace import IsOver
from app.agent.daemon.pipeline.channel import Aborted, Channel
from app.agent.daemon.pipeline.disk_pass import DiskPass
from app.agent.daemon.pipeline.leaves import SEGMENT, LeafTask, LeafWork, Run, portions, segments_of
from app.agent.daemon.pipeline.segment import Segment, padded, placed, run_bytes
from app.agent.daemon.yielding import Gate
from app.wire.messages import Counters

READS: Final = 2
_ZEROS: Final = memoryview(bytes(SEGMENT))


@dataclass(frozen=True)
class Stages:
    """What the reading stage hands on to, and the gate that it passes before each segment."""

    buffers: Channel[memoryview]
    segments: Channel[Segment]
    finish_leaf: Callable[[DiskPass, LeafWork], None]
    gate: Gate
    is_over: IsOver


def scan(disk: DiskPass, tasks: list[LeafTask], stages: Stages) -> None:
    """Read these leaves of the disk into segments, nearly in order. Raises DiskError, AgentError, Aborted."""
    under_way: deque[Future[None]] = deque()
    with ThreadPoolExecutor(READS, f"read-{disk.number}") as pool:
        for reading in _readings(disk, tasks, stages):
            if len(under_way) == READS:
                under_way.popleft().result()
            under_way.append(pool.submit(reading))
        for rest in under_way:
            rest.result()


def _readings(disk: DiskPass, tasks: list[LeafTask], stages: Stages) -> Iterator[Callable[[], None]]:
    """What is to be read, each a segment."""
    for task in tasks:
        before = None if task.runs is None else disk.ids_before(task.key.index)
        if task.runs is None or before is None:
            yield from _whole(disk, task, stages)
        else:
            yield from _parts(disk, task, task.runs, before, stages)


def _whole(disk: DiskPass, task: LeafTask, stages: Stages) -> Iterator[Callable[[], None]]:
    index = task.key.index
    spans = segments_of(index, disk.reader.size, disk.base.chunk_size)
    leaf = LeafWork(task.key, disk.leaves.ids(index), len(spans))
    for start, end in spans:
        yield lambda start=start, end=end: _span(disk, leaf, start, end, stages)  # type: ignore[misc]


def _parts(
    disk: DiskPass, task: LeafTask, runs: tuple[Run, ...], before: bytes, stages: Stages
) -> Iterator[Callable[[], None]]:
    groups = list(portions(runs, SEGMENT // disk.base.chunk_size))
    base_ids = disk.leaves.ids(task.key.index)
    leaf = LeafWork(task.key, base_ids, len(groups), before)
    for group in groups:
        covers = bytes_of(disk, group)
        disk.tally.add(Counters(read=covers))
        yield lambda group=group, covers=covers: _read(disk, leaf, group, covers, stages)  # type: ignore[misc]


def _span(disk: DiskPass, leaf: LeafWork, start: int, end: int, stages: Stages) -> None:
    runs = list(_runs(disk, start, end))
    unit = disk.base.chunk_size
    reading = sum(min((first + count) * unit, end) - first * unit for first, count in runs)
    disk.tally.add(Counters(read=reading, zero=_hole_bytes(disk, start, end, reading)))
    if runs:
        _read(disk, leaf, runs, end - start, stages)
        return
    disk.tally.add(Counters(), seen=end - start)
    if leaf.finish_segment():
        stages.finish_leaf(disk, leaf)


def _read(disk: DiskPass, leaf: LeafWork, runs: list[Run], covers: int, stages: Stages) -> None:
    buffer = stages.buffers.get()
    assert buffer is not None, "the pool of buffers is never closed"
    segment = Segment(disk, leaf, covers, runs, buffer, lambda: stages.buffers.put_back(buffer))
    with stages.gate.reading(bytes_of(disk, runs), stages.is_over) as may_read:
        if not may_read:
            raise Aborted
        fill(segment)
    if leaf.is_partial:
        disk.dirt.refresh()
    stages.segments.put(segment)


def bytes_of(disk: DiskPass, runs: list[Run]) -> int:
    """What the runs take in a buffer."""
    return sum(padded(run, disk.base.chunk_size, disk.reader.size) for run in runs)


def _hole_bytes(disk: DiskPass, start: int, end: int, reading: int) -> int:
    omitted = sum(high - low for low, high in disk.capture.omitted.within(start, end))
    return max(0, end - start - reading - omitted)


def _runs(disk: DiskPass, start: int, end: int) -> Iterator[Run]:
    """The chunks in [start, end) that must be read."""
    unit, omitted = disk.base.chunk_size, disk.capture.omitted
    if omitted.covers(start, end):
        return
    first, count, data = 0, 0, -1
    for at in range(start, end, unit):
        behind = min(at + unit, end)
        if data < at:
            data = disk.reader.next_data(at)
        if data >= behind or omitted.covers(at, behind):
            continue
        if count and first + count == at // unit:
            count += 1
        else:
            if count:
                yield first, count
            first, count = at // unit, 1
    if count:
        yield first, count


def fill(segment: Segment) -> None:
    """Read the segment's runs into its memory and zero what is omitted. Raises DiskError."""
    disk, unit = segment.disk, segment.disk.base.chunk_size
    places = placed(segment.runs, unit, disk.reader.size)
    for run, at in zip(segment.runs, places, strict=True):
        low, _ = run_bytes(run, unit, disk.reader.size)
        length = padded(run, unit, disk.reader.size)
        read_span(disk.reader, low, segment.view[at : at + length], segment.damaged)
    blank(segment)


def blank(segment: Segment) -> None:
    """Zero what is omitted of a segment that was read."""
    disk, unit = segment.disk, segment.disk.base.chunk_size
    places = placed(segment.runs, unit, disk.reader.size)
    for run, at in zip(segment.runs, places, strict=True):
        low, high = run_bytes(run, unit, disk.reader.size)
        for free, behind in disk.capture.omitted.within(low, high):
            segment.view[at + free - low : at + behind - low] = _ZEROS[: behind - free]
