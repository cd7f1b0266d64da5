"""How much is written to a disk: the kernel's counters of written sectors, twice, and what lies between.

`written` is the seam: a change tracker that counts for itself takes its place.
"""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

from app.agent.daemon.disk.family import device_number, members_of
from app.agent.daemon.disk.reader import DiskReader
from app.agent.daemon.preflight.subject import SubjectDisk

Counter = Callable[[DiskReader], int | None]
"""Bytes that were ever written to a disk, from any start; None where nobody counts."""

_SYS: Final = Path("/sys")
_WRITTEN_SECTORS: Final = 6
"""The field of a block device's `stat`: sectors of 512 bytes, whatever the device's own are."""


def written(reader: DiskReader) -> int | None:
    """The bytes written so far: to a block device, or to the loop devices on a file, if there are any."""
    if not reader.is_file:
        return _sectors(_SYS / "dev/block" / device_number(reader.status().st_rdev)) * 512
    loops = [each for each in members_of(reader.status()) if each.start == 0]
    wholes = [_SYS / "class/block" / each.name for each in loops]
    counted = [_sectors(each) * 512 for each in wholes if not (each / "partition").exists()]
    return sum(counted) if counted else None


def _sectors(directory: Path) -> int:
    return int((directory / "stat").read_text().split()[_WRITTEN_SECTORS])


def count(disks: Iterable[SubjectDisk], counter: Counter) -> dict[str, int | None]:
    """The counters by the disks' keys. Raises OSError for a disk that vanished."""
    return {disk.key: counter(disk.source.reader) for disk in disks}


def rate(before: int | None, after: int | None, seconds: float) -> int | None:
    """Bytes a second between two readings; None where one is missing or the counter began anew."""
    if before is None or after is None or after < before or seconds <= 0:
        return None
    return round((after - before) / seconds)
