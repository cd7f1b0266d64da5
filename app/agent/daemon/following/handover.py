"""What a cut or a round over blocks read, on its way to the service: segments of whole chunks, or parts of
leaves.
"""

from collections.abc import Iterable, Iterator

from app.agent.daemon.following.arena import Reading
from app.agent.daemon.pipeline.blockwise import Part, Piece
from app.agent.daemon.pipeline.leaves import LeafKey, LeafWork
from app.agent.daemon.pipeline.run import PassRunner
from app.agent.daemon.pipeline.scan import blank
from app.agent.daemon.pipeline.segment import Segment
from app.wire.chunks import BLOCK
from app.wire.messages import Counters


def hand_over(runner: PassRunner, readings: Iterable[Reading], *, is_sparse: bool) -> None:
    """Send what was read, and wait until the service has it. Raises what a round raises, RescanNeeded, and of
    a sparse cut BlocksRefused."""
    by_key = _by_key(readings)
    for some in by_key.values():
        _count(some)
    if is_sparse:
        runner.take_blocks(set(by_key), lambda keys: _announced([_part(by_key[key]) for key in keys]))
    else:
        runner.take(set(by_key), lambda keys: [segment for key in keys for segment in _segments(by_key[key])])


def parts_of(readings: Iterable[Reading]) -> Iterator[Part]:
    """Written blocks that were read just now."""
    for some in _by_key(readings).values():
        _count(some)
        yield _part(some)


def _by_key(readings: Iterable[Reading]) -> dict[LeafKey, list[Reading]]:
    by_key: dict[LeafKey, list[Reading]] = {}
    for reading in readings:
        by_key.setdefault(reading.key, []).append(reading)
    return by_key


def _count(readings: Iterable[Reading]) -> None:
    for reading in readings:
        reading.disk.tally.add(Counters(read=reading.view.nbytes))


def _announced(parts: list[Part]) -> Iterator[Part]:
    for part in parts:
        part.disk.tally.announce(part.covers)
    return iter(parts)


def _segments(readings: list[Reading]) -> list[Segment]:
    """What was read of one leaf, in whole chunks, on its way to the hashers."""
    disk, key = readings[0].disk, readings[0].key
    leaf = LeafWork(key, disk.leaves.ids(key.index), len(readings), disk.require_ids_before(key.index))
    per_chunk, segments = disk.base.chunk_size // BLOCK, []
    for reading in readings:
        runs = [(first // per_chunk, count // per_chunk) for first, count in reading.runs]
        view = reading.view
        segment = Segment(disk, leaf, view.nbytes, runs, view, lambda: None, list(reading.damaged))
        blank(segment)
        segments.append(segment)
    return segments


def _part(readings: list[Reading]) -> Part:
    """What was read of one leaf, in written blocks: what is omitted of it is zero."""
    disk, pieces = readings[0].disk, list[Piece]()
    for reading in readings:
        for start, end, at in reading.places():
            view = reading.view[at : at + end - start]
            for low, high in disk.capture.omitted.within(start, end):
                view[low - start : high - start] = bytes(high - low)
            pieces.append((start, view))
    damaged = [span for reading in readings for span in reading.damaged]
    return Part(disk, readings[0].key, sorted(pieces, key=_place), damaged)


def _place(piece: Piece) -> int:
    return piece[0]
