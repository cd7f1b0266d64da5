"""The file or block device that a disk is written to."""

import ctypes
import errno
import fcntl
import os
import stat
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Protocol, Self

from app.store.errors import VolumeBusy, VolumeError, VolumeExists, VolumeTooSmall, VolumeUnusable
from app.store.pastcache import DirectWriter, skip
from app.wire.buffers import Buffer
from app.wire.chunks import MIB

_BLKGETSIZE64: Final = 0x80081272
_BLKZEROOUT: Final = 0x127F
_KEEP_SIZE: Final = 1
_PUNCH_HOLE: Final = 2
_ZEROS: Final = bytes(MIB)
_LIBC: Final = ctypes.CDLL(None, use_errno=True)


class VolumeOutput(Protocol):
    """Where a disk's bytes go; nothing counts as written until `publish`."""

    path: Path
    """Where the bytes lie while they are written."""

    def write(self, at: int, parts: Sequence[Buffer]) -> None:
        """Write buffers one after the other from an offset. From any thread. Raises VolumeError."""

    def zero(self, at: int, length: int) -> None:
        """Make a range read as zeros. Raises VolumeError."""

    def flush(self) -> None:
        """Bring all of it to stable storage. Raises VolumeError."""

    def publish(self) -> None:
        """The bytes were verified: give them the output's name. Raises VolumeError."""

    def close(self) -> None:
        """Let go of the output; what was not published is removed where that is possible."""


def open_output(output: Path, size: int, *, force: bool) -> VolumeOutput:
    """Open `output` for a disk of `size` bytes.

    A path that does not exist, or with `force` an existing file, gives a new sparse file; a block device
    needs `force`. Raises VolumeExists, VolumeBusy, VolumeTooSmall, VolumeUnusable.
    """
    try:
        mode = output.stat().st_mode
    except FileNotFoundError:
        return NewFile.open(output, size)
    except OSError as error:
        raise _unusable(output, error) from error
    if not stat.S_ISREG(mode) and not stat.S_ISBLK(mode):
        raise VolumeUnusable(f"{output} is neither a file nor a block device")
    if not force:
        raise VolumeExists(f"{output} exists", remedy="name another output, or use --force to overwrite it")
    return Device.open(output, size) if stat.S_ISBLK(mode) else NewFile.open(output.resolve(), size)


class VolumeInPlace(VolumeOutput, Protocol):
    """A volume that is there already and is changed where it lies."""

    def renew(self, size: int) -> None:
        """Begin anew with a disk of `size` bytes; `zero` is still to be called for what is zero.

        Raises VolumeError.
        """

    def resize(self, before: int, size: int) -> None:
        """Make room for a disk of `size` bytes where one of `before` bytes is; what is new reads as zeros.

        Raises VolumeError.
        """


def open_in_place(path: Path, size: int) -> VolumeInPlace:
    """Open an existing file or block device alone, to be changed into a disk of `size` bytes.

    Nothing of it is changed yet. Raises VolumeBusy, VolumeTooSmall, VolumeUnusable.
    """
    try:
        mode = path.stat().st_mode
    except OSError as error:
        raise _unusable(path, error) from error
    if stat.S_ISBLK(mode):
        return Device.open(path, size)
    if stat.S_ISREG(mode):
        return FileInPlace.open(path)
    raise VolumeUnusable(f"{path} is neither a file nor a block device")


class _Opened:
    """An open descriptor and its error translation."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self._descriptor = descriptor
        self._direct = DirectWriter(descriptor)

    def write(self, at: int, parts: Sequence[Buffer]) -> None:
        """See `VolumeOutput.write`."""
        views = [memoryview(part).cast("B") for part in parts]
        try:
            written = self._direct.write(at, views)
            while views:
                at += written
                skip(views, written)
                written = os.pwritev(self._descriptor, views, at) if views else 0
        except OSError as error:
            raise _unusable(self.path, error) from error

    def _write_zeros(self, at: int, length: int) -> None:
        for start in range(at, at + length, MIB):
            self.write(start, [memoryview(_ZEROS)[: min(MIB, at + length - start)]])

    def flush(self) -> None:
        """See `VolumeOutput.flush`."""
        try:
            os.fsync(self._descriptor)
        except OSError as error:
            raise _unusable(self.path, error) from error

    def close(self) -> None:
        """See `VolumeOutput.close`."""
        self._direct.close()
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


class NewFile(_Opened):
    """A sparse raw file, written as `<output>.partial` and renamed when it is verified."""

    def __init__(self, output: Path, partial: Path, descriptor: int) -> None:
        """Wrap an open, empty file of the disk's size."""
        super().__init__(partial, descriptor)
        self._output = output
        self._published = False

    @classmethod
    def open(cls, output: Path, size: int) -> Self:
        """Make the partial file, all zeros. Raises VolumeBusy when another process is writing it."""
        partial = output.with_name(output.name + ".partial")
        try:
            descriptor = os.open(partial, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except OSError as error:
            raise _unusable(partial, error) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _require_same(descriptor, partial)
            os.ftruncate(descriptor, 0)
            os.ftruncate(descriptor, size)
        except OSError as error:
            os.close(descriptor)
            raise _unusable(partial, error) from error
        return cls(output, partial, descriptor)

    def zero(self, at: int, length: int) -> None:
        """Nothing to do: a new file's untouched ranges are holes."""

    def publish(self) -> None:
        """See `VolumeOutput.publish`: durable when it returns."""
        try:
            self.path.rename(self._output)
            self._published = True
            _fsync_folder(self._output.parent)
        except OSError as error:
            raise _unusable(self._output, error) from error

    def close(self) -> None:
        """See `VolumeOutput.close`."""
        if not self._published and self._descriptor >= 0:
            self.path.unlink(missing_ok=True)
        super().close()


class FileInPlace(_Opened):
    """A sparse raw file that is changed where it lies, under an exclusive lock (flock)."""

    @classmethod
    def open(cls, path: Path) -> Self:
        """Lock the file. Raises VolumeBusy while a machine or another writer has it."""
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        except OSError as error:
            raise _unusable(path, error) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _require_same(descriptor, path)
        except OSError as error:
            os.close(descriptor)
            raise _unusable(path, error) from error
        return cls(path, descriptor)

    def resize(self, before: int, size: int) -> None:
        """See `VolumeInPlace.resize`. What lay behind the disk goes first."""
        try:
            os.ftruncate(self._descriptor, min(before, size))
            os.ftruncate(self._descriptor, size)
        except OSError as error:
            raise _unusable(self.path, error) from error

    def renew(self, size: int) -> None:
        """See `VolumeInPlace.renew`. The file is empty then: all of it is a hole."""
        self.resize(0, size)

    def zero(self, at: int, length: int) -> None:
        """Punch a hole, or write zeros where the filesystem has none."""
        code = punch_hole(self._descriptor, at, length)
        if code == errno.EOPNOTSUPP:
            self._write_zeros(at, length)
        elif code:
            raise _unusable(self.path, OSError(code, os.strerror(code)))

    def publish(self) -> None:
        """Nothing to do: the bytes are where they belong."""


class Device(_Opened):
    """A block device that nobody has mounted; it may be larger than the disk."""

    @classmethod
    def open(cls, path: Path, size: int) -> Self:
        """Claim the device alone. Raises VolumeBusy when it is mounted or claimed, VolumeTooSmall."""
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_EXCL | os.O_CLOEXEC)
            room = device_size(descriptor)
        except OSError as error:
            raise _unusable(path, error) from error
        if room < size:
            os.close(descriptor)
            raise VolumeTooSmall(
                f"{path} has {room} bytes, the disk {size}",
                remedy="use a device at least as large as the disk",
            )
        return cls(path, descriptor)

    def zero(self, at: int, length: int) -> None:
        """Zero a range by the device itself where it can, else by writing zeros."""
        try:
            fcntl.ioctl(self._descriptor, _BLKZEROOUT, struct.pack("=QQ", at, length))
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.EOPNOTSUPP, errno.ENOTTY):
                raise _unusable(self.path, error) from error
            self._write_zeros(at, length)

    def renew(self, size: int) -> None:
        """Nothing to do: each place is written or zeroed."""

    def resize(self, before: int, size: int) -> None:
        """Zero what the disk grew by: nobody knows what lies there."""
        if size > before:
            self.zero(before, size - before)

    def publish(self) -> None:
        """Nothing to do: a device's bytes are where they belong."""


def punch_hole(descriptor: int, at: int, length: int) -> int:
    """Give a range of a file back to its filesystem; it reads as zeros then. The errno, 0 for success."""
    mode = _KEEP_SIZE | _PUNCH_HOLE
    done = _LIBC.fallocate(descriptor, mode, ctypes.c_int64(at), ctypes.c_int64(length))
    return ctypes.get_errno() if done else 0


def device_size(descriptor: int) -> int:
    """Bytes of an open block device. Raises OSError."""
    raw = fcntl.ioctl(descriptor, _BLKGETSIZE64, bytes(8))
    return int(struct.unpack("=Q", raw)[0])


def _require_same(descriptor: int, path: Path) -> None:
    """Raise OSError (EBUSY) where another process renamed the file between our opening and locking it."""
    if not path.exists() or not os.path.samestat(os.fstat(descriptor), path.stat()):
        raise OSError(errno.EBUSY, "it was renamed meanwhile")


def _fsync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _unusable(path: Path, error: OSError) -> VolumeError:
    if error.errno in (errno.EBUSY, errno.EWOULDBLOCK):
        return VolumeBusy(
            f"{path} is in use", remedy="unmount it, or wait for the other export to end, then try again"
        )
    return VolumeUnusable(f"{path} cannot be written: {error.strerror or error}")
