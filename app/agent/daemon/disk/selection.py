"""Which disks are copied: the ones that were named, or every whole physical disk of the host.

Left out without being named: loop, RAM and compressed RAM disks, optical drives, and what stands on other
disks (device mapper, md), for the disks below are copied.
"""

import re
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from app.agent.daemon.disk.attributes import Attributes, read_attributes
from app.agent.daemon.disk.family import is_partition, whole_disk
from app.agent.daemon.disk.layout import Layout, read_layout
from app.agent.daemon.disk.reader import DiskReader
from app.agent.daemon.errors import DiskError
from app.wire.messages import Disk

_PHYSICAL: Final = re.compile(r"(sd[a-z]+|vd[a-z]+|xvd[a-z]+|hd[a-z]+|nvme\d+n\d+|mmcblk\d+)")
_BLOCK: Final = Path("/sys/block")


@dataclass(frozen=True)
class SourceDisk:
    """An open disk that is to be copied."""

    reader: DiskReader
    layout: Layout
    disk: Disk


def discover(block: Path = _BLOCK) -> tuple[Path, ...]:
    """The device files of all whole physical disks that hold a medium."""
    found = [entry for entry in block.iterdir() if _PHYSICAL.fullmatch(entry.name) and _has_medium(entry)]
    return tuple(Path("/dev") / entry.name for entry in sorted(found))


def _has_medium(directory: Path) -> bool:
    hidden = directory / "hidden"
    if hidden.exists() and hidden.read_text().strip() == "1":
        return False
    return (directory / "size").read_text().strip() != "0"


def open_disks(named: tuple[str, ...]) -> tuple[SourceDisk, ...]:
    """Open the disks to be copied. Raises DiskError; nothing stays open then."""
    paths = tuple(Path(name) for name in named) or discover()
    if not paths:
        raise DiskError("this host has no physical disk", code="NO_DISKS", remedy="name one with --disk")
    opened: list[SourceDisk] = []
    try:
        for path in paths:
            opened.append(_open(path))  # noqa: PERF401 - what is open so far must be closed on failure
        return _with_own_keys(opened)
    except BaseException:
        close_disks(tuple(opened))
        raise


def close_disks(disks: tuple[SourceDisk, ...]) -> None:
    """Close what `open_disks` opened."""
    for disk in disks:
        disk.reader.close()


def _open(path: Path) -> SourceDisk:
    reader = DiskReader(path)
    try:
        layout = _layout_of(reader)
    except OSError as error:
        reader.close()
        raise DiskError(
            f"{path} cannot be read: {error.strerror}", code="SOURCE_READ_ERROR", remedy="check the disk"
        ) from error
    except BaseException:
        reader.close()
        raise
    return SourceDisk(reader, layout, _describe(reader, layout))


def _layout_of(reader: DiskReader) -> Layout:
    if reader.size == 0:
        raise DiskError(f"{reader.path} is empty: 0 bytes", code="DISK_EMPTY", remedy="leave it out")
    return read_layout(reader)


def _describe(reader: DiskReader, layout: Layout) -> Disk:
    found = Attributes()
    is_whole = False
    if not reader.is_file:
        number = reader.status().st_rdev
        found = read_attributes(whole_disk(number))
        is_whole = not is_partition(number)
    path = str(reader.path.absolute())
    return Disk(
        key=(is_whole and (found.wwn or found.serial)) or path,
        path=path,
        size=reader.size,
        sector_size=reader.sector_size,
        physical_sector_size=reader.physical_sector_size,
        serial=found.serial,
        wwn=found.wwn,
        model=found.model,
        is_file=reader.is_file,
        partition_table=layout.table.scheme,
        partitions=layout.partitions,
        filesystem=layout.filesystem,
    )


def _with_own_keys(opened: list[SourceDisk]) -> tuple[SourceDisk, ...]:
    """Disks that claim the same WWN or serial are told apart by their paths; one path twice is refused."""
    paths = Counter(str(disk.reader.path.resolve()) for disk in opened)
    for path, times in paths.items():
        if times > 1:
            raise DiskError(f"{path} is named {times} times", code="DISK_TWICE", remedy="name it once")
    keys = Counter(disk.disk.key for disk in opened)
    return tuple(
        replace(disk, disk=replace(disk.disk, key=disk.disk.path)) if keys[disk.disk.key] > 1 else disk
        for disk in opened
    )


def describe_disks(named: tuple[str, ...]) -> tuple[tuple[Disk, ...], tuple[str, ...]]:
    """The disks for an inventory, and warnings.

    Named disks must be there: raises DiskError. Of disks that were found by themselves, one that cannot be
    opened costs a warning.
    """
    if named:
        return _described(named), ()
    disks: list[Disk] = []
    warnings: list[str] = []
    for path in discover():
        try:
            disks += _described((str(path),))
        except DiskError as error:
            warnings.append(f"disk {path}: {error}")
    return tuple(disks), tuple(warnings) if disks or warnings else ("disks: this host has no physical disk",)


def _described(paths: tuple[str, ...]) -> tuple[Disk, ...]:
    opened = open_disks(paths)
    close_disks(opened)
    return tuple(disk.disk for disk in opened)
