"""Reading a disk past the page cache.

A mounted filesystem writes through its own cache, not through the block device's: a buffered read of the
device can return bytes that are no longer on the disk. So reads are O_DIRECT, from page-aligned buffers,
at offsets and lengths that are multiples of ALIGNMENT. Files on filesystems that refuse O_DIRECT are read
buffered and dropped from the cache again (`direct` says which); a file has one cache, so both are exact.
"""

import errno
import fcntl
import mmap
import os
import stat
import struct
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from app.agent.daemon.errors import DiskError

ALIGNMENT: Final = 4096
_BLKSSZGET: Final = 0x1268
_BLKPBSZGET: Final = 0x127B
_GONE: Final = (errno.ENXIO, errno.ENODEV)


class DiskReader:
    """An open source disk: a block device or a regular file. Safe to use from several threads.

    `busy_seconds` is how long reads took so far, the sum over the threads.

    Raises DiskError with code DISK_NOT_FOUND or DISK_NOT_READABLE when it cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.busy_seconds = 0.0
        self._counting = threading.Lock()
        self._fd, self.direct = _open(path)
        self._identity = _identity(os.fstat(self._fd))
        self.is_file = stat.S_ISREG(os.fstat(self._fd).st_mode)
        self.size = self.current_size()
        self.sector_size, self.physical_sector_size = self._sector_sizes()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the disk; it cannot be read any more."""
        os.close(self._fd)

    def current_size(self) -> int:
        """The size in bytes at this moment."""
        try:
            return os.lseek(self._fd, 0, os.SEEK_END)
        except OSError as error:
            raise self._vanished() from error

    def require_unchanged(self) -> None:
        """Raise DiskError when the path no longer leads to this disk, or the disk has another size."""
        try:
            same = _identity(self.path.stat()) == self._identity
        except OSError as error:
            raise self._vanished() from error
        if not same:
            raise self._vanished()
        if self.current_size() != self.size:
            raise self.shrunk(self.current_size())

    def shrunk(self, now: int) -> DiskError:
        """The error for a disk that ends at byte `now` instead of at its size."""
        kind = "shrank" if now < self.size else "grew"
        return DiskError(
            f"{self.path} {kind} from {self.size} to {now} bytes while it was read",
            code="DISK_SHRUNK" if now < self.size else "DISK_LAYOUT_CHANGED",
            remedy="nothing was committed; the next pass starts with the new size",
        )

    def _vanished(self) -> DiskError:
        return DiskError(
            f"{self.path} vanished while it was read",
            code="DISK_VANISHED",
            remedy="nothing was committed; attach the disk again",
        )

    def read_into(self, offset: int, view: memoryview) -> int:
        """Fill `view` from `offset` (both aligned) and return the bytes read; fewer only where the disk ends.

        Raises OSError for a read error, DiskError for a disk that vanished or ends before its size.
        """
        filled = 0
        wanted = min(view.nbytes, self.size - offset)
        while filled < wanted:
            got = self._read_once(offset + filled, view[filled:])
            if got == 0:
                raise self.shrunk(offset + filled)
            filled += got
        if not self.direct:
            os.posix_fadvise(self._fd, offset, filled, os.POSIX_FADV_DONTNEED)
        return wanted

    def _read_once(self, offset: int, view: memoryview) -> int:
        began = time.monotonic()
        try:
            return os.preadv(self._fd, [view], offset)
        except OSError as error:
            if error.errno in _GONE or (error.errno == errno.EIO and not self.path.exists()):
                raise self._vanished() from error
            if error.errno == errno.EINVAL and offset + view.nbytes > self.current_size():
                raise self.shrunk(self.current_size()) from error
            raise
        finally:
            with self._counting:
                self.busy_seconds += time.monotonic() - began

    def read_at(self, offset: int, length: int) -> bytes:
        """Bytes at any offset, for metadata: fewer where the disk ends. Raises OSError, DiskError."""
        length = max(0, min(length, self.size - offset))
        start = offset - offset % ALIGNMENT
        span = -(-(offset + length - start) // ALIGNMENT) * ALIGNMENT
        if length == 0:
            return b""
        buffer = mmap.mmap(-1, span)  # not closed: the traceback of a read error holds views of it
        self.read_into(start, memoryview(buffer))
        return buffer[offset - start : offset - start + length]

    def sync(self) -> None:
        """Write a file's cached changes back, so that its times tell of every later write."""
        if self.is_file:
            os.fsync(self._fd)

    def status(self) -> os.stat_result:
        """The open disk's stat."""
        return os.fstat(self._fd)

    def next_data(self, offset: int) -> int:
        """Start of the next data of a file at or after `offset`; the size where only a hole follows.

        Filesystems that know no holes, and block devices, report data everywhere.
        """
        if not self.is_file or offset >= self.size:
            return offset
        try:
            return os.lseek(self._fd, offset, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:
                return self.size
            if error.errno == errno.EINVAL:
                return offset
            raise

    def _sector_sizes(self) -> tuple[int, int]:
        if self.is_file:
            return 512, 512
        return _ioctl_int(self._fd, _BLKSSZGET), _ioctl_int(self._fd, _BLKPBSZGET)


def _open(path: Path) -> tuple[int, bool]:
    try:
        _require_disk(path)
        return _open_direct(path)
    except FileNotFoundError as error:
        raise DiskError(
            f"{path} does not exist", code="DISK_NOT_FOUND", remedy="name a block device or a file"
        ) from error
    except OSError as error:
        raise DiskError(
            f"{path} cannot be opened for reading: {error.strerror}",
            code="DISK_NOT_READABLE",
            remedy="run the agent as root, or as a user who may read the disk",
        ) from error


def _require_disk(path: Path) -> None:
    mode = path.stat().st_mode
    if not (stat.S_ISBLK(mode) or stat.S_ISREG(mode)):
        raise DiskError(
            f"{path} is neither a block device nor a regular file",
            code="DISK_NOT_FOUND",
            remedy="name a block device or a file",
        )


def _open_direct(path: Path) -> tuple[int, bool]:
    """Open with O_DIRECT where a first read works with it, else buffered."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_DIRECT)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC), False
    if _direct_works(fd):
        return fd, True
    os.close(fd)
    return os.open(path, os.O_RDONLY | os.O_CLOEXEC), False


def _direct_works(fd: int) -> bool:
    with mmap.mmap(-1, ALIGNMENT) as probe, memoryview(probe) as view:
        try:
            os.preadv(fd, [view], 0)
        except OSError as error:
            return error.errno != errno.EINVAL
    return True


def _identity(status: os.stat_result) -> tuple[int, int, int]:
    return status.st_dev, status.st_ino, status.st_rdev


def _ioctl_int(fd: int, request: int) -> int:
    answer = fcntl.ioctl(fd, request, struct.pack("I", 0))
    value: int = struct.unpack("I", answer)[0]
    return value
