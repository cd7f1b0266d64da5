"""What was taken in from the trace buffers, kept so that a kill between reading and marking loses nothing.

Reading a page takes it out of the kernel for good. So a page is read straight into this file, which is mapped
shared: a system call that has begun to copy ends before a SIGKILL works. The order is

    cpu = N;  read into `page`;  mark the dirty sets;  applied[N] += events;  page = nothing

and the next process compares the kernel's counter of read events with `applied`. If the kernel is ahead by
exactly the events of the page that lies here, that page is applied (again, perhaps: marking twice is
nothing). Any other difference is a gap.

Native byte order:

    0        magic "g2cledge", u32 version, u32 page size, 16 bytes instance id, 16 bytes BLAKE3 of the former
    4096     u64 cpu of the page
    8192     the page
    then     u64 applied[8192], u64 lost[8192], by CPU; `lost` is how many lost events are accounted for
"""

import os
import struct
from mmap import mmap
from pathlib import Path
from typing import Final, Self

from blake3 import blake3

from app.agent.daemon.errors import TrackingError

_HEADER: Final = struct.Struct("<8sII16s")
_MAGIC: Final = b"g2cledge"
_VERSION: Final = 1
_CPU_AT: Final = 4096
_PAGE_AT: Final = 8192
MAX_CPUS: Final = 8192


class Ledger:
    """See the module. `page` is the page's buffer, `applied` and `lost` are counters by CPU."""

    def __init__(self, fd: int, page_size: int) -> None:
        self._map = mmap(fd, _length(page_size))
        self._whole = memoryview(self._map)
        self._cpu = self._whole[_CPU_AT : _CPU_AT + 8].cast("Q")
        self.page = self._whole[_PAGE_AT : _PAGE_AT + page_size]
        counters = _PAGE_AT + page_size
        self.applied = self._whole[counters : counters + 8 * MAX_CPUS].cast("Q")
        self.lost = self._whole[counters + 8 * MAX_CPUS : counters + 16 * MAX_CPUS].cast("Q")

    @classmethod
    def begin(cls, path: Path, instance_id: bytes, page_size: int) -> Self:
        """Make a new one. Raises TrackingError."""
        header = _sealed(instance_id, page_size)
        try:
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            try:
                os.posix_fallocate(fd, 0, _length(page_size))
                os.pwrite(fd, header, 0)
                return cls(fd, page_size)
            finally:
                os.close(fd)
        except OSError as error:
            raise TrackingError(
                f"{path} cannot be kept: {error.strerror}", code="TRACKING_STATE", remedy="make room in /run"
            ) from error

    @classmethod
    def adopt(cls, path: Path, instance_id: bytes, page_size: int) -> Self | None:
        """Open that of an earlier process; None where it is not of this instance, or damaged."""
        try:
            fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        try:
            header = _sealed(instance_id, page_size)
            fits = os.pread(fd, len(header), 0) == header and os.fstat(fd).st_size == _length(page_size)
            return cls(fd, page_size) if fits else None
        finally:
            os.close(fd)

    @property
    def cpu(self) -> int:
        """Whose page `page` is."""
        return self._cpu[0]

    @cpu.setter
    def cpu(self, cpu: int) -> None:
        self._cpu[0] = cpu

    def close(self) -> None:
        """Let go of the file; it stays."""
        for view in (self._cpu, self.page, self.applied, self.lost, self._whole):
            view.release()
        self._map.close()


def _length(page_size: int) -> int:
    return _PAGE_AT + page_size + 16 * MAX_CPUS


def _sealed(instance_id: bytes, page_size: int) -> bytes:
    header = _HEADER.pack(_MAGIC, _VERSION, page_size, instance_id)
    return header + blake3(header).digest(length=16)
