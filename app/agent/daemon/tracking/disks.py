"""Tracked disks, and what /sys knows of the whole disks that they lie on."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from app.agent.daemon.disk.family import partition_start, whole_number
from app.agent.daemon.disk.selection import SourceDisk

_SYS: Final = Path("/sys/dev/block")


@dataclass(frozen=True)
class TrackedDisk:
    """Bytes [offset, offset + size) of the whole disk with device number `number` (st_rdev), called `key`."""

    key: str
    number: int
    offset: int
    size: int

    @classmethod
    def of(cls, disk: SourceDisk) -> Self:
        """The block device that is to be copied."""
        number = disk.reader.status().st_rdev
        return cls(disk.disk.key, whole_number(number), partition_start(number), disk.reader.size)


def kernel_number(number: int) -> int:
    """A device number (st_rdev) as the kernel's events have it."""
    return os.major(number) << 20 | os.minor(number)


def event_numbers(number: int) -> tuple[int, ...]:
    """The device numbers that completions on the whole disk `number` (st_rdev) carry, as the kernel has them.

    A driver with request queues reports the whole disk. A bio-based one reports, since Linux 5.12, the
    partition that was written to; the sectors are the whole disk's in both cases.
    """
    directory = _directory(number)
    partitions = [] if has_queues(number) else sorted(directory.glob("*/partition"))
    return (kernel_number(number), *(_read_number(path.with_name("dev")) for path in partitions))


def has_queues(number: int) -> bool:
    """Whether the driver of the whole disk `number` (st_rdev) has request queues, and is not bio-based."""
    return (_directory(number) / "mq").is_dir()


def name_of(number: int) -> str:
    """The kernel's name of the disk `number` (st_rdev); its number where the disk is gone."""
    directory = _directory(number)
    return directory.name if directory.is_dir() else f"{os.major(number)}:{os.minor(number)}"


def sequence_of(number: int) -> str:
    """The kernel's count of disks when this one came: another disk, and one that came back, have another one.

    Before Linux 5.15, which counts none, it is the number of the disk's folder in /sys, which is made anew.
    """
    directory = _directory(number)
    try:
        return (directory / "diskseq").read_text().strip()
    except OSError:
        return _made(directory)


def _made(directory: Path) -> str:
    try:
        return f"sysfs {directory.stat().st_ino}"
    except OSError:
        return ""


def is_writing(number: int) -> bool:
    """Whether a write to the whole disk `number` (st_rdev) is under way, or that cannot be told."""
    try:
        return (_directory(number) / "inflight").read_text().split()[1] != "0"
    except (OSError, IndexError):
        return True


def _directory(number: int) -> Path:
    return (_SYS / f"{os.major(number)}:{os.minor(number)}").resolve()


def _read_number(path: Path) -> int:
    major, minor = path.read_text().strip().split(":")
    return int(major) << 20 | int(minor)
