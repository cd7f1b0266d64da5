"""Whether a filesystem is mounted or otherwise held by anyone on the host.

Looked at: the mount tables of all namespaces, holders (device mapper, md), and an exclusive open of the
devices that start where the filesystem starts, which the kernel refuses while anything has them mounted,
in whatever namespace. What cannot be found out counts as in use.
"""

import os
from pathlib import Path

from app.agent.daemon.disk.family import Member, members_of
from app.agent.daemon.disk.mounts import MountTables, read_all_mounts


class UseCheck:
    """One look at the whole host, for the filesystems of one disk."""

    def __init__(self, path: Path, status: os.stat_result) -> None:
        self._paths = {str(path), str(path.resolve())}
        self._members = members_of(status)
        self._mounts = read_all_mounts()

    def reason(self, start: int, size: int) -> str:
        """Why the filesystem in these bytes of the disk counts as in use; empty if it does not."""
        touching = [m for m in self._members if m.start < start + size and start < m.start + m.size]
        for member in touching:
            found = _held(member, self._mounts) or _refused(member, start, size)
            if found:
                return found
        if self._mounts.sources & self._paths:
            return "the disk itself is mounted"
        if not self._mounts.complete and not _proved(touching, start, size):
            return "the mounts of some processes cannot be seen"
        return ""


def _held(member: Member, mounts: MountTables) -> str:
    if member.number in mounts.numbers or str(member.node) in mounts.sources:
        return f"{member.name} is mounted"
    return f"{member.name} is held by another device" if member.has_holders else ""


def _is_its_device(member: Member, start: int, size: int) -> bool:
    """Whether the device is the filesystem's own: a whole disk with partitions is not."""
    return member.start == start and member.size <= size


def _proved(touching: list[Member], start: int, size: int) -> bool:
    """Whether an exclusive open (it succeeded, or `reason` had said so) ruled a mount out."""
    return not touching or any(_is_its_device(member, start, size) for member in touching)


def _refused(member: Member, start: int, size: int) -> str:
    return member.refusal() if _is_its_device(member, start, size) else ""
