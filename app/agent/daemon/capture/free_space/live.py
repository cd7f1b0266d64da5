"""The free space of a mounted filesystem, told by its own driver: the ioctl FS_IOC_GETFSMAP (linux/fsmap.h).

    fsmap_head   iflags, oflags, count, entries u32; 48 bytes reserved; two keys (lowest, highest); records
    fsmap        device, flags u32; physical, owner, offset, length u64 in bytes; 24 bytes reserved

Only records whose special owner is FREE are taken, never what lies between records: ext4 leaves used blocks
out of its map. The map is true for a moment, and of the memory's filesystem, not the disk's: XFS calls free
what the log on the disk does not know to be freed yet. A copy that left that out would hold a deleted file
whole, with zeros for its content. So the filesystem is written back once the map was taken. A copy that is
read after that and leaves these ranges out is right when all writes are tracked from before the map on.
"""

import fcntl
import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from app.agent.daemon.capture.extents import Extents
from app.agent.daemon.capture.free_space.finder import MAX_RANGES, FreeMap
from app.agent.daemon.capture.free_space.reasons import NotTrusted
from app.agent.daemon.disk.layout import FilesystemPlace
from app.agent.daemon.disk.mounts import open_mount
from app.agent.daemon.disk.standing import Standing
from app.agent.daemon.freezer import kernel
from app.wire.chunks import BLOCK

_GETFSMAP: Final = 0xC0C0583B
_HEAD: Final = struct.Struct("=IIII48x")
_RECORD: Final = struct.Struct("=IIQQQQ24x")
_RECORDS_AT: Final = _HEAD.size + 2 * _RECORD.size
_RECORDS_AT_A_TIME: Final = 4096
_DEVICES_ARE_NUMBERS: Final = 0x1
_SPECIAL_OWNER: Final = 0x10
_LAST: Final = 0x20
_OWNER_FREE: Final = 1
_HIGHEST: Final = (0xFFFFFFFF, 0xFFFFFFFF, *3 * (0xFFFFFFFFFFFFFFFF,), 0)
_KINDS: Final = ("ext2", "ext3", "ext4", "xfs")
_EXT_RO_COMPAT: Final = 1024 + 0x64
_EXT_BIGALLOC: Final = 0x200


def live_free(standing: Standing, place: FilesystemPlace) -> FreeMap:
    """The free ranges of the mounted filesystem that stands at `place` of its disk, as they are now.

    Its disk knows all of them to be free when this returns. Empty with a reason where they cannot be told.
    The caller sees to it that writes are tracked already.
    """
    try:
        free = _free_of(standing, place.size)
    except NotTrusted as doubt:
        return FreeMap(place, Extents(), str(doubt))
    except OSError as error:
        return FreeMap(place, Extents(), f"its map of a live filesystem cannot be read: {error.strerror}")
    return FreeMap(place, free.shifted(place.start).aligned(BLOCK).largest(MAX_RANGES))


def _free_of(standing: Standing, size: int) -> Extents:
    if standing.kind not in _KINDS:
        raise NotTrusted(f"{standing.kind} tells no map while it is mounted")
    if standing.devices != (standing.number,):
        raise NotTrusted("it spans several devices")
    if standing.kind != "xfs":
        _require_blocks(standing)
    fd = open_mount(standing.path, standing.mount_id)
    try:
        free = Extents.of(_free_records(fd, _encoded(standing.number), size))
        failure = kernel.sync(fd)
        if failure:
            raise NotTrusted(f"it cannot be written back: {os.strerror(failure)}")
        return free
    finally:
        os.close(fd)


def _require_blocks(standing: Standing) -> None:
    """Refuse ext4 with clusters: where its records end was not exact in kernels that are in use."""
    device = Path("/dev/block") / standing.number
    if not device.exists():
        device = Path("/dev") / Path(f"/sys/dev/block/{standing.number}").resolve().name.replace("!", "/")
    with device.open("rb") as opened:
        opened.seek(_EXT_RO_COMPAT)
        (features,) = struct.unpack("<I", opened.read(4))
    if features & _EXT_BIGALLOC:
        raise NotTrusted("it allots space in clusters (bigalloc)")


def _encoded(number: str) -> int:
    """The 32-bit form of a device number in records: major 12 bits, minor 20 bits, its lowest 8 below."""
    major, minor = map(int, number.split(":"))
    return (minor & 0xFF) | major << 8 | (minor & ~0xFF) << 12


def _free_records(fd: int, device: int, size: int) -> Iterator[tuple[int, int]]:
    """(start, end) of the free records of the data device. A log or real-time device has its own numbers."""
    for owner_device, flags, start, owner, _, length in _records(fd):
        if owner_device != device or not flags & _SPECIAL_OWNER or owner != _OWNER_FREE:
            continue
        if start + length > size:
            raise NotTrusted("its map reaches behind its partition")
        yield start, start + length


def _records(fd: int) -> Iterator[tuple[int, ...]]:
    """All records of the map, asked for in batches: each goes on behind the last record of the one before."""
    low: tuple[int, ...] = (0,) * 6
    while True:
        buffer = bytearray(_RECORDS_AT + _RECORDS_AT_A_TIME * _RECORD.size)
        _HEAD.pack_into(buffer, 0, 0, 0, _RECORDS_AT_A_TIME, 0)
        _RECORD.pack_into(buffer, _HEAD.size, *low)
        _RECORD.pack_into(buffer, _HEAD.size + _RECORD.size, *_HIGHEST)
        fcntl.ioctl(fd, _GETFSMAP, buffer)
        _, told, _, count = _HEAD.unpack_from(buffer)
        if count and not told & _DEVICES_ARE_NUMBERS:
            raise NotTrusted("its map does not name devices by their numbers")
        for at in range(count):
            low = _RECORD.unpack_from(buffer, _RECORDS_AT + at * _RECORD.size)
            yield low
        if count == 0 or low[1] & _LAST:
            return
