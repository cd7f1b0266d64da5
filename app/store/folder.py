"""A backend in a folder of a local or shared POSIX filesystem.

Writing an object, in this order: a temporary file in the same filesystem, write, fsync, rename to its name,
fsync of the folder that got the name; a new folder is fsynced in its parent before it is used. What a call
acknowledges is therefore on stable storage, data before name.

An fsync that fails leaves the kernel free to drop the dirty pages, so a second fsync proves nothing: the file
is removed, the error reported, and the caller writes it anew.

Layout: objects under their names, `.lock`, and `.tmp/<process>/`, one folder for each process that has the
store open, with a locked `.owner` in it. A folder whose owner is no longer locked belonged to a process that
died: the next process to open the store removes it.

Lock: services share an flock on `.lock`, an offline command takes it alone.
"""

import errno
import fcntl
import itertools
import os
import secrets
import shutil
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from app.store.backend import ObjectInfo, Range, Usage, checked_name
from app.store.errors import ObjectDamaged, StoreFull, StoreInUse, storage_errors
from app.store.pastcache import LEAST_BYTES, skip, write_past_cache
from app.wire.buffers import Buffer
from app.wire.chunks import MIB

_MOST_BUFFERS = 512
"""Buffers in one vectored write; the kernel's limit is 1,024."""

_BAD_MEDIUM = frozenset({errno.EIO, errno.EBADMSG, errno.EUCLEAN})
"""A sector that cannot be read, and a checksum of the filesystem that does not fit."""
_WRITE_BYTES = MIB
"""From how many bytes on no further buffer joins a write. One write of a whole pack makes the kernel take
large, cold pages for it: 1.1 CPU seconds a GiB instead of 0.3."""


class FileCalls:
    """The system calls that durability stands on, where a test can watch them or let them fail."""

    def write(self, descriptor: int, parts: Sequence[Buffer]) -> None:
        """Write all the parts at the file's position."""
        views = [memoryview(part).cast("B") for part in parts if memoryview(part).nbytes]
        if sum(view.nbytes for view in views) >= LEAST_BYTES:
            skip(views, write_past_cache(descriptor, views))
        while views:
            skip(views, os.writev(descriptor, views[: _together(views)]))

    def fsync(self, descriptor: int, path: Path) -> None:
        """Bring the file, or the names in the folder, to stable storage."""
        try:
            os.fsync(descriptor)
        except OSError as error:
            error.filename = str(path)
            raise

    def rename(self, source: Path, target: Path) -> None:
        """Give the file its name, replacing what had it."""
        source.rename(target)

    def make_folder(self, path: Path) -> bool:
        """Make one folder; False when it is there already."""
        try:
            path.mkdir(mode=0o700)
        except FileExistsError:
            return False
        return True

    def read(self, descriptor: int, length: int, offset: int) -> bytes:
        """At most `length` bytes from `offset`."""
        return os.pread(descriptor, length, offset)

    def unlink(self, path: Path) -> None:
        """Remove a file; harmless when it is gone."""
        path.unlink(missing_ok=True)


def _together(views: Sequence[memoryview]) -> int:
    """How many of the first buffers are written by one call."""
    count = size = 0
    while count < min(len(views), _MOST_BUFFERS) and size < _WRITE_BYTES:
        size += views[count].nbytes
        count += 1
    return count


class FolderBackend:
    """Objects as files below `path`, keeping `reserve_bytes` of the filesystem free."""

    def __init__(self, path: Path, reserve_bytes: int = 0, calls: FileCalls | None = None) -> None:
        """Use, and make where missing, the folder `path`. Raises StoreError."""
        self.path = path.absolute()
        self._reserve = reserve_bytes
        self._calls = calls or FileCalls()
        self._numbers = itertools.count()
        self._durable: set[Path] = set()
        self._guard = threading.Lock()
        self._workspace: Path | None = None
        self._owner = -1
        with storage_errors("open the store", str(path)):
            self._make_root()
            self._open_workspace()

    def close(self) -> None:
        """Give up the folder for temporary files; the backend is of no use afterwards."""
        if self._workspace is not None:
            shutil.rmtree(self._workspace, ignore_errors=True)
            os.close(self._owner)
            self._workspace = None

    @contextmanager
    def lock(self, *, exclusive: bool = False) -> Iterator[None]:
        """Hold the store's lock: shared for a service, alone for an offline command. Raises StoreInUse."""
        with storage_errors("lock", str(self.path)):
            descriptor = os.open(self.path / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            self._flock(descriptor, exclusive=exclusive)
            yield
        finally:
            os.close(descriptor)

    def put(self, name: str, parts: Sequence[Buffer], *, reserved: bool = False) -> None:
        """See `Backend.put`."""
        target = self._file(name)
        if not reserved:
            self._require_room(name, sum(memoryview(part).nbytes for part in parts))
        with storage_errors("write", name):
            self._make_durable_folder(target.parent)
            temporary = self._write_temporary(parts)
            try:
                self._calls.rename(temporary, target)
            except OSError:
                self._calls.unlink(temporary)
                raise
            self._settle(target)

    def get(self, name: str, offset: int = 0, length: int | None = None) -> bytes:
        """See `Backend.get`."""
        with storage_errors("read", name), self._file(name).open("rb", buffering=0) as file:
            end = os.fstat(file.fileno()).st_size
            wanted = end - offset if length is None else length
            return self._range(name, file.fileno(), end, (offset, wanted))

    def get_ranges(self, name: str, ranges: Sequence[Range]) -> Iterator[bytes]:
        """See `Backend.get_ranges`."""
        with storage_errors("read", name), self._file(name).open("rb", buffering=0) as file:
            descriptor = file.fileno()
            end = os.fstat(descriptor).st_size
            for offset, length in ranges:
                os.posix_fadvise(descriptor, offset, length, os.POSIX_FADV_WILLNEED)
            for each in ranges:
                yield self._range(name, descriptor, end, each)

    def _range(self, name: str, descriptor: int, end: int, wanted: Range) -> bytes:
        """A range of a file of `end` bytes."""
        offset, length = wanted
        if length < 0 or offset + length > end:
            raise ObjectDamaged(
                f"{name} has {end} bytes where {offset + length} are needed: it was cut off", object=name
            )
        return self._read(name, descriptor, length, offset)

    def _read(self, name: str, descriptor: int, wanted: int, offset: int) -> bytes:
        """Exactly `wanted` bytes. What the medium cannot give back is as lost as a flipped bit."""
        data = b""
        while len(data) < wanted:
            try:
                more = self._calls.read(descriptor, wanted - len(data), offset + len(data))
            except OSError as error:
                if error.errno not in _BAD_MEDIUM:
                    raise
                raise ObjectDamaged(f"{name} cannot be read back: {error.strerror}", object=name) from error
            if not more:
                raise ObjectDamaged(f"{name} shrank while it was read", object=name)
            data = data + more if data else more
        return data

    def info(self, name: str) -> ObjectInfo:
        """See `Backend.info`."""
        with storage_errors("look at", name):
            status = self._file(name).stat()
        return ObjectInfo(name, status.st_size, datetime.fromtimestamp(status.st_mtime, UTC))

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        """See `Backend.list`."""
        parent, _, start = prefix.rpartition("/")
        with storage_errors("list", prefix):
            yield from self._walk(parent, start)

    def delete(self, name: str, *, durable: bool = False) -> None:
        """See `Backend.delete`."""
        target = self._file(name)
        with storage_errors("delete", name):
            self._calls.unlink(target)
            if durable and target.parent.is_dir():
                self._fsync_folder(target.parent)

    def usage(self) -> Usage:
        """See `Backend.usage`."""
        with storage_errors("measure the room of", str(self.path)):
            status = os.statvfs(self.path)
        free = status.f_bavail * status.f_frsize - self._reserve
        return Usage(max(0, free), status.f_blocks * status.f_frsize)

    def _file(self, name: str) -> Path:
        return self.path / checked_name(name)

    def _flock(self, descriptor: int, *, exclusive: bool) -> None:
        try:
            fcntl.flock(descriptor, (fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH) | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = "a service" if exclusive else "an offline command"
            raise StoreInUse(
                f"the store {self.path} is in use by {holder}",
                remedy=f"stop {holder} that uses {self.path}, or wait until it is done, then try again",
                path=str(self.path),
            ) from error

    def _require_room(self, name: str, length: int) -> None:
        free = self.usage().free
        if length > free:
            raise StoreFull(
                f"write {name}: {length} bytes are needed, {free} are free beyond the reserve",
                remedy=f"free space under {self.path}, enlarge it, or lower the store's reserve",
                free=free,
                reserve=self._reserve,
            )

    def _write_temporary(self, parts: Sequence[Buffer]) -> Path:
        assert self._workspace is not None, "the backend is closed"
        path = self._workspace / str(next(self._numbers))
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            self._calls.write(descriptor, parts)
            self._calls.fsync(descriptor, path)
        except OSError:
            self._calls.unlink(path)
            raise
        finally:
            os.close(descriptor)
        return path

    def _settle(self, target: Path) -> None:
        """Make the new name durable; if that fails the object counts as lost and goes."""
        try:
            self._fsync_folder(target.parent)
        except OSError:
            self._calls.unlink(target)
            raise

    def _make_durable_folder(self, folder: Path) -> None:
        """Make `folder` with its parents and fsync each one's name, once in the life of this process."""
        if folder in self._durable or folder == self.path:
            return
        with self._guard:
            for part in reversed([folder, *folder.parents]):
                if part not in self._durable and part.is_relative_to(self.path) and part != self.path:
                    self._add_folder(part)
                    self._durable.add(part)

    def _add_folder(self, folder: Path) -> None:
        """Make one folder and its name durable; if that fails, a new folder counts as lost and goes."""
        made = self._calls.make_folder(folder)
        try:
            self._fsync_folder(folder.parent)
        except OSError:
            if made:
                folder.rmdir()
            raise

    def _make_root(self) -> None:
        for part in reversed([self.path, *self.path.parents]):
            if not part.exists():
                self._add_folder(part)

    def _fsync_folder(self, folder: Path) -> None:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            self._calls.fsync(descriptor, folder)
        finally:
            os.close(descriptor)

    def _walk(self, folder: str, start: str) -> Iterator[ObjectInfo]:
        try:
            with os.scandir(self.path / folder) as found:
                entries = [entry for entry in found if entry.name.startswith(start)]
        except (FileNotFoundError, NotADirectoryError):
            return
        for entry in entries:
            if entry.name.startswith("."):
                continue
            name = f"{folder}/{entry.name}".lstrip("/")
            if entry.is_dir(follow_symlinks=False):
                yield from self._walk(name, "")
            else:
                with suppress(FileNotFoundError):
                    status = entry.stat(follow_symlinks=False)
                    yield ObjectInfo(name, status.st_size, datetime.fromtimestamp(status.st_mtime, UTC))

    def _open_workspace(self) -> None:
        """Clear what dead processes left, then make this process's own folder, alone with `.tmp/.lock`."""
        base = self.path / ".tmp"
        base.mkdir(exist_ok=True, mode=0o700)
        gate = os.open(base / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(gate, fcntl.LOCK_EX)
            for folder in base.iterdir():
                if folder.is_dir() and _is_abandoned(folder):
                    shutil.rmtree(folder)
            self._workspace = base / secrets.token_hex(8)
            self._workspace.mkdir(mode=0o700)
            self._owner = os.open(self._workspace / ".owner", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            fcntl.flock(self._owner, fcntl.LOCK_EX | fcntl.LOCK_NB)
        finally:
            os.close(gate)


def _is_abandoned(folder: Path) -> bool:
    """Whether the process that made this folder for temporary files is gone."""
    try:
        descriptor = os.open(folder / ".owner", os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
            return False
        raise
    finally:
        os.close(descriptor)
    return True
