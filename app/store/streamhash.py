"""A disk's content proved from its bytes as a stream brings them: where no file can be read at any place.

Pieces come in the order of the disk, none twice; what no piece covers was left out by the storage, because it
holds nothing there.
"""

from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final

from app.store.errors import VolumeUnusable
from app.store.volumehash import THREADS, Mask
from app.wire.buffers import Buffer
from app.wire.chunks import ID_BYTES, MIB, chunk_length, name_of
from app.wire.messages import Range
from app.wire.tree import LEAF_BYTES, LEAF_IDS, ZERO_LEAF, RootNode, leaf_count, leaf_hash

_PIECE: Final = 4 * MIB
_UNDER_WAY: Final = 2 * THREADS
"""Pieces that wait for a thread at most."""


class StreamHash:
    """The root of a disk; what no piece covers is zero. Use as a context manager, which ends its threads."""

    def __init__(self, size: int, chunk_size: int, masked: Sequence[Range] = ()) -> None:
        """Expect a disk of `size` bytes, the `masked` ranges read as zeros."""
        self._size = size
        self._chunk_size = chunk_size
        self._mask = Mask.of(masked)
        self._room = max(_PIECE, chunk_size)
        self._at = 0
        self._number = -1
        self._piece = bytearray()
        self._pool = ThreadPoolExecutor(THREADS, "stream-hash")
        self._under_way: deque[tuple[int, Future[bytes]]] = deque()
        self._leaf = -1
        self._ids = bytearray()
        self._leaves = bytearray(ZERO_LEAF * leaf_count(size, chunk_size))

    def __enter__(self) -> "StreamHash":
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(cancel_futures=True)

    def feed(self, at: int, data: Buffer) -> None:
        """Take the disk's bytes from offset `at`. Raises VolumeUnusable where they are out of order."""
        view = memoryview(data).cast("B")
        require_order(self._at, at, at + view.nbytes, self._size)
        self._at = at + view.nbytes
        while view.nbytes:
            number, start = divmod(at, self._room)
            if number != self._number:
                self._submit()
                self._number, self._piece = number, bytearray(self._room)
            part = view[: self._room - start]
            self._piece[start : start + part.nbytes] = part
            at, view = at + part.nbytes, view[part.nbytes :]

    def root(self) -> bytes:
        """The root hash, when all came."""
        self._submit()
        self._settle(0)
        self._end_leaf()
        return RootNode(self._size, self._chunk_size, bytes(self._leaves)).hash

    def _submit(self) -> None:
        if self._number >= 0:
            start = self._number * self._room
            piece = memoryview(self._piece)[: min(self._room, self._size - start)]
            self._under_way.append((start, self._pool.submit(self._names, piece, start)))
            self._settle(_UNDER_WAY)

    def _names(self, piece: memoryview, start: int) -> bytes:
        self._mask.apply(piece, start)
        step = self._chunk_size
        return b"".join(name_of(piece[at : at + step]) for at in range(0, piece.nbytes, step))

    def _settle(self, left: int) -> None:
        while len(self._under_way) > left:
            start, names = self._under_way.popleft()
            leaf, first = divmod(start // self._chunk_size, LEAF_IDS)
            if leaf != self._leaf:
                self._end_leaf()
                self._leaf, self._ids = leaf, bytearray(LEAF_BYTES)
            found = names.result()
            self._ids[first * ID_BYTES : first * ID_BYTES + len(found)] = found

    def _end_leaf(self) -> None:
        if self._leaf >= 0:
            at = self._leaf * ID_BYTES
            self._leaves[at : at + ID_BYTES] = leaf_hash(self._ids)


class StreamChanges:
    """Whether the places that a storage says to have changed are those that were to, and right."""

    def __init__(
        self, size: int, chunk_size: int, wanted: Sequence[tuple[int, bytes]], masked: Sequence[Range] = ()
    ) -> None:
        """`wanted`: the chunks (number, id) of the disk of `size` bytes that were to change, ascending."""
        self._size = size
        self._chunk_size = chunk_size
        self._wanted = dict(wanted)
        self._mask = Mask.of(masked)
        self._at = 0
        self._number = -1
        self._chunk = bytearray()
        self._covered = 0
        self._is_right = True

    def feed(self, at: int, length: int, data: Buffer | None) -> None:
        """Take a place that changed: its bytes, or None for zeros. Raises VolumeUnusable as `StreamHash`."""
        end = min(at + length, self._size)
        require_order(self._at, at, max(at, end), max(at, self._size))
        self._at = max(at, end)
        view = memoryview(data).cast("B") if data is not None else None
        while at < end and self._is_right:
            number, start = divmod(at, self._chunk_size)
            self._open(number)
            count = min(end - at, self._chunk_size - start)
            if view is not None:
                self._chunk[start : start + count] = view[:count]
                view = view[count:]
            self._covered += count
            at += count

    def are_proved(self) -> bool:
        """Whether, now that all came, each chunk was whole and right, and nothing else changed."""
        self._close()
        return self._is_right and not self._wanted

    def _open(self, number: int) -> None:
        if number != self._number:
            self._close()
            self._number, self._covered = number, 0
            self._chunk = bytearray(chunk_length(number, self._size, self._chunk_size))

    def _close(self) -> None:
        if self._number < 0:
            return
        name = self._wanted.pop(self._number, None)
        self._mask.apply(memoryview(self._chunk), self._number * self._chunk_size)
        whole = self._covered == len(self._chunk)
        self._is_right = self._is_right and whole and name == name_of(self._chunk)
        self._number = -1


def require_order(last: int, at: int, end: int, size: int) -> None:
    """Raises VolumeUnusable for a piece before the last one, or beyond the disk's end."""
    if at < last or end > size:
        raise VolumeUnusable(f"the storage gives bytes {at} to {end} after {last}, of a disk of {size}")
