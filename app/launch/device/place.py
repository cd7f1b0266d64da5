"""What lies at a path on the node: a file or a block device, whether it is ours, and whether it was touched.

A block device has no time of change. What was written to it is counted by the kernel since the node's start
(`Documentation/admin-guide/iostats.rst`), for the whole disk where the path is a partition; a device on which
that is switched off counts as touched. Another host that writes to a shared device is not seen. After a
restart of the node the device is known by its hardware's own name, where it has one, and counts as touched.
"""

import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from app.launch.qemu.process import boot_id
from app.store.errors import VolumeUnusable
from app.store.volumefile import device_size

_WRITTEN: Final = (6, 13)
"""Columns of `stat` in sysfs: sectors written, sectors discarded."""
_NAMES: Final = ("wwid", "device/wwid", "serial", "device/serial", "dm/uuid", "loop/backing_file")


@dataclass(frozen=True)
class Place:
    """A file or block device as it is now."""

    is_block: bool
    size: int
    """Bytes."""
    name: str
    """Of a file its inode, of a device what its hardware says; empty where nothing does."""
    boot: str
    """The start of the node, for a device."""
    touched: str
    """Another text after every write; empty where nobody counts."""

    def is_same(self, other: "Place") -> bool:
        """Whether both are the same file or device; a file may have another size."""
        if self.is_block != other.is_block or (self.is_block and self.size != other.size):
            return False
        return self.name == other.name and (bool(self.name) or self.boot == other.boot)

    def is_untouched(self, other: "Place") -> bool:
        """Whether nobody wrote between the two."""
        same = (self.boot, self.touched) == (other.boot, other.touched)
        return self.is_same(other) and bool(self.touched) and same


def place_at(path: Path) -> Place | None:
    """What lies at `path`; None where there is nothing. Raises VolumeUnusable."""
    try:
        found = path.stat()
        if stat.S_ISREG(found.st_mode):
            name = f"{found.st_dev}:{found.st_ino}"
            return Place(False, found.st_size, name, "", f"{found.st_size}:{found.st_mtime_ns}")
        if stat.S_ISBLK(found.st_mode):
            return _device(path, Path(f"/sys/dev/block/{os.major(found.st_rdev)}:{os.minor(found.st_rdev)}"))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise VolumeUnusable(f"{path} cannot be used: {error.strerror or error}") from error
    raise VolumeUnusable(f"{path} is neither a file nor a block device")


def _device(path: Path, system: Path) -> Place:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        size = device_size(descriptor)
    finally:
        os.close(descriptor)
    part, place = _read(system / "partition"), system.resolve()
    disk = place.parent if part else place
    name = next((text for each in _NAMES if (text := _read(disk / each))), "")
    return Place(True, size, f"{name}#{part}" if name and part else name, boot_id(), _counted(disk))


def _counted(disk: Path) -> str:
    """What was written to a disk since the node's start; empty where nobody counts."""
    columns = _read(disk / "stat").split()
    if _read(disk / "queue/iostats") != "1" or len(columns) <= max(_WRITTEN):
        return ""
    return ":".join(columns[each] for each in _WRITTEN)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""  # an attribute that this kind of device has not, or that cannot be read now
