"""Which bytes of a disk need not be read, because a filesystem says that they are free.

Omitted are only ranges that an unmounted, clean filesystem of a known format reports explicitly free,
rounded inwards to 4 KiB. After the pass the same question is asked again: a filesystem whose answer
changed is read once more without omission.
"""

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from app.agent.daemon.capture.extents import Extents
from app.agent.daemon.capture.free_space import ext, xfs
from app.agent.daemon.capture.free_space.in_use import UseCheck
from app.agent.daemon.capture.free_space.reasons import NotTrusted
from app.agent.daemon.disk.layout import FilesystemPlace
from app.agent.daemon.disk.partitions import ReadAt
from app.agent.daemon.disk.reader import DiskReader
from app.wire.chunks import BLOCK

MAX_RANGES: Final = 50_000
"""Omitted ranges of one disk: the longest are taken, so that a commit stays a small message."""

FreeReader = Callable[[ReadAt, int], Extents]

READERS: Final[Mapping[str, FreeReader]] = {
    "ext2": ext.free_extents,
    "ext3": ext.free_extents,
    "ext4": ext.free_extents,
    "xfs": xfs.free_extents,
}


@dataclass(frozen=True)
class FreeMap:
    """A filesystem's free byte ranges on the disk; empty with a `reason` where all of it is read."""

    place: FilesystemPlace
    free: Extents
    reason: str = ""


def united(maps: Iterable[FreeMap]) -> Extents:
    """All that is free."""
    return Extents.of(span for free_map in maps for span in free_map.free)


def notes_of(maps: Iterable[FreeMap]) -> tuple[str, ...]:
    """Why filesystems are read whole, for those that are."""
    return tuple(
        f"{each.place.kind} at byte {each.place.start} is read whole: {each.reason}"
        for each in maps
        if each.reason
    )


def find_free(reader: DiskReader, places: tuple[FilesystemPlace, ...]) -> tuple[FreeMap, ...]:
    """The free ranges of each filesystem of a disk as they are now. Raises DiskError."""
    check = UseCheck(reader.path, reader.status())
    return tuple(_free_of(reader, place, check) for place in places)


def _free_of(reader: DiskReader, place: FilesystemPlace, check: UseCheck) -> FreeMap:
    read_free = READERS.get(place.kind)
    if read_free is None:
        return FreeMap(place, Extents(), f"the maps of {place.kind} are not read")
    in_use = check.reason(place.start, place.size)
    if in_use:
        return FreeMap(place, Extents(), in_use)

    def within(offset: int, length: int) -> bytes:
        return reader.read_at(place.start + offset, max(0, min(length, place.size - offset)))

    try:
        free = read_free(within, place.size).shifted(place.start).aligned(BLOCK)
    except NotTrusted as doubt:
        return FreeMap(place, Extents(), str(doubt))
    except OSError as error:
        return FreeMap(place, Extents(), f"its maps cannot be read: {os.strerror(error.errno or 0)}")
    return FreeMap(place, free.largest(MAX_RANGES))
