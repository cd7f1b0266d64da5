"""Writing a volume from an export stream, verifying it frame by frame and then as a whole.

The stream (see `export`) is believed in nothing: the root node must hash to the root that was asked for,
each leaf to what the root says at its place, each chunk to its id, and every chunk that a leaf owes must come
before the next leaf. Threads unpack, hash and write the chunks. After the last frame the root is recomputed
from the volume's own bytes.
"""

from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Self

from app.store.chunkwriting import ChunkWriting
from app.store.errors import ExportDamaged, ExportTruncated, VolumeDiffers
from app.store.volumefile import VolumeOutput, open_output
from app.store.volumehash import volume_root
from app.wire.chunks import ZERO_ID
from app.wire.errors import FrameError, WireError
from app.wire.frames import Frame, FrameType, leaves_of
from app.wire.messages import Range
from app.wire.tree import LEAF_IDS, ZERO_LEAF, RootNode, leaf_hash, leaf_ids

__all__ = ["VolumeWriter", "volume_root"]


class VolumeWriter:
    """Writes one disk to `output`. Use as a context manager: leaving it without `finish` drops a new file."""

    def __init__(self, output: Path | VolumeOutput, size: int, root: bytes, *, force: bool = False) -> None:
        """Open the output for the disk of `size` bytes whose root hash is `root`, unless it is open already.

        Raises VolumeExists, VolumeBusy, VolumeTooSmall, VolumeUnusable.
        """
        self._wanted = root
        self._size = size
        self._output = open_output(output, size, force=force) if isinstance(output, Path) else output
        self._chunks = ChunkWriting(self._output)
        self._node: RootNode | None = None
        self._next_leaf = 0
        self._ended = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def written(self) -> int:
        """Bytes of chunks written so far, zeros not counted."""
        return self._chunks.written

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

    def end(self) -> RootNode:
        """Flush what came, without a look at it: for an output that is no file. Raises ExportTruncated."""
        if not self._ended or self._node is None:
            raise ExportTruncated("the export stream was cut off: it has no END frame")
        self._output.flush()
        return self._node

    def finish(self, masked: Iterable[Range] = ()) -> bytes:
        """Flush, recompute the root from the volume's own bytes, and give a new file its name.

        `masked` ranges are read as zeros in the comparison. Returns the root. Raises ExportTruncated when the
        stream did not end, VolumeDiffers when the volume is not the disk.
        """
        node = self.end()
        found = volume_root(self._output.path, self._size, node.chunk_size, tuple(masked))
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
        self._chunks.close()
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
            self._chunks.take(self._require_node(), frame)
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
        self._chunks.require_paid()
        leaves = leaves_of(frame)
        if len(leaves) != 1 or leaf_hash(leaves[0]) != node.leaf(self._next_leaf):
            raise ExportDamaged(f"leaf {self._next_leaf} of the stream does not hash to what the root says")
        self._plan(node, leaf_ids(leaves[0]))
        self._next_leaf += 1
        self._skip_zero_leaves(node)

    def _take_end(self) -> None:
        node = self._require_node()
        self._chunks.require_paid()
        if self._next_leaf < node.count:
            raise ExportTruncated(f"the export stream ends after {self._next_leaf} of {node.count} leaves")
        self._chunks.settle()
        self._ended = True

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
            self._chunks.owe(name, chunk)
            self._zero(node, zero_from, chunk)
            zero_from = None
        self._zero(node, zero_from, min(end, first + LEAF_IDS))

    def _zero(self, node: RootNode, first: int | None, end: int) -> None:
        """Make the chunks from `first` up to `end` zero."""
        if first is not None:
            self._chunks.zero(node, first, end)

    def _skip_zero_leaves(self, node: RootNode) -> None:
        while self._next_leaf < node.count and node.leaf(self._next_leaf) == ZERO_LEAF:
            first = self._next_leaf * LEAF_IDS
            self._zero(node, first, first + LEAF_IDS)
            self._next_leaf += 1

    def _require_node(self) -> RootNode:
        assert self._node is not None, "the root frame comes first"
        return self._node
