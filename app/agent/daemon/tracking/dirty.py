"""The dirty sets of one disk, kept in a file that outlives the process.

    current   blocks written since the last `take`
    frozen    blocks taken since the last commit

The order is **swap, then read**: frozen |= current, then current = 0, then the blocks are read. A process
that dies in between leaves a block in both sets, never in none.

The file is mapped shared and lies where a reboot removes it (/run). Little-endian:

    0        magic "g2cdirty", u32 version, u32 zero, u64 size of the disk, 16 bytes BLAKE3 of the former
    65536    for each 256 MiB of the disk: the leaf's bitmap of `current`, then that of `frozen` (see `bits`)

Space for a leaf is allocated before it is first written, so that a full /run is an error and not the end of
the process by SIGBUS; a leaf that is empty again goes back. A disk of 1 TiB takes 64 MiB at most.

One lock for each map: `mark` and `take` may be called by different threads.
"""

import errno
import mmap
import os
import struct
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from blake3 import blake3

from app.agent.daemon.errors import TrackingError
from app.agent.daemon.tracking.bits import (
    BLOCK_SHIFT,
    LEAF_BYTES,
    LEAF_MASK,
    LEAF_SHIFT,
    LEAF_SPAN,
    count,
    set_run,
    union,
)
from app.agent.daemon.tracking.blocks import BlockSet

_HEADER: Final = struct.Struct("<8sIIQ")
_MAGIC: Final = b"g2cdirty"
_VERSION: Final = 1
_SUM: Final = 16
_BASE: Final = 65536
_PAIR: Final = 2 * LEAF_BYTES
_ZEROS: Final = bytes(LEAF_BYTES)


class DirtyMap:
    """See the module. `adopted` says whether an earlier process's sets were taken over, `reason` why not.

    Raises TrackingError where the file cannot be made, kept or mapped.
    """

    def __init__(self, path: Path, size: int) -> None:
        self.path = path
        self.size = size
        self.reason = ""
        self._lock = threading.Lock()
        self._busy: set[int] = set()
        """Leaves that may have blocks in `current`; those have their space."""
        self._held: set[int] = set()
        """Leaves that may have blocks in `frozen`."""
        self._current = 0
        self._frozen = 0
        self.marked_bytes = 0
        """Bytes of all writes marked since the file was opened; what was written twice counts twice."""
        try:
            self._map = self._open()
        except OSError as error:
            raise _failed(path, error) from error

    def _open(self) -> mmap.mmap:
        fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            length = _BASE + -(-self.size // LEAF_SPAN) * _PAIR
            self.reason = self._refusal(os.pread(fd, _HEADER.size + _SUM, 0), os.fstat(fd).st_size == length)
            if self.reason:
                self._begin(fd, length)
            made = mmap.mmap(fd, length)
            self._adopt(made, fd)
            return made
        finally:
            os.close(fd)

    def _refusal(self, header: bytes, has_length: bool) -> str:
        """Why the sets of the file are not this disk's; nothing if they are."""
        if not header:
            return "there were no dirty sets"
        if header[_HEADER.size :] != blake3(header[: _HEADER.size]).digest(length=_SUM):
            return f"the header of {self.path} is damaged"
        magic, version, _, size = _HEADER.unpack_from(header)
        if (magic, version) != (_MAGIC, _VERSION):
            return f"{self.path} was written by another version"
        if size != self.size:
            return f"{self.path} is of a disk of {size} bytes, and this one has {self.size}"
        return "" if has_length else f"{self.path} was cut"

    def _begin(self, fd: int, length: int) -> None:
        os.ftruncate(fd, 0)
        os.ftruncate(fd, length)
        os.posix_fallocate(fd, 0, _BASE)
        header = _HEADER.pack(_MAGIC, _VERSION, 0, self.size)
        os.pwrite(fd, header + blake3(header).digest(length=_SUM), 0)

    def _adopt(self, made: mmap.mmap, fd: int) -> None:
        for leaf in _leaves(fd, len(made)):
            at = _BASE + leaf * _PAIR
            current, frozen = (count(made[low : low + LEAF_BYTES]) for low in (at, at + LEAF_BYTES))
            self._current += current
            self._frozen += frozen
            if current:
                self._allocate(leaf, fd)
                self._busy.add(leaf)
            if frozen:
                self._held.add(leaf)

    @property
    def adopted(self) -> bool:
        """Whether the sets of an earlier process were taken over."""
        return not self.reason

    @property
    def current_bytes(self) -> int:
        """Bytes written since the last `take`."""
        return self._current << BLOCK_SHIFT

    @property
    def frozen_bytes(self) -> int:
        """Bytes taken since the last commit."""
        return self._frozen << BLOCK_SHIFT

    def mark(self, start: int, length: int) -> None:
        """Put the blocks of `length` bytes from `start` into `current`. Raises TrackingError."""
        self.mark_all([(start, length)])

    def mark_all(self, ranges: Iterable[tuple[int, int]]) -> None:
        """Put the blocks of (start, length) ranges into `current`, as far as they lie on the disk.

        Raises TrackingError when /run is full.
        """
        with self._lock:
            for start, length in ranges:
                end = start + length
                self.marked_bytes += length
                first = start >> BLOCK_SHIFT
                leaf = first >> LEAF_SHIFT
                if first != (end - 1) >> BLOCK_SHIFT or leaf not in self._busy or end > self.size:
                    self._mark_run(start, min(end, self.size))
                    continue
                if length <= 0:
                    continue
                at, bit = _BASE + leaf * _PAIR + ((first & LEAF_MASK) >> 3), 1 << (first & 7)
                byte = self._map[at]
                if not byte & bit:
                    self._map[at] = byte | bit
                    self._current += 1

    def _mark_run(self, start: int, stop: int) -> None:
        first, end = start >> BLOCK_SHIFT, ((stop - 1) >> BLOCK_SHIFT) + 1
        while first < end and start < stop:
            leaf = first >> LEAF_SHIFT
            until = min(end, leaf + 1 << LEAF_SHIFT)
            if leaf not in self._busy:
                self._enter(leaf)
            base = _BASE + leaf * _PAIR
            self._current += set_run(self._map, base, first & LEAF_MASK, until - (leaf << LEAF_SHIFT))
            first = until

    def _enter(self, leaf: int) -> None:
        try:
            fd = os.open(self.path, os.O_RDWR | os.O_CLOEXEC)
            try:
                self._allocate(leaf, fd)
            finally:
                os.close(fd)
        except OSError as error:
            raise _failed(self.path, error) from error
        self._busy.add(leaf)

    def _allocate(self, leaf: int, fd: int) -> None:
        os.posix_fallocate(fd, _BASE + leaf * _PAIR, _PAIR)

    def written(self) -> BlockSet:
        """What is in `current` now."""
        found = BlockSet()
        with self._lock:
            for leaf in sorted(self._busy):
                at = _BASE + leaf * _PAIR
                found.put(leaf, self._map[at : at + LEAF_BYTES])
        return found

    def written_within(self, start: int, end: int) -> Iterator[tuple[int, int]]:
        """What of `current` lies in the bytes [start, end), as byte ranges, ascending."""
        found = BlockSet()
        with self._lock:
            for leaf in range(start // LEAF_SPAN, -(-end // LEAF_SPAN)):
                if leaf in self._busy:
                    at = _BASE + leaf * _PAIR
                    found.put(leaf, self._map[at : at + LEAF_BYTES])
        return found.within(start, end)

    def touches(self, start: int, end: int) -> bool:
        """Whether a block of the bytes [start, end) is in either set."""
        with self._lock:
            for leaf in range(start // LEAF_SPAN, -(-end // LEAF_SPAN)):
                if leaf in self._busy or leaf in self._held:
                    found = BlockSet()
                    at = _BASE + leaf * _PAIR
                    found.put(
                        leaf, union(self._map[at : at + LEAF_BYTES], self._map[at + LEAF_BYTES : at + _PAIR])
                    )
                    if found.touches(start, end):
                        return True
        return False

    def take(self) -> BlockSet:
        """Move `current` into `frozen`; what was in `current`. Read those blocks after this, not before."""
        taken = BlockSet()
        with self._lock:
            for leaf in sorted(self._busy):
                taken.put(leaf, self._swap(leaf))
            self._busy.clear()
            self._current = 0
        return taken

    def _swap(self, leaf: int) -> bytes:
        at = _BASE + leaf * _PAIR
        middle, end = at + LEAF_BYTES, at + _PAIR
        current, frozen = self._map[at:middle], self._map[middle:end]
        joined = union(current, frozen)
        self._map[middle:end] = joined  # before the next line: a process may end between any two
        self._map[at:middle] = _ZEROS
        self._held.add(leaf)
        self._frozen += count(joined) - count(frozen)
        return current

    def take_all(self) -> BlockSet:
        """Move `current` into `frozen`; all of `frozen`: what to read when none of it was committed."""
        self.take()
        taken = BlockSet()
        with self._lock:
            for leaf in sorted(self._held):
                middle = _BASE + leaf * _PAIR + LEAF_BYTES
                taken.put(leaf, self._map[middle : middle + LEAF_BYTES])
        return taken

    def drop_frozen(self) -> None:
        """Empty `frozen`: what was taken is committed."""
        with self._lock:
            for leaf in self._held:
                middle = _BASE + leaf * _PAIR + LEAF_BYTES
                self._map[middle : middle + LEAF_BYTES] = _ZEROS
                if leaf not in self._busy:
                    self._release(leaf)
            self._held.clear()
            self._frozen = 0

    def clean(self) -> None:
        """Empty both sets: the whole disk is about to be read."""
        with self._lock:
            for leaf in self._busy | self._held:
                at = _BASE + leaf * _PAIR
                self._map[at : at + _PAIR] = _ZEROS + _ZEROS
                self._release(leaf)
            self._busy.clear()
            self._held.clear()
            self._current = self._frozen = 0

    def _release(self, leaf: int) -> None:
        """Give back the space of a leaf of zeros, where pages are small enough and the filesystem can."""
        if _PAIR % mmap.PAGESIZE:
            return
        try:
            self._map.madvise(mmap.MADV_REMOVE, _BASE + leaf * _PAIR, _PAIR)
        except OSError as error:
            if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL):
                raise _failed(self.path, error) from error

    def close(self) -> None:
        """Let go of the file; it stays."""
        with self._lock:
            self._map.close()


def _leaves(fd: int, length: int) -> Iterator[int]:
    """The leaves that have space in the file, ascending: the others are holes."""
    at, last = _BASE, -1
    while at < length:
        try:
            low = os.lseek(fd, at, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:
                return
            raise
        at = os.lseek(fd, low, os.SEEK_HOLE)
        first = max(last + 1, (low - _BASE) // _PAIR)
        last = -(-(at - _BASE) // _PAIR) - 1
        yield from range(first, last + 1)


def _failed(path: Path, error: OSError) -> TrackingError:
    return TrackingError(
        f"the dirty sets in {path} cannot be kept: {error.strerror}",
        code="TRACKING_STATE",
        remedy="make room in /run",
    )
