"""The swap space that is in use on the disks, and its bytes: they are worth nothing in a copy.

The first page of a swap area holds its header (signature, UUID, label, bad pages; mkswap(8)): it does not
count as swap space, so that the replica's swap can be switched on. A swap file is found on its filesystem
by FIEMAP (linux/fiemap.h): ext and XFS only, as others report addresses that are not the device's. The
kernel keeps an active swap file where it is.

/proc/swaps names the swap of all mount namespaces by the paths that each of them knows. What another one
calls /swapfile may be any file here: only what bears a swap area's signature is taken for it.
"""

import fcntl
import mmap
import os
import stat
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from app.agent.daemon.disk.carriers import Carriers, Span
from app.agent.daemon.disk.family import device_number

_SWAPS: Final = Path("/proc/swaps")
_FIEMAP: Final = 0xC020660B
_FIEMAP_HEAD: Final = struct.Struct("=QQIIII")
_FIEMAP_EXTENT: Final = struct.Struct("=QQQ16xI12x")
_EXTENTS_AT_A_TIME: Final = 512
_LAST: Final = 0x1
_INEXACT: Final = 0x2 | 0x4 | 0x8 | 0x80 | 0x100 | 0x200
_BLOCK: Final = 4096
_SIGNATURES: Final = (b"SWAPSPACE2", b"SWAP-SPACE")
"""At the end of the first page."""


@dataclass(frozen=True)
class Swap:
    """Active swap on the disks. `device` is the major:minor of its partition, empty for a file.

    `spans` are its bytes without the header, in multiples of 4 KiB; none where they cannot be told.
    """

    path: str
    device: str
    disks: frozenset[str]
    spans: tuple[Span, ...]


@dataclass(frozen=True)
class Home:
    """A filesystem on which a swap file may lie."""

    kind: str
    disks: frozenset[str]
    span: Span | None


def active_swaps(carriers: Carriers, homes: Mapping[str, Home]) -> tuple[Swap, ...]:
    """The active swap of the carriers, and of the filesystems on them, which are given by their numbers."""
    found = (_swap(path, carriers, homes) for path in parse_swaps(_SWAPS.read_text()))
    return tuple(swap for swap in found if swap)


def parse_swaps(text: str) -> list[str]:
    """The paths in /proc/swaps."""
    rows = (line.split() for line in text.splitlines()[1:])
    return [row[0].replace("\\040", " ").replace("\\134", "\\") for row in rows if row]


def _swap(path: str, carriers: Carriers, homes: Mapping[str, Home]) -> Swap | None:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None  # of another namespace, or deleted: what it writes shows as writes to the disk
    try:
        status = os.fstat(fd)
        if not _is_swap(fd):
            return None
        if stat.S_ISBLK(status.st_mode):
            return _of_device(path, device_number(status.st_rdev), carriers)
        return _of_file(path, fd, homes.get(device_number(status.st_dev)))
    except OSError:
        return None  # where it lies cannot be told: what it writes shows as well
    finally:
        os.close(fd)


def _is_swap(fd: int) -> bool:
    """Whether a swap area begins here."""
    length = len(_SIGNATURES[0])
    return os.pread(fd, length, mmap.PAGESIZE - length) in _SIGNATURES


def _of_device(path: str, number: str, carriers: Carriers) -> Swap | None:
    carrier = carriers.get(number)
    if carrier is None:
        return None
    span = carrier.span
    spans = (_rounded(span.disk, span.start + mmap.PAGESIZE, span.start + span.size),) if span else ()
    return Swap(path, number, carrier.disks, spans)


def _of_file(path: str, fd: int, home: Home | None) -> Swap | None:
    if home is None:
        return None
    spans: tuple[Span, ...] = ()
    if home.span and home.kind in ("ext2", "ext3", "ext4", "xfs"):
        disk, base = home.span.disk, home.span.start
        spans = tuple(_rounded(disk, base + start, base + end) for start, end in _file_extents(fd))
    return Swap(path, "", home.disks, tuple(span for span in spans if span.size > 0))


def _rounded(disk: str, start: int, end: int) -> Span:
    first = -(-start // _BLOCK) * _BLOCK
    return Span(disk, first, end // _BLOCK * _BLOCK - first)


def _file_extents(fd: int) -> Iterator[tuple[int, int]]:
    """(first byte, byte behind the last) on the filesystem's device, of the file behind its first page."""
    at, is_last = mmap.PAGESIZE, False
    while not is_last:
        buffer = bytearray(_FIEMAP_HEAD.size + _EXTENTS_AT_A_TIME * _FIEMAP_EXTENT.size)
        _FIEMAP_HEAD.pack_into(buffer, 0, at, (1 << 64) - 1 - at, 0, 0, _EXTENTS_AT_A_TIME, 0)
        fcntl.ioctl(fd, _FIEMAP, buffer)
        count = _FIEMAP_HEAD.unpack_from(buffer)[3]
        is_last = count == 0
        for number in range(count):
            place = _FIEMAP_HEAD.size + number * _FIEMAP_EXTENT.size
            logical, physical, length, flags = _FIEMAP_EXTENT.unpack_from(buffer, place)
            before = max(0, at - logical)
            at = logical + length
            is_last = is_last or bool(flags & _LAST)
            if not flags & _INEXACT:
                yield physical + before, physical + length
