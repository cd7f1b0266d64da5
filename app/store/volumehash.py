"""The root of a disk's content, recomputed from the bytes of a file or block device.

Several threads each read, zero-test and hash one leaf's worth of the volume at a time; reading, comparing and
BLAKE3 all release the interpreter's lock. Holes of sparse files are skipped by SEEK_DATA.
"""

import bisect
import errno
import os
import stat
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from app.store.errors import VolumeTooSmall, VolumeUnusable
from app.wire.chunks import ID_BYTES, chunk_length, name_of
from app.wire.messages import Range
from app.wire.tree import LEAF_BYTES, LEAF_IDS, RootNode, leaf_count, leaf_hash

THREADS: Final = min(8, os.cpu_count() or 1)


def volume_root(path: Path, size: int, chunk_size: int, masked: Sequence[Range] = ()) -> bytes:
    """The root hash of the first `size` bytes at `path`; see `volume_tree`."""
    return volume_tree(path, size, chunk_size, masked).hash


def volume_tree(path: Path, size: int, chunk_size: int, masked: Sequence[Range] = ()) -> RootNode:
    """The root node of the first `size` bytes at `path`, the `masked` ranges read as zeros.

    Clean cached pages are dropped first, so that what is hashed comes from the storage. Raises VolumeUnusable
    when it cannot be read, VolumeTooSmall when it ends early.
    """
    count = leaf_count(size, chunk_size)
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise VolumeUnusable(f"{path} cannot be read: {error.strerror}") from error
    try:
        drop_caches(descriptor)
        status = os.fstat(descriptor)
        has_holes = stat.S_ISREG(status.st_mode) and status.st_size >= size
        source = _Source(path, descriptor, size, chunk_size, has_holes, _Mask.of(masked))
        with ThreadPoolExecutor(min(THREADS, max(1, count)), "volume-hash") as pool:
            leaves = list(pool.map(source.leaf, range(count)))
    finally:
        os.close(descriptor)
    return RootNode(size, chunk_size, b"".join(leaves))


def drop_caches(descriptor: int) -> None:
    """Let the kernel forget the clean pages that it caches of an open file or device."""
    os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)


@dataclass(frozen=True)
class _Mask:
    """Ranges to read as zeros: sorted, apart from each other."""

    starts: tuple[int, ...]
    ends: tuple[int, ...]

    @classmethod
    def of(cls, ranges: Sequence[Range]) -> "_Mask":
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
    mask: _Mask

    def leaf(self, index: int) -> bytes:
        """The hash of leaf `index`."""
        ids = bytearray(LEAF_BYTES)
        buffer = memoryview(bytearray(self.chunk_size))
        first = index * LEAF_IDS
        end = min(self.size, (first + LEAF_IDS) * self.chunk_size)
        at = self._next_data(first * self.chunk_size, end)
        while at < end:
            chunk = at // self.chunk_size
            slot = (chunk - first) * ID_BYTES
            ids[slot : slot + ID_BYTES] = self._chunk_id(chunk, buffer)
            at = self._next_data((chunk + 1) * self.chunk_size, end)
        return leaf_hash(ids)

    def _chunk_id(self, chunk: int, buffer: memoryview) -> bytes:
        at = chunk * self.chunk_size
        data = buffer[: chunk_length(chunk, self.size, self.chunk_size)]
        self._read(data, at)
        self.mask.apply(data, at)
        return name_of(data)

    def _read(self, data: memoryview, at: int) -> None:
        filled = 0
        while filled < data.nbytes:
            try:
                count = os.preadv(self.descriptor, [data[filled:]], at + filled)
            except OSError as error:
                raise VolumeUnusable(f"{self.path} cannot be read at {at + filled}: {error}") from error
            if not count:
                raise VolumeTooSmall(f"{self.path} ends at {at + filled} of {self.size} bytes")
            filled += count

    def _next_data(self, at: int, end: int) -> int:
        """The first offset from `at` that may hold data; `end` when nothing but a hole follows."""
        if at >= end or not self.has_holes:
            return at
        try:
            return min(end, os.lseek(self.descriptor, at, os.SEEK_DATA))
        except OSError as error:
            return end if error.errno == errno.ENXIO else at
