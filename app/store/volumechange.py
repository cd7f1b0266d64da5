"""Bringing a volume from one disk to another where it lies, by a delta stream (see `delta`).

The stream is believed in nothing: both root nodes must hash to what is asked for, each leaf to what its root
says, each chunk to its id, and every chunk that a leaf owes must come before the next leaf. The volume is of
use only when `finish` returned; until then it is neither disk. Feeding the same stream again, from its start,
mends a change that was cut off anywhere.

What `finish` proves: the volume was the old disk (its caller's word: it was verified and nobody wrote to it
since), every place that differs between the two trees was read back from the storage and hashes to its new
id, and the places that do not differ were not written to. So its root is the new one. Reading back costs what
the delta costs; `volume_root` reads all of it.
"""

from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Self

from app.store.chunkwriting import ChunkWriting, runs
from app.store.delta import differing_leaves, require_comparable
from app.store.errors import ExportDamaged, ExportTruncated, VolumeDiffers
from app.store.volumefile import VolumeInPlace
from app.store.volumehash import differing_chunk
from app.wire.chunks import ZERO_ID
from app.wire.errors import FrameError, WireError
from app.wire.frames import Frame, FrameType, leaves_of
from app.wire.messages import Range
from app.wire.tree import LEAF_IDS, RootNode, leaf_changes, leaf_hash


class VolumeChange:
    """One change of an opened volume. Use as a context manager: leaving it closes the volume."""

    def __init__(self, output: VolumeInPlace, before: bytes, root: bytes) -> None:
        """Change `output` from the disk whose root hash is `before` to the one whose root hash is `root`."""
        self._output = output
        self._before = before
        self._wanted = root
        self._chunks = ChunkWriting(output)
        self._old: RootNode | None = None
        self._new: RootNode | None = None
        self._leaves: list[int] = []
        self._done = 0
        self._changed: list[tuple[int, bytes]] = []
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
    def path(self) -> Path:
        """Where the volume lies while it is changed."""
        return self._output.path

    def feed(self, frames: Iterable[Frame]) -> None:
        """Take the stream's next frames.

        Raises ExportDamaged, ExportTruncated, DeltaImpossible, VolumeError.
        """
        for frame in frames:
            try:
                self._take(frame)
            except WireError as error:
                raise ExportDamaged(f"the delta stream is malformed: {error}") from error

    @property
    def changed(self) -> tuple[tuple[int, bytes], ...]:
        """The chunks (number, new id) that were to change so far, ascending."""
        return tuple(self._changed)

    def end(self) -> RootNode:
        """Flush what came, without a look at it: for a volume that is no file. Raises ExportTruncated."""
        if not self._ended:
            raise ExportTruncated("the delta stream was cut off: it has no END frame")
        self._output.flush()
        return self._require_new()

    def finish(self, masked: Iterable[Range] = ()) -> None:
        """Flush, and read back every place that was to change.

        `masked` ranges are read as zeros in the comparison. Raises ExportTruncated when the stream did not
        end, VolumeDiffers when the storage does not return what was written.
        """
        new = self.end()
        bad = differing_chunk(self._output.path, new.size, new.chunk_size, self._changed, tuple(masked))
        if bad is not None:
            raise VolumeDiffers(
                f"{self._output.path} does not hold chunk {bad} of the disk {self._wanted.hex()}",
                remedy="the output's storage returns other bytes than were written: do not use it",
            )

    def close(self) -> None:
        """Let go of the volume; harmless a second time."""
        self._chunks.close()
        self._output.close()

    def _take(self, frame: Frame) -> None:
        if self._ended:
            raise FrameError("a frame follows the END frame")
        if (self._new is None) != (frame.type is FrameType.ROOT):
            raise FrameError(f"a {frame.type.name} frame stands where another is due")
        if frame.type is FrameType.ROOT:
            self._take_root(RootNode.decode(frame.payload))
        elif frame.type is FrameType.LEAVES:
            self._take_leaves(frame)
        elif frame.type is FrameType.CHUNKS:
            self._chunks.take(self._require_new(), frame)
        elif frame.type is FrameType.END:
            self._take_end()
        else:
            raise FrameError(f"a {frame.type.name} frame has no place in a delta")

    def _take_root(self, node: RootNode) -> None:
        due = self._before if self._old is None else self._wanted
        if node.hash != due:
            raise ExportDamaged(f"the stream has the root {node.hash.hex()} where {due.hex()} is due")
        if self._old is None:
            self._old = node
            return
        require_comparable(self._old, node)
        self._new = node
        self._leaves = differing_leaves(self._old, node)
        self._output.resize(self._old.size, node.size)

    def _take_leaves(self, frame: Frame) -> None:
        old, new, leaves = self._require_old(), self._require_new(), leaves_of(frame)
        self._chunks.require_paid()
        if self._done == len(self._leaves):
            raise FrameError("a leaf comes after the last one that differs")
        number = self._leaves[self._done]
        if [leaf_hash(leaf) for leaf in leaves] != [old.leaf(number), new.leaf(number)]:
            raise ExportDamaged(f"leaf {number} of the stream does not hash to what the roots say")
        first = number * LEAF_IDS
        self._plan(new, [(first + index, name) for index, name in leaf_changes(*leaves)])
        self._done += 1

    def _plan(self, node: RootNode, changes: list[tuple[int, bytes]]) -> None:
        """Note where chunks go, and make zero what became zero. What lies behind the new end is gone."""
        end = -(-node.size // node.chunk_size)
        if any(place >= end and name != ZERO_ID for place, name in changes):
            raise ExportDamaged("the stream has chunks beyond the end of the disk")
        inside = [each for each in changes if each[0] < end]
        for place, name in inside:
            if name != ZERO_ID:
                self._chunks.owe(name, place)
        for run in runs([place for place, name in inside if name == ZERO_ID], LEAF_IDS):
            self._chunks.zero(node, run[0], run[-1] + 1)
        self._changed += inside

    def _take_end(self) -> None:
        self._chunks.require_paid()
        if self._done < len(self._leaves):
            raise ExportTruncated(
                f"the delta stream ends after {self._done} of {len(self._leaves)} leaves that differ"
            )
        self._chunks.settle()
        self._ended = True

    def _require_old(self) -> RootNode:
        assert self._old is not None, "the root frames come first"
        return self._old

    def _require_new(self) -> RootNode:
        assert self._new is not None, "the root frames come first"
        return self._new
