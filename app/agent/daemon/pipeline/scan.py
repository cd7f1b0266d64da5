"""The reading stage: a disk's leaves are cut into segments, and buffers filled with what of them is needed.

READS segments of a disk are read at a time: the next one is on its way while one is handed on.

Not read are whole chunks that are omitted or lie in a hole of a file. In a chunk that is only partly
omitted the omitted 4 KiB blocks are zeroed, so that free space looks the same whatever lies there.
"""

import mmap
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

from app.agent.daemon.capture.reading import read_span
from app.agent.daemon.disk.reader import ALIGNMENT
from app.agent.daemon.pace import IsOver
from app.agent.daemon.pipeline.channel import Aborted, Channel
from app.agent.daemon.pipeline.disk_pass import DiskPass
from app.agent.daemon.pipeline.leaves import SEGMENT, LeafKey, LeafWork, segments_of
from app.agent.daemon.pipeline.segment import Segment
from app.agent.daemon.yielding import Gate
from app.wire.messages import Counters
from app.wire.tree import LEAF_BYTES

READS: Final = 2
BASE_BATCH: Final = 8
"""Leaves of the base that are fetched with one request: 256 KiB."""

_ZEROS: Final = memoryview(bytes(SEGMENT))

FetchLeaves = Callable[[DiskPass, int, int], bytes]
"""(disk, first leaf, count) → ids of the base's leaves."""


@dataclass(frozen=True)
class Stages:
    """What the reading stage hands on to, and the gate that it passes before each segment."""

    buffers: Channel[mmap.mmap]
    segments: Channel[Segment]
    fetch_leaves: FetchLeaves
    finish_leaf: Callable[[DiskPass, LeafWork], None]
    gate: Gate
    is_over: IsOver


def scan(disk: DiskPass, keys: list[LeafKey], stages: Stages) -> None:
    """Read these leaves of the disk into segments, nearly in order. Raises DiskError, AgentError, Aborted."""
    under_way: deque[Future[None]] = deque()
    with ThreadPoolExecutor(READS, f"read-{disk.number}") as pool:
        for leaf, start, end in _segments(disk, keys, stages.fetch_leaves):
            if len(under_way) == READS:
                under_way.popleft().result()
            under_way.append(pool.submit(_segment, disk, leaf, start, end, stages))
        for reading in under_way:
            reading.result()


def _segments(disk: DiskPass, keys: list[LeafKey], fetch: FetchLeaves) -> Iterator[tuple[LeafWork, int, int]]:
    for key, base_ids in _with_base(disk, keys, fetch):
        spans = segments_of(key.index, disk.reader.size, disk.base.chunk_size)
        leaf = LeafWork(key, base_ids, len(spans))
        for start, end in spans:
            yield leaf, start, end


def _with_base(disk: DiskPass, keys: list[LeafKey], fetch: FetchLeaves) -> Iterator[tuple[LeafKey, bytes]]:
    held, first = b"", 0
    for key in keys:
        at = (key.index - first) * LEAF_BYTES
        if not disk.base.root:
            yield key, bytes(LEAF_BYTES)
            continue
        if not 0 <= at < len(held):
            first, at = key.index, 0
            held = fetch(disk, first, min(BASE_BATCH, disk.leaf_count - first))
        yield key, held[at : at + LEAF_BYTES]


def _segment(disk: DiskPass, leaf: LeafWork, start: int, end: int, stages: Stages) -> None:
    runs = list(_runs(disk, start, end))
    unit = disk.base.chunk_size
    reading = sum(min((first + count) * unit, end) - first * unit for first, count in runs)
    disk.tally.add(Counters(read=reading, zero=_hole_bytes(disk, start, end, reading)))
    if not runs:
        disk.tally.add(Counters(), seen=end - start)
        if leaf.finish_segment():
            stages.finish_leaf(disk, leaf)
        return
    buffer = stages.buffers.get()
    assert buffer is not None, "the pool of buffers is never closed"
    segment = Segment(disk, leaf, start, end, runs, buffer)
    with stages.gate.reading(reading, stages.is_over) as may_read:
        if not may_read:
            raise Aborted
        _fill(segment)
    stages.segments.put(segment)


def _hole_bytes(disk: DiskPass, start: int, end: int, reading: int) -> int:
    omitted = sum(high - low for low, high in disk.capture.omitted.within(start, end))
    return max(0, end - start - reading - omitted)


def _runs(disk: DiskPass, start: int, end: int) -> Iterator[tuple[int, int]]:
    """(first chunk, count) of the chunks in [start, end) that must be read."""
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


def _fill(segment: Segment) -> None:
    """Read the segment's runs into its buffer and zero what is omitted."""
    disk, unit = segment.disk, segment.disk.base.chunk_size
    with memoryview(segment.buffer) as view:
        for first, count in segment.runs:
            low, high = first * unit, min((first + count) * unit, segment.end)
            at = low - segment.start
            length = -(-(high - low) // ALIGNMENT) * ALIGNMENT
            read_span(disk.reader, low, view[at : at + length], segment.damaged)
            for free, behind in disk.capture.omitted.within(low, high):
                view[free - segment.start : behind - segment.start] = _ZEROS[: behind - free]
