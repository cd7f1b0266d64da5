"""The root of a disk's content, recomputed from the bytes of a file or block device.

Several threads each read, zero-test and hash one leaf's worth of the volume at a time; reading, comparing and
BLAKE3 all release the interpreter's lock. Holes of sparse files are skipped by SEEK_DATA. Reads are O_DIRECT
where the filesystem allows it: what is hashed comes from the storage, and no page is filled in between.
"""

import bisect
import errno
import fcntl
import os
import stat
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from app.store.errors import VolumeTooSmall, VolumeUnusable
from app.wire.chunks import ID_BYTES, MIB, name_of
from app.wire.memory import aligned
from app.wire.messages import Range
from app.wire.tree import LEAF_BYTES, LEAF_IDS, RootNode, leaf_count, leaf_hash

THREADS: Final = min(8, os.cpu_count() or 1)
_PIECE: Final = 4 * MIB
_ALIGNMENT: Final = 4096
_GROUP: Final = 64
"""Chunks that one thread looks at in turn."""


def volume_root(path: Path, size: int, chunk_size: int, masked: Sequence[Range] = ()) -> bytes:
    """The root hash of the first `size` bytes at `path`; see `volume_tree`."""
    return volume_tree(path, size, chunk_size, masked).hash


def volume_tree(path: Path, size: int, chunk_size: int, masked: Sequence[Range] = ()) -> RootNode:
    """The root node of the first `size` bytes at `path`, the `masked` ranges read as zeros.

    Clean cached pages are dropped first, so that what is hashed comes from the storage. Raises VolumeUnusable
    when it cannot be read, VolumeTooSmall when it ends early.
    """
    count = leaf_count(size, chunk_size)
    descriptor = _opened(path)
    try:
        drop_caches(descriptor)
        status = os.fstat(descriptor)
        has_holes = stat.S_ISREG(status.st_mode) and status.st_size >= size
        source = _Source(path, descriptor, size, chunk_size, has_holes, Mask.of(masked))
        with ThreadPoolExecutor(min(THREADS, max(1, count)), "volume-hash") as pool:
            leaves = list(pool.map(source.leaf, range(count)))
    finally:
        os.close(descriptor)
    return RootNode(size, chunk_size, b"".join(leaves))


def differing_chunk(
    path: Path,
    size: int,
    chunk_size: int,
    wanted: Sequence[tuple[int, bytes]],
    masked: Sequence[Range] = (),
) -> int | None:
    """The first of the `wanted` chunks (number, id), ascending, that `path` does not hold; None: it has all.

    Reads from the storage as `volume_tree` does, and nothing but these chunks. Raises as it does.
    """
    descriptor = _opened(path)
    try:
        drop_caches(descriptor)
        source = _Source(path, descriptor, size, chunk_size, False, Mask.of(masked))
        groups = [wanted[at : at + _GROUP] for at in range(0, len(wanted), _GROUP)]
        with ThreadPoolExecutor(THREADS, "volume-hash") as pool:
            found = pool.map(source.differing, groups)
            return next((number for number in found if number is not None), None)
    finally:
        os.close(descriptor)


def _opened(path: Path) -> int:
    """A descriptor to read from, with O_DIRECT where the filesystem knows it. Raises VolumeUnusable."""
    try:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_DIRECT)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise VolumeUnusable(f"{path} cannot be read: {error.strerror}") from error
    return os.open(path, os.O_RDONLY | os.O_CLOEXEC)


def drop_caches(descriptor: int) -> None:
    """Let the kernel forget the clean pages that it caches of an open file or device."""
    os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)


@dataclass(frozen=True)
class Mask:
    """Ranges to read as zeros: sorted, apart from each other."""

    starts: tuple[int, ...]
    ends: tuple[int, ...]

    @classmethod
    def of(cls, ranges: Sequence[Range]) -> "Mask":
        merged: list[tuple[int, int]] = []
        for start, length in sorted(ranges):
            end = start + length
            if merged and start <= merged[-1][1]:
                merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
            elif length > 0:
                merged.append((start, end))
        return cls(tuple(start for start, _ in merged), tuple(end for _, end in merged))

    def apply(self, data: memoryview, at: int) -> None:
        """Put zeros into those bytes of `data`, which lies at offset `at`, that are masked."""
        end = at + data.nbytes
        for index in range(bisect.bisect_right(self.ends, at), len(self.starts)):
            if self.starts[index] >= end:
                return
            first, last = max(at, self.starts[index]), min(end, self.ends[index])
            data[first - at : last - at] = bytes(last - first)


@dataclass(frozen=True)
class _Source:
    """An open volume, hashed leaf by leaf from any thread."""

    path: Path
    descriptor: int
    size: int
    chunk_size: int
    has_holes: bool
    mask: Mask

    def leaf(self, index: int) -> bytes:
        """The hash of leaf `index`."""
        ids = bytearray(LEAF_BYTES)
        buffer = aligned(max(_PIECE, self.chunk_size))
        first = index * LEAF_IDS
        end = min(self.size, (first + LEAF_IDS) * self.chunk_size)
        at = self._next_data(first * self.chunk_size, end)
        while at < end:
            start = at - at % self.chunk_size
            behind = min(end, start + buffer.nbytes)
            self._read(buffer, start, behind - start)
            self.mask.apply(buffer[: behind - start], start)
            self._name(buffer, start, behind, memoryview(ids))
            at = self._next_data(behind, end)
        return leaf_hash(ids)

    def differing(self, wanted: Sequence[tuple[int, bytes]]) -> int | None:
        """The first of these chunks (number, id) that is another one here."""
        buffer = aligned(self.chunk_size)
        for number, name in wanted:
            at = number * self.chunk_size
            length = min(self.chunk_size, self.size - at)
            self._read(buffer, at, length)
            self.mask.apply(buffer[:length], at)
            if name_of(buffer[:length]) != name:
                return number
        return None

    def _name(self, buffer: memoryview, start: int, behind: int, ids: memoryview) -> None:
        """Note the ids of the chunks that lie at the beginning of `buffer`."""
        for at in range(start, behind, self.chunk_size):
            slot = at // self.chunk_size % LEAF_IDS * ID_BYTES
            length = min(self.chunk_size, behind - at)
            ids[slot : slot + ID_BYTES] = name_of(buffer[at - start : at - start + length])

    def _read(self, buffer: memoryview, at: int, wanted: int) -> None:
        """Fill the first `wanted` bytes of the buffer; direct reads want whole blocks."""
        room = buffer[: -(-wanted // _ALIGNMENT) * _ALIGNMENT]
        filled = 0
        while filled < wanted:
            count = self._read_once(room[filled:], at + filled)
            if not count:
                raise VolumeTooSmall(f"{self.path} ends at {at + filled} of {self.size} bytes")
            filled += count

    def _read_once(self, room: memoryview, at: int) -> int:
        try:
            return os.preadv(self.descriptor, [room], at)
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise VolumeUnusable(f"{self.path} cannot be read at {at}: {error}") from error
        flags = fcntl.fcntl(self.descriptor, fcntl.F_GETFL)
        fcntl.fcntl(self.descriptor, fcntl.F_SETFL, flags & ~os.O_DIRECT)
        try:
            return os.preadv(self.descriptor, [room], at)
        except OSError as error:
            raise VolumeUnusable(f"{self.path} cannot be read at {at}: {error}") from error

    def _next_data(self, at: int, end: int) -> int:
        """The first offset from `at` that may hold data; `end` when nothing but a hole follows."""
        if at >= end or not self.has_holes:
            return at
        try:
            return min(end, os.lseek(self.descriptor, at, os.SEEK_DATA))
        except OSError as error:
            return end if error.errno == errno.ENXIO else at
