"""The block devices whose bytes lie on a set of disks, through partitions, LVM, md and loop devices.

A carrier stands for a run of bytes of one disk (a partition, a loop device on it) or, once device mapper or
md lies between, for bytes that are spread in a way that only that driver knows.
"""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from app.agent.daemon.disk.family import Member, holders_of, members_of, members_on
from app.agent.daemon.disk.selection import SourceDisk


@dataclass(frozen=True)
class Span:
    """Bytes [start, start + size) of the disk with this key."""

    disk: str
    start: int
    size: int


@dataclass(frozen=True)
class Carrier:
    """A block device on `disks` (keys): it is exactly `span`, or None where that cannot be told.

    `depth` is the number of filesystems between it and the disks.
    """

    member: Member
    disks: frozenset[str]
    span: Span | None
    depth: int

    @property
    def name(self) -> str:
        """The kernel's name of the device."""
        return self.member.name

    @property
    def number(self) -> str:
        """major:minor."""
        return self.member.number


class Carriers:
    """All carriers of some disks, by number; grows upwards as loop devices on their filesystems are found."""

    def __init__(self, disks: Iterable[SourceDisk]) -> None:
        self._found: dict[str, Carrier] = {}
        for disk in disks:
            self._grow(_directly_on(disk.disk.key, disk.disk.size, disk.reader.status()))

    def __iter__(self) -> Iterator[Carrier]:
        return iter(tuple(self._found.values()))

    def get(self, number: str) -> Carrier | None:
        """The carrier with this major:minor; None for a device that does not lie on the disks."""
        return self._found.get(number)

    def add_loop(self, name: str, disks: frozenset[str], depth: int) -> bool:
        """Add a loop device whose file lies on the disks; whether that, or its depth, is news."""
        return self._grow(Carrier(member, disks, None, depth) for member in members_on(name))

    def _grow(self, fresh: Iterable[Carrier]) -> bool:
        waiting, grew = list(fresh), False
        while waiting:
            carrier = self._united(waiting.pop())
            if self._found.get(carrier.number) == carrier:
                continue
            self._found[carrier.number] = carrier
            grew = True
            waiting += (
                Carrier(member, carrier.disks, None, carrier.depth)
                for holder in holders_of(carrier.name)
                for member in members_on(holder)
            )
        return grew

    def _united(self, fresh: Carrier) -> Carrier:
        """What is known of the device together with what was found now."""
        known = self._found.get(fresh.number)
        if known is None:
            return fresh
        return replace(known, disks=known.disks | fresh.disks, depth=max(known.depth, fresh.depth))


def _directly_on(key: str, size: int, status: os.stat_result) -> Iterator[Carrier]:
    """The devices that are bytes of the disk. For a disk that is a partition, its neighbours are none."""
    for member in members_of(status):
        if member.start < size and member.start + member.size > 0:
            span = Span(key, member.start, member.size) if member.start >= 0 else None
            yield Carrier(member, frozenset({key}), span, 0)
