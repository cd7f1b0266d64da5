"""Whether a host that enrols is the one that a server stands for: by evidence, never by its name.

A host is known again by its machine id and by a disk with the same key on which the same UUIDs stand. A
clone has both. What it does not share is the UUID of its firmware, where the machine has one; where it has
none, only the original's being alive tells the two apart.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from app.migration.servers.pairing import marks_of
from app.wire.messages import Disk, Inventory


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of a server's host; `disks` are those that it had last."""

    machine_id: str
    system_uuid: str
    disks: tuple[Disk, ...]


def is_same_host(known: Known, now: Inventory) -> bool:
    """Whether everything says that it is, and nothing that it is not."""
    uuids = {uuid.lower() for uuid in (known.system_uuid, now.system_uuid) if uuid}
    same_system = bool(now.machine_id) and known.machine_id == now.machine_id and len(uuids) < 2
    return same_system and bool(known_again(known.disks, now.disks))


def may_be_same_host(known: Known, now: Inventory) -> bool:
    """Whether anything says that it is, or nothing is known: enough for somebody who names the server."""
    is_unknown = not known.machine_id or known.machine_id == now.machine_id
    return is_unknown or bool(known_again(known.disks, now.disks))


def known_again(old: Sequence[Disk], new: Sequence[Disk]) -> tuple[str, ...]:
    """The keys of disks that are there as before."""
    now = {disk.key: disk for disk in new}
    return tuple(disk.key for disk in old if disk.key in now and _is_same_disk(disk, now[disk.key]))


def _is_same_disk(old: Disk, new: Disk) -> bool:
    """Two disks with one key. Blank ones are told by WWN or serial alone, and not at all by a path."""
    before, after = marks_of(old), marks_of(new)
    if before or after:
        return bool(before & after)
    return new.key != new.path and old.size == new.size
