"""Which disk of a launched machine is which of the source's: by what stands on them, never by name.

A disk is known by the UUIDs of its partitions and filesystems and by its size. Where that does not single one
out, nothing is guessed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from app.wire.messages import Disk


@dataclass(frozen=True, slots=True)
class Pair:
    """A disk of the source, by its key, with that of the machine; `found` None: `doubt` says why."""

    disk: str
    found: str | None = None
    doubt: str | None = None


def marks_of(disk: Disk) -> frozenset[str]:
    """The UUIDs that stand on a disk."""
    filesystems = (disk.filesystem, *(each.filesystem for each in disk.partitions))
    uuids = (*(each.uuid for each in disk.partitions), *(each.uuid for each in filesystems if each))
    return frozenset(uuid.lower() for uuid in uuids if uuid)


def pair_disks(old: Sequence[Disk], new: Sequence[Disk]) -> tuple[Pair, ...]:
    """Each old disk with the new one that it is now; a new disk is never given to two old ones."""
    candidates = MappingProxyType({disk.key: _candidates(disk, new) for disk in old})
    return tuple(_pair(disk, candidates) for disk in old)


def _candidates(disk: Disk, new: Sequence[Disk]) -> tuple[Disk, ...]:
    """Of its size, and with one of its marks; a disk without a mark is any of its size that has none."""
    marks, alike = marks_of(disk), [each for each in new if each.size == disk.size]
    if marks:
        return tuple(each for each in alike if marks & marks_of(each))
    return tuple(each for each in alike if not marks_of(each))


def _pair(disk: Disk, candidates: Mapping[str, tuple[Disk, ...]]) -> Pair:
    mine = candidates[disk.key]
    if not mine:
        return Pair(disk.key, doubt=f"the machine has no disk of {disk.size} bytes with its UUIDs")
    if len(mine) > 1:
        return Pair(disk.key, doubt=f"it may be {' or '.join(each.path for each in mine)}")
    rivals = [key for key, theirs in candidates.items() if mine[0] in theirs and key != disk.key]
    if rivals:
        return Pair(disk.key, doubt=f"{mine[0].path} may also be {' or '.join(rivals)}")
    return Pair(disk.key, mine[0].key)
