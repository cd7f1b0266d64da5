"""What stands on a set of disks: their mounted filesystems, in whatever mount namespace, and other users.

From the disks upwards: partitions, device mapper and md, loop devices; the filesystems mounted from these;
loop devices whose files lie on such a filesystem, the filesystems on those, and so on. Bind mounts, other
namespaces and subvolumes show a filesystem many times; it is listed once.
"""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from app.agent.daemon.disk.carriers import Carrier, Carriers, Span
from app.agent.daemon.disk.family import FileLoop, device_number, file_loops, whole_disk
from app.agent.daemon.disk.mounts import (
    MountLine,
    MountTable,
    MountTables,
    mount_of,
    open_mount,
    read_all_mounts,
)
from app.agent.daemon.disk.selection import SourceDisk
from app.agent.daemon.disk.superblock_devices import devices_of
from app.agent.daemon.disk.swaps import Home, Swap, active_swaps


@dataclass(frozen=True)
class Standing:
    """A mounted filesystem on the disks (keys).

    `number` is its major:minor in the mount tables, `devices` those of the block devices below it. It can be
    opened at `path`, by `open_mount` with `mount_id`, as long as the process lives that `path` may lead
    through. `depth` is the number of filesystems below it. `span` is set where it is exactly these bytes of
    one disk.
    """

    kind: str
    number: str
    devices: tuple[str, ...]
    path: Path
    mount_id: int
    target: str
    is_read_only: bool
    depth: int
    disks: frozenset[str]
    span: Span | None = None


@dataclass(frozen=True)
class RawUse:
    """A device on the disks that somebody uses, and that cannot be frozen; `reason` says how it is known."""

    name: str
    disks: frozenset[str]
    span: Span | None
    reason: str


@dataclass(frozen=True)
class OnDisks:
    """Everything that uses the disks. `filesystems` come innermost first, the order of freezing.

    `is_complete` is False where the mounts of some process could not be seen. `carriers` are the block
    devices whose bytes lie on the disks.
    """

    filesystems: tuple[Standing, ...] = ()
    swaps: tuple[Swap, ...] = ()
    raw: tuple[RawUse, ...] = ()
    is_complete: bool = True
    carriers: tuple[Carrier, ...] = ()


def what_stands_on(disks: Iterable[SourceDisk]) -> OnDisks:
    """Look at the whole host once. Devices that seem unused are opened exclusively for a moment."""
    tables = read_all_mounts()
    carriers = Carriers(disks)
    mounted = _superblocks(tables)
    loops = {loop.name: _lies_on(loop, tables) for loop in file_loops()}
    while _add_loops(carriers, mounted, loops):
        pass
    found = [_standing(block, carriers) for block in mounted.values() if block.on(carriers)]
    standings = [item for item in found if isinstance(item, Standing)]
    hidden = [item for item in found if isinstance(item, RawUse)]
    homes = {item.number: Home(item.kind, item.disks, item.span) for item in standings}
    swaps = active_swaps(carriers, homes)
    known = {device for block in mounted.values() for device in block.devices}
    return OnDisks(
        filesystems=tuple(sorted(standings, key=lambda standing: -standing.depth)),
        swaps=swaps,
        raw=(*hidden, *_in_raw_use(carriers, known | {swap.device for swap in swaps})),
        is_complete=tables.complete,
        carriers=tuple(carriers),
    )


@dataclass(frozen=True)
class _Superblock:
    """A mounted filesystem with all its mounts."""

    devices: frozenset[str]
    mounts: tuple[tuple[MountTable, MountLine], ...]

    @property
    def line(self) -> MountLine:
        return self.mounts[0][1]

    def on(self, carriers: Carriers) -> list[Carrier]:
        return [carrier for device in sorted(self.devices) if (carrier := carriers.get(device))]


def _superblocks(tables: MountTables) -> dict[str, _Superblock]:
    """By the number in the mount tables, those without a block device left out."""
    mounts: dict[str, list[tuple[MountTable, MountLine]]] = {}
    for table in tables.tables:
        for line in table.lines:
            mounts.setdefault(line.number, []).append((table, line))
    found = {number: _Superblock(_devices(views), tuple(views)) for number, views in mounts.items()}
    return {number: block for number, block in found.items() if block.devices}


def _devices(mounts: list[tuple[MountTable, MountLine]]) -> frozenset[str]:
    """The devices by the first mount that tells them."""
    return next(filter(None, (devices_of(table, line) for table, line in mounts)), frozenset())


def _lies_on(loop: FileLoop, tables: MountTables) -> str:
    """The number of the filesystem on which a loop device's file lies; empty where it cannot be told."""
    number = device_number(loop.device)
    if number in tables.numbers:
        return number
    for table in tables.tables:
        found = _mount_with(loop, table)
        if found:
            return found
    return ""


def _mount_with(loop: FileLoop, table: MountTable) -> str:
    """The same by the file's path: a btrfs subvolume's files bear a number that no mount table shows."""
    try:
        fd = os.open(table.reach(loop.path), os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return ""
    try:
        status, mount_id = os.fstat(fd), mount_of(fd)
    finally:
        os.close(fd)
    if (status.st_dev, status.st_ino) != (loop.device, loop.inode):
        return ""
    return next((line.number for line in table.lines if line.mount_id == mount_id), "")


def _add_loops(carriers: Carriers, mounted: dict[str, _Superblock], loops: dict[str, str]) -> bool:
    """Add the loop devices on the filesystems found so far; whether there were new ones."""
    grew = False
    for name, number in loops.items():
        below = mounted[number].on(carriers) if number in mounted else []
        if below and len(mounted) > _depth(below):
            grew |= carriers.add_loop(name, _disks(below), _depth(below) + 1)
    return grew


def _depth(below: list[Carrier]) -> int:
    return max(carrier.depth for carrier in below)


def _disks(below: list[Carrier]) -> frozenset[str]:
    return frozenset[str]().union(*(carrier.disks for carrier in below))


def _standing(block: _Superblock, carriers: Carriers) -> Standing | RawUse:
    """The filesystem with a mount that can be opened, or a raw use where none can."""
    below = block.on(carriers)
    span = below[0].span if len(block.devices) == 1 else None
    for table, line in block.mounts:
        path = table.reach(line.target)
        if _opens(path, line.mount_id):
            return Standing(
                kind=line.kind,
                number=line.number,
                devices=tuple(sorted(block.devices)),
                path=path,
                mount_id=line.mount_id,
                target=line.target,
                is_read_only=line.is_read_only,
                depth=_depth(below),
                disks=_disks(below),
                span=span,
            )
    reason = f"{block.line.kind} is mounted at {block.line.target}, where this process cannot reach it"
    return RawUse(below[0].name, _disks(below), span, reason)


def _opens(path: Path, mount_id: int) -> bool:
    try:
        os.close(open_mount(path, mount_id))
    except OSError:
        return False
    return True


def _in_raw_use(carriers: Carriers, known: set[str]) -> list[RawUse]:
    """The carriers that nobody known uses and that the kernel gives to nobody else.

    Of a disk that is in use as a whole the kernel gives no partition to anybody, nor to us: nobody uses one.
    """
    used = known | {carrier.number for carrier in carriers if carrier.member.has_holders}
    parents = {whole_disk(_device(number)).name for number in used if carriers.get(number)}
    wholes = {item.name for item in carriers if item.number in used}
    unknown = (
        item
        for item in carriers
        if item.number not in used
        and item.name not in parents
        and whole_disk(_device(item.number)).name not in wholes
    )
    return [
        RawUse(item.name, item.disks, item.span, reason)
        for item in unknown
        if (reason := item.member.refusal())
    ]


def _device(number: str) -> int:
    major, _, minor = number.partition(":")
    return os.makedev(int(major), int(minor))
