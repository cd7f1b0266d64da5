"""Writing a volume from an export stream, verifying it frame by frame and then as a whole.

The stream (see `export`) is believed in nothing: the root node must hash to the root that was asked for,
each leaf to what the root says at its place, each chunk to its id, and every chunk that a leaf owes must come
before the next leaf. Threads unpack, hash and write the chunks. After the last frame the root is recomputed
from the volume's own bytes.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from app.store.errors import ExportDamaged, ExportTruncated, VolumeDiffers
from app.store.volumefile import open_output
from app.store.volumehash import THREADS, volume_root
from app.wire.buffers import Buffer
from app.wire.chunks import MIB, ZERO_ID, chunk_id, chunk_length
from app.wire.codec import decode
from app.wire.errors import FrameError, WireError
from app.wire.frames import ChunkRecord, Frame, FrameType, chunk_records, leaves_of
from app.wire.messages import Range
from app.wire.tree import LEAF_IDS, ZERO_LEAF, RootNode, leaf_hash, leaf_ids

__all__ = ["VolumeWriter", "volume_root"]

Placed = tuple[ChunkRecord, list[int]]
"""A chunk and the numbers of the chunks of the disk that it is."""

_RUN_BYTES: Final = 2 * MIB
"""Of neighbours that are written by one call."""
_WRITERS: Final = THREADS + 2
"""Each unpacks, hashes and writes, and waits for the storage for about half of its time."""
_FRAMES: Final = _WRITERS + 2
"""Frames under way at most."""


class VolumeWriter:
    """Writes one disk to `output`. Use as a context manager: leaving it without `finish` drops a new file."""

    def __init__(self, output: Path, size: int, root: bytes, *, force: bool = False) -> None:
        """Open the output for the disk of `size` bytes whose root hash is `root`.

        Raises VolumeExists, VolumeBusy, VolumeTooSmall, VolumeUnusable.
        """
        self._wanted = root
        self._size = size
        self._output = open_output(output, size, force=force)
        self._pool = ThreadPoolExecutor(_WRITERS, "volume-write")
        self._under_way: deque[Future[int]] = deque()
        self._node: RootNode | None = None
        self._next_leaf = 0
        self._owed: dict[bytes, list[int]] = {}
        self._ended = False
        self.written = 0
        """Bytes of chunks written so far, zeros not counted."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def position(self) -> int:
        """Bytes of the disk that are complete, from its start: for a progress bar."""
        if self._node is None:
            return 0
        return min(self._size, self._next_leaf * LEAF_IDS * self._node.chunk_size)

    def feed(self, frames: Iterable[Frame]) -> None:
        """Take the stream's next frames. Raises ExportDamaged, ExportTruncated, VolumeError."""
        for frame in frames:
            try:
                self._take(frame)
            except WireError as error:
                raise ExportDamaged(f"the export stream is malformed: {error}") from error

    def finish(self, masked: Iterable[Range] = ()) -> bytes:
        """Flush, recompute the root from the volume's own bytes, and give a new file its name.

        `masked` ranges are read as zeros in the comparison. Returns the root. Raises ExportTruncated when the
        stream did not end, VolumeDiffers when the volume is not the disk.
        """
        if not self._ended or self._node is None:
            raise ExportTruncated("the export stream was cut off: it has no END frame")
        self._output.flush()
        found = volume_root(self._output.path, self._size, self._node.chunk_size, tuple(masked))
        if found != self._wanted:
            raise VolumeDiffers(
                f"{self._output.path} has the root {found.hex()}, the disk {self._wanted.hex()}",
                remedy="the output's storage returns other bytes than were written: do not use it",
            )
        self._output.publish()
        self._output.close()
        return found

    def close(self) -> None:
        """Let go of the output; harmless after `finish`."""
        self._pool.shutdown(cancel_futures=True)
        self._output.close()

    def _take(self, frame: Frame) -> None:
        if self._ended:
            raise FrameError("a frame follows the END frame")
        if (self._node is None) != (frame.type is FrameType.ROOT):
            raise FrameError(f"a {frame.type.name} frame stands where another is due")
        if frame.type is FrameType.ROOT:
            self._take_root(frame)
        elif frame.type is FrameType.LEAVES:
            self._take_leaf(frame)
        elif frame.type is FrameType.CHUNKS:
            self._take_chunks(frame)
        elif frame.type is FrameType.END:
            self._take_end()
        else:
            raise FrameError(f"a {frame.type.name} frame has no place in an export")

    def _take_root(self, frame: Frame) -> None:
        node = RootNode.decode(frame.payload)
        if node.hash != self._wanted or node.size != self._size:
            raise ExportDamaged(
                f"the stream begins with the root {node.hash.hex()}, not {self._wanted.hex()}"
            )
        self._node = node
        self._skip_zero_leaves(node)

    def _take_leaf(self, frame: Frame) -> None:
        node = self._require_node()
        self._require_paid()
        leaves = leaves_of(frame)
        if len(leaves) != 1 or leaf_hash(leaves[0]) != node.leaf(self._next_leaf):
            raise ExportDamaged(f"leaf {self._next_leaf} of the stream does not hash to what the root says")
        self._plan(node, leaf_ids(leaves[0]))
        self._next_leaf += 1
        self._skip_zero_leaves(node)

    def _take_chunks(self, frame: Frame) -> None:
        node = self._require_node()
        placed = []
        for record in chunk_records(frame):
            places = self._owed.pop(record.id, None)
            if places is None:
                raise ExportDamaged(f"the chunk {record.id.hex()} is not owed by the current leaf")
            placed.append((record, places))
        self._settle(_FRAMES - 1)
        self._under_way.append(self._pool.submit(self._write_all, node, placed))

    def _settle(self, left: int) -> None:
        """Wait until at most `left` frames are under way. Raises what went wrong with one."""
        while len(self._under_way) > left:
            self.written += self._under_way.popleft().result()

    def _take_end(self) -> None:
        node = self._require_node()
        self._require_paid()
        if self._next_leaf < node.count:
            raise ExportTruncated(f"the export stream ends after {self._next_leaf} of {node.count} leaves")
        self._settle(0)
        self._ended = True

    def _write_all(self, node: RootNode, placed: list[Placed]) -> int:
        """Write a frame's chunks, neighbours together; how many bytes that were."""
        chunks = {place: plain for item in placed for place, plain in self._opened(node, *item)}
        for run in _runs(sorted(chunks), max(1, _RUN_BYTES // node.chunk_size)):
            self._output.write(run[0] * node.chunk_size, [chunks[place] for place in run])
        return sum(memoryview(plain).nbytes for plain in chunks.values())

    def _opened(self, node: RootNode, record: ChunkRecord, places: list[int]) -> list[tuple[int, Buffer]]:
        """A chunk's bytes, unpacked and checked, and each of its places."""
        plain = decode(record.codec, record.data, record.raw_length)
        if chunk_id(plain) != record.id:
            raise ExportDamaged(f"the chunk {record.id.hex()} does not hash to its id")
        for chunk in places:
            if record.raw_length != chunk_length(chunk, node.size, node.chunk_size):
                raise ExportDamaged(f"the chunk {record.id.hex()} has not the length of its place {chunk}")
        return [(chunk, plain) for chunk in places]

    def _plan(self, node: RootNode, ids: list[bytes]) -> None:
        """Note where the leaf's chunks go, and make its zero runs zero."""
        first = self._next_leaf * LEAF_IDS
        end = -(-node.size // node.chunk_size)
        if any(name != ZERO_ID for name in ids[max(0, end - first) :]):
            raise ExportDamaged(f"leaf {self._next_leaf} has chunks beyond the end of the disk")
        zero_from: int | None = None
        for chunk, name in enumerate(ids[: end - first], start=first):
            if name == ZERO_ID:
                zero_from = chunk if zero_from is None else zero_from
                continue
            self._owed.setdefault(name, []).append(chunk)
            self._zero(node, zero_from, chunk)
            zero_from = None
        self._zero(node, zero_from, min(end, first + LEAF_IDS))

    def _zero(self, node: RootNode, first: int | None, end: int) -> None:
        """Make the chunks from `first` up to `end` zero."""
        if first is not None:
            start = first * node.chunk_size
            self._output.zero(start, min(node.size, end * node.chunk_size) - start)

    def _skip_zero_leaves(self, node: RootNode) -> None:
        while self._next_leaf < node.count and node.leaf(self._next_leaf) == ZERO_LEAF:
            first = self._next_leaf * LEAF_IDS
            self._zero(node, first, first + LEAF_IDS)
            self._next_leaf += 1

    def _require_paid(self) -> None:
        if self._owed:
            missing = next(iter(self._owed))
            raise ExportTruncated(f"the export stream lacks {len(self._owed)} chunks, first {missing.hex()}")

    def _require_node(self) -> RootNode:
        assert self._node is not None, "the root frame comes first"
        return self._node


def _runs(places: list[int], most: int) -> Iterator[list[int]]:
    """Sorted numbers in runs of neighbours, at most so many in each."""
    run: list[int] = []
    for place in places:
        if run and (place != run[-1] + 1 or len(run) == most):
            yield run
            run = []
        run.append(place)
    if run:
        yield run
