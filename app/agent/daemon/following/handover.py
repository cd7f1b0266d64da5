"""What a cut read, on its way to the service: whole chunks as segments, written blocks as they are."""

from collections.abc import Iterable

from app.agent.daemon.errors import RescanNeeded
from app.agent.daemon.following.arena import Reading
from app.agent.daemon.pipeline.blockwise import Piece, WrittenBlocks
from app.agent.daemon.pipeline.disk_pass import DiskPass
from app.agent.daemon.pipeline.leaves import LeafKey, LeafWork
from app.agent.daemon.pipeline.run import PassRunner
from app.agent.daemon.pipeline.scan import blank
from app.agent.daemon.pipeline.segment import Segment
from app.wire.chunks import BLOCK
from app.wire.messages import Counters


def hand_over(runner: PassRunner, readings: Iterable[Reading], *, is_sparse: bool) -> None:
    """Send what was read, and wait until the service has it. Raises what a round raises, RescanNeeded, and of
    a sparse cut BlocksRefused."""
    by_key: dict[LeafKey, list[Reading]] = {}
    for reading in readings:
        by_key.setdefault(reading.key, []).append(reading)
        reading.disk.tally.add(Counters(read=reading.view.nbytes))
    if is_sparse:
        runner.take_blocks([_blocks(some) for some in by_key.values()])
    else:
        runner.take(set(by_key), lambda keys: [segment for key in keys for segment in _segments(by_key[key])])


def _segments(readings: list[Reading]) -> list[Segment]:
    """What was read of one leaf, in whole chunks, on its way to the hashers."""
    disk, key = readings[0].disk, readings[0].key
    leaf = LeafWork(key, disk.leaves.ids(key.index), len(readings), _ids_before(disk, key))
    per_chunk, segments = disk.base.chunk_size // BLOCK, []
    for reading in readings:
        runs = [(first // per_chunk, count // per_chunk) for first, count in reading.runs]
        view = reading.view
        segment = Segment(disk, leaf, view.nbytes, runs, view, lambda: None, list(reading.damaged))
        blank(segment)
        segments.append(segment)
    return segments


def _blocks(readings: list[Reading]) -> WrittenBlocks:
    """What was read of one leaf, in written blocks: what is omitted of it is zero."""
    disk, key, pieces = readings[0].disk, readings[0].key, list[Piece]()
    for reading in readings:
        for start, end, at in reading.places():
            view = reading.view[at : at + end - start]
            for low, high in disk.capture.omitted.within(start, end):
                view[low - start : high - start] = bytes(high - low)
            pieces.append((start, view))
    damaged = [span for reading in readings for span in reading.damaged]
    return WrittenBlocks(disk, key, _ids_before(disk, key), sorted(pieces, key=_place), damaged)


def _place(piece: Piece) -> int:
    return piece[0]


def _ids_before(disk: DiskPass, key: LeafKey) -> bytes:
    before = disk.ids_before(key.index)
    if before is None:
        raise RescanNeeded(disk.base.key, disk.reader.path, "the service lost a part of the replica's map")
    return before
