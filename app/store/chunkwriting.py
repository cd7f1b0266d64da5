"""The chunks of a stream on their way into a volume: unpacked, hashed and written by threads."""

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final

from app.store.errors import ExportDamaged, ExportTruncated
from app.store.volumefile import VolumeOutput
from app.store.volumehash import THREADS
from app.wire.buffers import Buffer
from app.wire.chunks import MIB, chunk_id, chunk_length
from app.wire.codec import decode
from app.wire.frames import ChunkRecord, Frame, chunk_records
from app.wire.tree import RootNode

Placed = tuple[ChunkRecord, list[int]]
"""A chunk and the numbers of the chunks of the disk that it is."""

_RUN_BYTES: Final = 2 * MIB
"""Of neighbours that are written by one call."""
_WRITERS: Final = THREADS + 2
"""Each unpacks, hashes and writes, and waits for the storage for about half of its time."""
_FRAMES: Final = _WRITERS + 2
"""Frames under way at most."""


class ChunkWriting:
    """Writes the chunks that are owed to an output, as their frames come."""

    def __init__(self, output: VolumeOutput) -> None:
        """Write to `output`, which the caller closes after this."""
        self._output = output
        self._pool = ThreadPoolExecutor(_WRITERS, "volume-write")
        self._under_way: deque[Future[int]] = deque()
        self._owed: dict[bytes, list[int]] = {}
        self.written = 0
        """Bytes of chunks written so far, zeros not counted."""

    def owe(self, name: bytes, chunk: int) -> None:
        """Expect this chunk as chunk number `chunk` of the disk."""
        self._owed.setdefault(name, []).append(chunk)

    def require_paid(self) -> None:
        """Raises ExportTruncated while a chunk is owed."""
        if self._owed:
            missing = next(iter(self._owed))
            raise ExportTruncated(f"the export stream lacks {len(self._owed)} chunks, first {missing.hex()}")

    def take(self, node: RootNode, frame: Frame) -> None:
        """Write the chunks of a frame, in time. Raises ExportDamaged for one that nobody waits for."""
        placed = []
        for record in chunk_records(frame):
            places = self._owed.pop(record.id, None)
            if places is None:
                raise ExportDamaged(f"the chunk {record.id.hex()} is not owed by the current leaf")
            placed.append((record, places))
        self._settle(_FRAMES - 1)
        self._under_way.append(self._pool.submit(self._write_all, node, placed))

    def settle(self) -> None:
        """Wait until all that was taken is written. Raises what went wrong with one."""
        self._settle(0)

    def _settle(self, left: int) -> None:
        while len(self._under_way) > left:
            self.written += self._under_way.popleft().result()

    def close(self) -> None:
        """Drop what was not begun, wait for the rest; harmless a second time."""
        self._pool.shutdown(cancel_futures=True)

    def zero(self, node: RootNode, first: int, end: int) -> None:
        """Make the chunks from `first` up to `end` zero."""
        start = first * node.chunk_size
        self._output.zero(start, min(node.size, end * node.chunk_size) - start)

    def _write_all(self, node: RootNode, placed: list[Placed]) -> int:
        """Write a frame's chunks, neighbours together; how many bytes that were."""
        chunks = {place: plain for item in placed for place, plain in _opened(node, *item)}
        for run in runs(sorted(chunks), max(1, _RUN_BYTES // node.chunk_size)):
            self._output.write(run[0] * node.chunk_size, [chunks[place] for place in run])
        return sum(memoryview(plain).nbytes for plain in chunks.values())


def _opened(node: RootNode, record: ChunkRecord, places: list[int]) -> list[tuple[int, Buffer]]:
    """A chunk's bytes, unpacked and checked, and each of its places."""
    plain = decode(record.codec, record.data, record.raw_length)
    if chunk_id(plain) != record.id:
        raise ExportDamaged(f"the chunk {record.id.hex()} does not hash to its id")
    for chunk in places:
        if record.raw_length != chunk_length(chunk, node.size, node.chunk_size):
            raise ExportDamaged(f"the chunk {record.id.hex()} has not the length of its place {chunk}")
    return [(chunk, plain) for chunk in places]


def runs(places: list[int], most: int) -> Iterator[list[int]]:
    """Sorted numbers in runs of neighbours, at most so many in each."""
    run: list[int] = []
    for place in places:
        if run and (place != run[-1] + 1 or len(run) == most):
            yield run
            run = []
        run.append(place)
    if run:
        yield run
